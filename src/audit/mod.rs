//! The log: events that are only ever added, chained by hash, read back page by page and verified.

mod chain;
mod event;
mod folds;
mod log;
pub mod read;
mod verify;

pub use chain::{Head, genesis, next_hash};
pub use event::{Entry, Kind};
pub use folds::{Folds, Repeats};
pub use log::{
    Chained, Names, append, contains, load_head, load_names, load_repeats, write_repeats,
};
pub use verify::{Fault, Verified, verify};
