//! How much was used and is held, per window; and how fast. Amounts are whole calls.

mod books;
mod ledger;
mod rate;
mod read;
mod rings;
mod standing;
mod window;

pub use books::{Books, Charged, Count, Held, Hold, NewBudgets, Row, Shortage, WindowId};
pub use ledger::{LedgerRows, load, write};
pub use rate::RateLimits;
pub use read::{OpenWindow, keys_beginning, open_windows};
pub use standing::{Standing, unit};
pub use window::{Span, span};
