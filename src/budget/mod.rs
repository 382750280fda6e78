//! How much was used and is held, per window; and how fast. Amounts are whole calls.

mod books;
mod key_table;
mod keys;
mod ledger;
mod rate;
mod read;
mod rings;
mod window;

pub use books::{Books, Charged, Count, Held, Hold, NewBudgets, Row, Shortage, WindowId};
pub use key_table::{load_keys, look_up_keys, sweep_keys, write_keys};
pub use keys::{
    Claim, Claims, Ending, KeyId, KeyScope, Keys, Lasts, MAX_KEYS_OF_AGENT, Outcome, Repeat,
    Repeated,
};
pub use ledger::{LedgerRows, load, write};
pub use rate::RateLimits;
pub use read::{OpenWindow, open_windows};
pub use window::{Span, span};
