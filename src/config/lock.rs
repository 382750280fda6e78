//! `tools.lock`, which stands beside the policy file.

use std::io;
use std::path::{Path, PathBuf};

use crate::policy::ToolLock;

use super::load::{LoadError, text_of};
use super::parse::Loaded;

/// The name of the file.
const NAME: &str = "tools.lock";

/// Where the lock of a policy file stands.
pub fn lock_path(policy: &Path) -> PathBuf {
    policy.with_file_name(NAME)
}

/// Rules with the lock that stands beside their file.
///
/// # Errors
/// As [`load_lock`].
pub fn with_lock(policy: &Path, mut loaded: Loaded) -> Result<Loaded, LoadError> {
    let lock = load_lock(policy)?;
    loaded.permissions = loaded.permissions.with_lock(lock);
    Ok(loaded)
}

/// Reads the lock beside a policy file; `None` when there is none.
///
/// # Errors
/// When there is one that cannot be read: without it, nobody knows what was reviewed.
pub fn load_lock(policy: &Path) -> Result<Option<ToolLock>, LoadError> {
    let path = lock_path(policy);
    let unreadable = |source| LoadError::Unreadable {
        path: path.clone(),
        source,
    };
    let text = match text_of(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let lock = ToolLock::parse(&text);
    lock.map(Some)
        .map_err(|error| unreadable(io::Error::other(error)))
}
