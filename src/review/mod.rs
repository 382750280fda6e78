//! What a policy file does, told before it is in force: its own tests, one decision explained, the difference of two
//! files, and what it would have made of calls that were made. Everything here asks [`crate::policy::decide`].

mod access;
mod change;
mod diff;
mod judge;
mod limits;
mod servers;
mod simulate;
mod tests;
mod universe;

#[cfg(test)]
mod differences;
#[cfg(test)]
mod properties;

pub use access::{Access, access};
pub use change::{About, Change, Effect, Sign};
pub use diff::{Past, diff};
pub use judge::{Call, Judge, Verdict};
pub use simulate::{Dry, Flip, Simulation, Simulator, Times, Wanted, asks_arguments, counts_from};
pub use tests::run_tests;
pub use universe::SeenTools;

use std::path::Path;

use crate::config::{self, LoadError, Loaded, Problems};
use crate::types::Timestamp;

/// Reads a policy file that is to come into force, and tries the tests in it. `environment` gives the values of
/// variables.
///
/// # Errors
/// As [`config::load`], and when a test fails.
pub fn load(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    now: Timestamp,
) -> Result<Loaded, LoadError> {
    tried(config::load(path, environment)?, now)
}

/// The rules, if all tests that stand beside them pass.
///
/// # Errors
/// When one fails.
pub fn tried(loaded: Loaded, now: Timestamp) -> Result<Loaded, LoadError> {
    let failed = run_tests(&loaded, now);
    if failed.is_empty() {
        Ok(loaded)
    } else {
        Err(LoadError::Invalid(Problems::new(failed)))
    }
}
