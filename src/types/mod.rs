//! The words of the house: names, ids, instants, limits, secrets.
//!
//! Everything here is plain data with checked constructors. No clock, no disk, no socket.

mod budget_key;
mod connection;
mod ids;
mod limit;
mod names;
mod secret;
pub mod shown;
mod time;
mod token;
mod unit;
mod window;

pub use budget_key::{BudgetKey, KeyParts};
pub use connection::{Connection, Endpoint, EraChoice, Instances, Template, TemplatePart};
pub use ids::{CallId, Fingerprint, Revision, TokenHash, hex};
pub use limit::{Limit, LimitError, Rate, RatePeriod};
pub use names::{AgentName, Name, NameError, PoolName, RoleName, ServerName, ViewerName, kind};
pub use secret::Secret;
pub use time::{Timestamp, Zone, ZoneError};
pub use token::{TOKEN_PREFIX, TOKEN_RANDOM_BYTES, checksum_holds, looks_like_ours, new_token};
pub use unit::{MICROS, Unit, micros};
pub use window::{Length, Period, Start, Weekday, Window};
