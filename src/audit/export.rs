//! Handing the log over: a file of events that can be checked without the database, and what describes it.
//!
//! An export is a span of events, one a line, with a manifest beside it. It is made under another name and gets its
//! own only when all of it is on the disk; one that was interrupted goes on where it stopped, and the result is the
//! same to the byte.

mod line;
mod manifest;
mod source;
mod table;
mod write;

pub use line::{Line, read_line};
pub use manifest::{Form, Manifest, Plan};
pub use source::plan;
pub use write::{Export, ExportError, Paths, copy, write_whole};
