//! One policy file that is looked at again and again. What counts is what is in it: a file that is swapped behind a
//! symlink or a bind mount is found as well as one that is written.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::types::Revision;

use super::load::{LoadError, Read, read};
use super::lock::lock_path;

/// How often the file is read though it looks untouched: some file systems tell times of whole seconds.
const READ_ANYWAY: Duration = Duration::from_secs(10);

/// What tells that a file was touched, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

/// What a file held when it was read, and the lock of tools beside it; nothing when it could not be.
type Content = Option<(Revision, Option<Revision>)>;

/// A policy file and what is known of it.
#[derive(Debug, Clone)]
pub struct Followed {
    path: PathBuf,
    stamp: [Option<Stamp>; 2],
    read_at: Option<Duration>,
    /// What was handed out last. Nothing to have it handed out again.
    known: Option<Content>,
    /// What was found once, and must be found once more: whoever writes a file may be in the middle of it.
    seen_once: Option<Content>,
}

impl Followed {
    /// Follows a file of which this was read, and of the lock beside it.
    pub fn new(path: &Path, known: Revision, lock: Option<Revision>) -> Self {
        Self {
            path: path.into(),
            stamp: [None, None],
            read_at: None,
            known: Some(Some((known, lock))),
            seen_once: None,
        }
    }

    /// Which file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file holds now.
    pub fn take(&mut self) -> Result<Read, LoadError> {
        let found = read(&self.path);
        self.known = Some(found.as_ref().ok().map(content));
        self.seen_once = None;
        found
    }

    /// What the file holds, when that is new and was the same at the last look. `now` is running time.
    pub fn look(&mut self, now: Duration) -> Option<Result<Read, LoadError>> {
        let stamp = [stamp(&self.path), stamp(&lock_path(&self.path))];
        let is_due = self
            .read_at
            .is_none_or(|at| now.saturating_sub(at) >= READ_ANYWAY);
        let waits = self.seen_once.is_some() || self.known.is_none();
        if stamp == self.stamp && !is_due && !waits {
            return None;
        }
        (self.stamp, self.read_at) = (stamp, Some(now));
        let found = read(&self.path);
        let content = found.as_ref().ok().map(content);
        if self.known == Some(content) {
            self.seen_once = None;
            return None;
        }
        if self.seen_once.replace(content) != Some(content) {
            return None;
        }
        (self.known, self.seen_once) = (Some(content), None);
        Some(found)
    }

    /// Has what was handed out last handed out once more: nothing could be done with it.
    pub fn forget(&mut self) {
        self.known = None;
    }
}

fn content(read: &Read) -> (Revision, Option<Revision>) {
    (read.revision, read.lock)
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some(Stamp {
        device: meta.dev(),
        inode: meta.ino(),
        modified: (meta.mtime(), meta.mtime_nsec()),
        size: meta.size(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    struct Bench {
        folder: tempfile::TempDir,
        followed: Followed,
        now: Duration,
    }

    impl Bench {
        fn new(text: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("permissions.yaml");
            fs::write(&path, text).unwrap();
            Self {
                followed: Followed::new(&path, Revision::of(text.as_bytes()), None),
                folder,
                now: Duration::ZERO,
            }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("permissions.yaml")
        }

        /// One look a second later: the text that is handed out, or `-` where it cannot be read.
        fn look(&mut self) -> Option<String> {
            self.now += SECOND;
            let found = self.followed.look(self.now)?;
            Some(found.map_or_else(|_| "-".into(), |read| read.text))
        }
    }

    #[test]
    fn what_is_new_is_handed_out_once_and_only_when_it_was_found_twice() {
        let mut bench = Bench::new("a");
        assert_eq!((bench.look(), bench.look()), (None, None));
        fs::write(bench.path(), "half").unwrap();
        assert_eq!(bench.look(), None);
        fs::write(bench.path(), "half of it, and the rest").unwrap();
        assert_eq!(bench.look(), None);
        assert_eq!(bench.look().as_deref(), Some("half of it, and the rest"));
        assert_eq!((bench.look(), bench.look()), (None, None));
        // There and back between two looks is no change.
        fs::write(bench.path(), "b").unwrap();
        assert_eq!(bench.look(), None);
        fs::write(bench.path(), "half of it, and the rest").unwrap();
        assert_eq!((bench.look(), bench.look()), (None, None));
    }

    #[test]
    fn a_file_that_is_gone_is_told_once_and_so_is_its_return() {
        let mut bench = Bench::new("a");
        fs::remove_file(bench.path()).unwrap();
        assert_eq!(bench.look(), None);
        assert_eq!(bench.look().as_deref(), Some("-"));
        assert_eq!((bench.look(), bench.look()), (None, None));
        fs::write(bench.path(), "a").unwrap();
        assert_eq!(bench.look(), None);
        assert_eq!(bench.look().as_deref(), Some("a"));
    }

    #[test]
    fn a_symlink_that_is_swapped_is_found_and_so_is_what_looks_untouched() {
        let mut bench = Bench::new("a");
        for (name, text) in [("one", "a"), ("two", "b")] {
            fs::create_dir(bench.folder.path().join(name)).unwrap();
            fs::write(bench.folder.path().join(name).join("file"), text).unwrap();
        }
        // As Kubernetes mounts a config map: `file` leads through `..data`, which is swapped.
        let at = |name: &str| bench.folder.path().join(name);
        std::os::unix::fs::symlink("one", at("..data")).unwrap();
        fs::remove_file(at("permissions.yaml")).unwrap();
        std::os::unix::fs::symlink("..data/file", at("permissions.yaml")).unwrap();
        assert_eq!((bench.look(), bench.look()), (None, None));
        let at = |name: &str| bench.folder.path().join(name);
        std::os::unix::fs::symlink("two", at("..new")).unwrap();
        fs::rename(at("..new"), at("..data")).unwrap();
        assert_eq!(bench.look(), None);
        assert_eq!(bench.look().as_deref(), Some("b"));
        // Written in place, of the same size and with the time it had.
        let file = fs::File::options().write(true).open(bench.path()).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        fs::write(bench.path(), "c").unwrap();
        file.set_modified(modified).unwrap();
        let found = (0..12).find_map(|_| bench.look());
        assert_eq!(found.as_deref(), Some("c"));
    }

    #[test]
    fn what_nothing_could_be_done_with_is_handed_out_again() {
        let mut bench = Bench::new("a");
        fs::write(bench.path(), "b").unwrap();
        assert_eq!(bench.look(), None);
        assert_eq!(bench.look().as_deref(), Some("b"));
        bench.followed.forget();
        assert_eq!(bench.look(), None);
        assert_eq!(bench.look().as_deref(), Some("b"));
        assert_eq!(bench.followed.take().unwrap().text, "b");
        assert_eq!(bench.look(), None);
    }

    #[test]
    fn a_lock_that_comes_changes_or_goes_is_a_change() {
        let mut bench = Bench::new("a: 1");
        let lock = lock_path(bench.followed.path());
        for text in [Some("one\n"), Some("two\n"), None] {
            match text {
                Some(text) => fs::write(&lock, text).unwrap(),
                None => fs::remove_file(&lock).unwrap(),
            }
            let mut found = Vec::new();
            for _ in 0..15 {
                bench.now += SECOND;
                found.extend(bench.followed.look(bench.now));
            }
            assert_eq!(found.len(), 1, "{text:?}");
        }
    }
}
