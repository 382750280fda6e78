//! How much was used and is held, per window; and how fast. Amounts are in the unit of their budget.

mod books;
mod concurrency;
mod corrections;
mod count;
mod history;
mod key_table;
mod keys;
mod ledger;
mod rate;
mod read;
mod reported;
mod rings;
mod seed;
mod standing;
mod window;

pub use books::{Books, Contents, Kept};
pub use concurrency::{Concurrency, Permits};
pub use corrections::{Correction, correct, load_window, refund_of, write_refunds};
pub use count::{
    Charged, Count, Ending, Held, Hold, Hours, NewBudgets, Reported, Row, Shortage, WindowId,
};
pub use history::{PastWindow, key_of, past_windows, running, used_by_hour};
pub use key_table::{load_keys, look_up_keys, sweep_keys, write_keys};
pub use keys::{
    Claim, Claims, KeyEnding, KeyId, KeyScope, Keys, Lasts, MAX_KEYS_OF_AGENT, Outcome, Repeat,
    Repeated, StoredResult,
};
pub use ledger::{LedgerRows, load, seeds, write};
pub use rate::RateLimits;
pub use read::{
    CountAt, Ended, OpenWindow, counts_at, ended_between, keys_beginning, open_windows,
};
pub use standing::Standing;
pub use window::{Span, span};
