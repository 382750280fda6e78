//! The words of the house: names, ids, instants, limits, secrets.
//!
//! Everything here is plain data with checked constructors. No clock, no disk, no socket.

mod budget_key;
mod connection;
mod ids;
mod kept_text;
mod key_names;
mod limit;
mod names;
mod network;
mod secret;
mod server_state;
pub mod shown;
mod time;
mod token;
mod token_shape;
mod unit;
mod window;

pub use budget_key::{BudgetKey, KeyParts};
pub use connection::{Connection, Endpoint, EraChoice, Instances, Template, TemplatePart};
pub use ids::{CallId, DefinitionHash, Fingerprint, Revision, TokenHash, hex};
pub use kept_text::{DefinitionText, KeptText, RulesText};
pub use key_names::{KeyNames, MAX_KEY_NAME, key_form};
pub use limit::{Limit, LimitError, Rate, RatePeriod};
pub use names::{
    AgentName, BUILT_IN, Name, NameError, PoolName, RoleName, ServerName, ViewerName, kind,
};
pub use network::{Network, NetworkError, Peer};
pub use secret::Secret;
pub use server_state::{Contact, ServerState};
pub use time::{Timestamp, Zone, ZoneError};
pub use token::{TOKEN_PREFIX, TOKEN_RANDOM_BYTES, checksum_holds, looks_like_ours, new_token};
pub use token_shape::{ISSUERS, is_prose, is_rest_of_token, is_token_byte};
pub use unit::{MICROS, Unit, micros};
pub use window::{Length, Period, Start, Weekday, Window};
