//! The log: events that are only ever added, chained by hash, read back page by page and verified.

mod event;

pub use event::{Entry, Kind};
