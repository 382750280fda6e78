//! The git commit a policy file is taken from: what HEAD of the repository around it says, read by hand. Whether the
//! file was changed since then, nobody knows here; its own digest says what it is.

use std::fs;
use std::path::{Path, PathBuf};

/// The largest file that is read for it, in bytes; a repository with more packed references says nothing.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// References that name others, one after the other.
const MAX_HOPS: usize = 5;

/// The commit that is checked out where this file lies. `None` without a repository, or when it cannot be read.
pub fn commit_of(file: &Path) -> Option<String> {
    let file = fs::canonicalize(file).ok()?;
    let mut folders = file.ancestors().skip(1);
    let git = folders.find_map(|folder| git_folder(&folder.join(".git")))?;
    head(&git)
}

/// The folder with HEAD: `.git` itself, or what the file of this name points to in a linked work tree
/// (gitrepository-layout(5)).
fn git_folder(git: &Path) -> Option<PathBuf> {
    let meta = fs::metadata(git).ok()?;
    if meta.is_dir() {
        return Some(git.into());
    }
    let named = read(git)?;
    let named = named.strip_prefix("gitdir:")?.trim();
    Some(git.parent()?.join(named))
}

fn head(git: &Path) -> Option<String> {
    // References of a linked work tree stand in the repository it belongs to.
    let common = read(&git.join("commondir"));
    let common = common.map_or_else(|| git.into(), |named| git.join(named.trim()));
    let mut text = read(&git.join("HEAD"))?;
    for _ in 0..MAX_HOPS {
        let Some(name) = text.trim().strip_prefix("ref:") else {
            return commit(&text);
        };
        let name = name.trim();
        if !is_reference(name) {
            return None;
        }
        let loose = [git, &common].into_iter();
        let loose = loose.filter_map(|folder| read(&folder.join(name))).next();
        text = match loose {
            Some(text) => text,
            None => return packed(&read(&common.join("packed-refs"))?, name),
        };
    }
    None
}

/// A name that leads nowhere else (git-check-ref-format(1)).
fn is_reference(name: &str) -> bool {
    name.starts_with("refs/") && !name.split('/').any(|part| part.is_empty() || part == "..")
}

fn packed(references: &str, name: &str) -> Option<String> {
    let mut lines = references.lines();
    lines.find_map(|line| {
        let (hash, of) = line.split_once(' ')?;
        (of == name).then(|| commit(hash)).flatten()
    })
}

/// A hash as git writes it: of 160 or 256 bits.
fn commit(text: &str) -> Option<String> {
    let text = text.trim();
    let is_hash =
        [40, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| text.to_ascii_lowercase())
}

fn read(path: &Path) -> Option<String> {
    let is_small = fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_FILE);
    is_small.then(|| fs::read_to_string(path).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222";

    type Files<'a> = &'a [(&'a str, &'a str)];

    /// A folder with these files, and in it `rules/permissions.yaml`.
    fn folder(files: Files<'_>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files.iter().chain(&[("rules/permissions.yaml", "")]) {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn head_is_followed_to_its_commit() {
        let packed = format!("# pack-refs with: peeled\n{ONE} refs/heads/main\n^{TWO}\n");
        let branch = "ref: refs/heads/main\n";
        let table: [(Files<'_>, Option<&str>); 9] = [
            (&[], None),
            (&[(".git/HEAD", ONE)], Some(ONE)),
            (
                &[(".git/HEAD", branch), (".git/refs/heads/main", TWO)],
                Some(TWO),
            ),
            (
                &[(".git/HEAD", branch), (".git/packed-refs", &packed)],
                Some(ONE),
            ),
            // What is loose is newer.
            (
                &[
                    (".git/HEAD", branch),
                    (".git/packed-refs", &packed),
                    (".git/refs/heads/main", TWO),
                ],
                Some(TWO),
            ),
            (&[(".git/HEAD", branch)], None),
            (
                &[(".git/HEAD", "ref: refs/../../secret\n"), ("secret", ONE)],
                None,
            ),
            (&[(".git/HEAD", "not a hash")], None),
            // A linked work tree.
            (
                &[
                    (".git", "gitdir: repository/worktrees/rules\n"),
                    ("repository/worktrees/rules/HEAD", branch),
                    ("repository/worktrees/rules/commondir", "../..\n"),
                    ("repository/refs/heads/main", TWO),
                ],
                Some(TWO),
            ),
        ];
        for (files, wanted) in table {
            let folder = folder(files);
            let found = commit_of(&folder.path().join("rules/permissions.yaml"));
            assert_eq!(found.as_deref(), wanted, "{files:?}");
        }
    }
}
