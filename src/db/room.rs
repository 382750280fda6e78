//! How much room the file system of the database has left, and how much must be left: calls that were let through are
//! closed in it.

use std::path::Path;

/// Below so much room no new call is let through, in bytes.
const FLOOR: u64 = 128 * 1024 * 1024;

/// On a small file system, the part of it that is the floor instead.
const PART: u64 = 32;

/// So many times the floor is worth a warning.
const WARNING: u64 = 4;

/// What a file system has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Free for this process, in bytes.
    pub free: u64,
    /// All of it, in bytes.
    pub size: u64,
}

impl Room {
    /// That of the file system a file lies on; `None` when it does not say.
    pub(super) fn around(file: &Path) -> Option<Self> {
        let folder = file.parent().filter(|folder| *folder != Path::new(""));
        let said = rustix::fs::statvfs(folder.unwrap_or(Path::new("."))).ok()?;
        Some(Self {
            free: said.f_bavail.saturating_mul(said.f_frsize),
            size: said.f_blocks.saturating_mul(said.f_frsize),
        })
    }

    /// Whether what is left is for closing what is open.
    pub fn is_used_up(self) -> bool {
        self.free < self.floor()
    }

    /// Whether somebody should make room.
    pub fn is_scarce(self) -> bool {
        self.free < self.floor().saturating_mul(WARNING)
    }

    fn floor(self) -> u64 {
        FLOOR.min(self.size / PART)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_128_mib_or_a_thirty_second_of_a_small_disk() {
        const MIB: u64 = 1024 * 1024;
        let table = [
            // Free and all, in MiB: is it scarce, is it used up?
            (512, 1_000_000, false, false),
            (511, 1_000_000, true, false),
            (128, 1_000_000, true, false),
            (127, 1_000_000, true, true),
            (8, 64, false, false),
            (7, 64, true, false),
            (2, 64, true, false),
            (1, 64, true, true),
            // A file system that tells no size has no floor.
            (0, 0, false, false),
        ];
        for (free, size, scarce, used_up) in table {
            let (free, size) = (free * MIB, size * MIB);
            let room = Room { free, size };
            let found = (room.is_scarce(), room.is_used_up());
            assert_eq!(found, (scarce, used_up), "{room:?}");
        }
    }

    #[test]
    fn a_file_system_says_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::around(&folder.path().join("log.db")).unwrap();
        assert!(room.size > 0 && room.free <= room.size, "{room:?}");
        assert!(Room::around(Path::new("log.db")).is_some());
        assert_eq!(Room::around(Path::new("/no/such/folder/log.db")), None);
    }
}
