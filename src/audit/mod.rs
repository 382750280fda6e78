//! The log: events that are only ever added, chained by hash, read back page by page and verified.

mod behind;
mod chain;
mod checkpoint;
pub mod csv;
mod event;
mod export;
pub mod filter;
mod folds;
mod log;
mod lookups;
pub mod read;
mod rollups;
mod row;
mod seen;
mod verify;

pub use behind::Behind;
pub use chain::{Head, genesis, next_hash};
pub use checkpoint::{Checkpoint, EVENTS, EVERY, PublicKey, Signed, SigningKey, bytes};
pub use event::{Entry, Kind};
pub use export::{Export, ExportError, Form, Line, Manifest, Paths, Plan, copy, plan, read_line};
pub use folds::{Folds, Repeats};
pub use log::{
    Chained, Names, append, contains, load_checkpoint, load_head, load_names, load_repeats,
    write_checkpoint, write_repeats,
};
pub use verify::{
    Fault, Known, UnreadableExport, Verified, VerifiedExport, verify, verify_against,
    verify_exports,
};
