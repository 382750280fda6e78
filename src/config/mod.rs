//! `permissions.yaml`: from text to checked rules, or everything that is wrong with it at once.
//!
//! The only room that reads the file and the environment. It decides nothing; `policy` does.

mod advice;
mod agent;
mod budget;
mod capture;
mod commit;
mod concurrency;
mod cost;
mod dedupe;
mod endpoint;
mod fields;
mod file_test;
mod followed;
mod from;
mod grant;
mod invisible;
mod keys;
mod load;
mod lock;
mod mask;
mod names;
mod node;
mod offered;
mod parse;
mod placeholder;
mod problem;
mod proxy_header;
mod rate;
mod reached;
mod render;
mod schema;
mod server;
mod time;
mod token;
mod tool;
mod unused;
mod when;
mod yaml;

#[cfg(test)]
mod tests;

pub use commit::commit_of;
pub use endpoint::looks_secret;
pub use file_test::{Aim, FileTest, Trial};
pub use followed::Followed;
pub use load::{EXAMPLE, LoadError, Read, load, read_text};
pub use lock::{load_lock, lock_path, with_lock};
pub use offered::Offered;
pub use parse::{Loaded, parse, review};
pub use problem::{Code, Severity, nearest};
pub use render::{Diagnostic, Problems};
pub use schema::schema;
pub use token::guessable;
