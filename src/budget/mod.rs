//! How much was used and is held, per window; and how fast. Amounts are whole calls.

mod books;
mod corrections;
mod ledger;
mod rate;
mod read;
mod rings;
mod window;

pub use books::{Books, Charged, Count, Held, Hold, NewBudgets, Row, Shortage, WindowId};
pub use corrections::{load_window, refund_of, write_refunds};
pub use ledger::{LedgerRows, load, write};
pub use rate::RateLimits;
pub use read::{OpenWindow, open_windows};
pub use window::{Span, span};
