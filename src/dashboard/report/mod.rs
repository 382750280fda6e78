//! The monthly report: a plain value made from the log and the rules, and the same document as a page, as HTML that
//! stands alone, and as Markdown.
//!
//! Nothing in it knows what time it is: the same events of a month and the same rules make the same bytes.

mod access;
mod budgets;
mod document;
mod gaps;
mod gather;
mod markdown;
mod month;
mod page;
mod section;
mod value;

pub use gather::gather;
pub use month::Month;
pub use value::Report;

pub(super) use page::{latest, page};
