//! The file itself: its size, its encoding, and what to say when it cannot be read.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::types::Revision;

use super::lock::{lock_path, with_lock};
use super::parse::{Loaded, parse};
use super::render::Problems;

/// The largest policy file, in bytes; a thousand agents need a tenth of it.
const MAX_FILE: u64 = 2 * 1024 * 1024;

/// A policy file to start from, and the one this repository ships.
pub const EXAMPLE: &str = include_str!("../../permissions.yaml");

/// Why there are no rules.
#[derive(Debug)]
pub enum LoadError {
    /// The file cannot be read as text.
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file was read and is wrong.
    Invalid(Problems),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => {
                write!(
                    f,
                    "cannot read the rules from `{}`: {source}",
                    path.display()
                )
            }
            Self::Invalid(problems) => problems.fmt(f),
        }
    }
}

// The cause is part of the sentence already, so there is no `source` to print a second time.
impl std::error::Error for LoadError {}

/// Reads a policy file and the `tools.lock` beside it. `environment` gives the values of variables.
///
/// # Errors
/// When the file is missing, a folder, larger than 2 MB or not UTF-8, when it holds mistakes, and when there is a lock
/// that cannot be read.
pub fn load(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, LoadError> {
    read(path)?.parse(environment)
}

/// Reads a policy file as text.
///
/// # Errors
/// When the file is missing, a folder, larger than 2 MB or not UTF-8.
pub fn read_text(path: &Path) -> Result<String, LoadError> {
    Ok(read(path)?.text)
}

/// What a policy file holds.
#[derive(Debug)]
pub struct Read {
    /// Its text.
    pub(super) text: String,
    /// Which version of it that is.
    pub revision: Revision,
    /// Which version of the lock of tools stands beside it.
    pub(super) lock: Option<Revision>,
    path: PathBuf,
}

impl Read {
    /// The rules in it, with the lock of tools beside it. `environment` gives the values of variables.
    ///
    /// # Errors
    /// When it holds mistakes, or the lock cannot be read.
    pub fn parse(&self, environment: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, LoadError> {
        let name = self.path.to_string_lossy();
        let loaded = parse(&name, &self.text, environment).map_err(LoadError::Invalid)?;
        with_lock(&self.path, loaded)
    }
}

/// Reads a file and does not look at what is in it.
pub(super) fn read(path: &Path) -> Result<Read, LoadError> {
    let unreadable = |source| LoadError::Unreadable {
        path: path.into(),
        source,
    };
    let text = text_of(path).map_err(unreadable)?;
    Ok(Read {
        revision: Revision::of(text.as_bytes()),
        // One that is there and cannot be read is told where the rules are read.
        lock: text_of(&lock_path(path))
            .ok()
            .map(|text| Revision::of(text.as_bytes())),
        text,
        path: path.into(),
    })
}

pub(super) fn text_of(path: &Path) -> io::Result<String> {
    let file = File::open(path).map_err(explain)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::other("it is a folder; name the file in it"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE {
        return Err(io::Error::other("it is larger than 2 MB"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        io::Error::other(format!("it is not UTF-8 text (byte {at})"))
    })
}

fn explain(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::NotFound {
        return io::Error::new(io::ErrorKind::NotFound, "there is no such file");
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(path: &Path) -> String {
        load(path, &|_| None).unwrap_err().to_string()
    }

    #[test]
    fn a_file_that_cannot_be_read_is_refused_with_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("latin1"), b"# caf\xe9\n").unwrap();
        std::fs::write(at("large"), vec![b'#'; 2 * 1024 * 1024 + 1]).unwrap();
        assert!(message(&at("absent")).ends_with("there is no such file"));
        assert!(message(folder.path()).ends_with("it is a folder; name the file in it"));
        assert!(message(&at("latin1")).ends_with("it is not UTF-8 text (byte 5)"));
        assert!(message(&at("large")).ends_with("it is larger than 2 MB"));
    }

    #[test]
    fn a_lock_beside_the_file_is_loaded_with_it_and_a_broken_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("permissions.yaml");
        std::fs::write(&path, "servers: {a: {url: 'http://a/'}}").unwrap();
        let lock = |text: &str| std::fs::write(folder.path().join("tools.lock"), text).unwrap();
        let loaded = load(&path, &|_| None).unwrap();
        assert!(loaded.permissions.tool_lock().is_none());
        lock(&format!("a/x sha256:{}\n", "0".repeat(64)));
        let loaded = load(&path, &|_| None).unwrap();
        let pins = loaded.permissions.tool_lock().unwrap();
        assert!(pins.pins(&"a".parse().unwrap()));
        lock("a/x md5:0\n");
        let said = message(&path);
        assert!(
            said.contains("tools.lock") && said.contains("line 1"),
            "{said}"
        );
    }

    #[test]
    fn a_file_is_loaded_with_the_folder_of_its_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("permissions.yaml");
        std::fs::write(folder.path().join("key"), "abc\n").unwrap();
        let text = "servers: {a: {url: 'http://a/', headers: {X-Api-Key: '${file:key}'}}}";
        std::fs::write(&path, text).unwrap();
        let loaded = load(&path, &|_| None).unwrap();
        assert_eq!(loaded.connections.len(), 1);
        assert_eq!(loaded.permissions.agents().len(), 0);
    }
}
