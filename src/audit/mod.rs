//! The log: events that are only ever added, chained by hash, read back page by page and verified.

mod behind;
mod bodies;
mod body;
mod chain;
mod checkpoint;
mod event;
mod folds;
mod log;
mod lookups;
pub mod read;
mod redact;
mod rollups;
mod row;
mod seen;
mod trace;
mod verify;

pub use behind::Behind;
pub use bodies::{Bodies, REDACTED_AT_ONCE, bodies_of, deleted_json, forget};
pub use body::{Body, BodyKind};
pub use chain::{Head, genesis, next_hash};
pub use checkpoint::{Checkpoint, EVENTS, EVERY, PublicKey, Signed, SigningKey, bytes};
pub use event::{Entry, Kind};
pub use folds::{Folds, Repeats};
pub use log::{
    Chained, Names, append, contains, load_checkpoint, load_head, load_names, load_repeats,
    write_checkpoint, write_repeats,
};
pub use redact::{Redacted, Redactor};
pub use trace::{Closed, Cost, Traced, is_signed, trace};
pub use verify::{
    Difference, Fault, Known, Proof, Sums, Verified, verify, verify_against, verify_quickly,
};
