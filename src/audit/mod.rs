//! The log: events that are only ever added, chained by hash, read back page by page and verified.

mod accessed;
mod behind;
mod bodies;
mod body;
mod chain;
mod checkpoint;
mod coarse;
mod counts;
pub mod csv;
mod definitions;
mod event;
mod export;
pub mod filter;
mod folds;
mod histogram;
mod log;
mod lookups;
mod packed;
mod packing;
mod prune;
pub mod read;
mod redact;
mod rollups;
mod row;
mod seen;
mod texts;
mod trace;
mod verify;

pub use accessed::{Accessed, Deed, TakenAs};
pub use behind::Behind;
pub use bodies::{Bodies, REDACTED_AT_ONCE, bodies_of, deleted_json, forget, whole_result};
pub use body::{Body, BodyKind};
pub use chain::{Head, genesis, next_hash};
pub use checkpoint::{Checkpoint, EVENTS, EVERY, PublicKey, Signed, SigningKey, bytes};
pub use counts::Counts;
pub use definitions::{Defined, load_definitions};
pub use event::{Entry, Kind};
pub use export::{
    Export, ExportError, Form, Line, Manifest, Paths, Plan, copy, plan, read_line, write_whole,
};
pub use folds::{Folds, Repeats};
pub use histogram::{BUCKETS, Histogram};
pub use log::{
    Chained, Names, append, contains, load_checkpoint, load_head, load_names, load_repeats,
    write_checkpoint, write_repeats,
};
pub use prune::{
    PRUNED_AT_ONCE, Prunable, Pruned, bodies_before, is_pruning, load_name_table, load_pruned,
    prunable, prune_some, write_pruned,
};
pub use redact::{Redacted, Redactor};
pub use texts::Texts;
pub use trace::{Closed, Cost, Traced, is_signed, trace};
pub use verify::{
    Carried, Difference, Fault, Known, Proof, Seam, SeamMaker, Sums, Total, UnreadableExport,
    Verified, VerifiedExport, sha256_of, verify, verify_against, verify_exports, verify_quickly,
};
