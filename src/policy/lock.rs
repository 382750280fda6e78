//! `tools.lock`: the definitions of tools that were reviewed, one a line, made to be read in a diff.
//!
//! `outline/search sha256:… description:1a2b3c4d inputSchema:5e6f7a8b`: the tool, the hash of its whole definition, and
//! the beginning of the hash of each of its parts, by which a change is told. A tool may stand there twice, where its
//! server says different things to clients of different revisions.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::types::{DefinitionHash, Revision, ServerName};

/// What stands above the lines.
const HEAD: &str = "# Definitions of tools, as they were reviewed. `hayward tools --write-lock` writes this file,\n\
                    # `hayward tools --check-lock` compares. A tool that is another one than here is refused.\n";

/// One definition as a line says it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Locked {
    /// The hash of all of it.
    pub hash: DefinitionHash,
    /// Its parts, each with the beginning of its hash.
    pub parts: BTreeMap<String, String>,
}

/// All definitions that were reviewed.
#[derive(Debug, Clone)]
pub struct ToolLock {
    servers: BTreeMap<ServerName, BTreeMap<String, Vec<Locked>>>,
    revision: Revision,
}

/// How a definition stands to the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinned {
    /// It was reviewed, or the lock has no tool of its server.
    Good,
    /// It is another one than was reviewed.
    Changed,
    /// Its server is in the lock, the tool is not.
    New,
}

/// Why a lock cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}; `hayward tools --write-lock` writes the file anew")]
pub struct LockError {
    /// Which line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: &'static str,
}

impl ToolLock {
    /// A lock of these definitions.
    pub fn new(servers: BTreeMap<ServerName, BTreeMap<String, Vec<Locked>>>) -> Self {
        let mut lock = Self {
            servers,
            revision: Revision::of(b""),
        };
        lock.revision = Revision::of(lock.to_text().as_bytes());
        lock
    }

    /// Reads a lock.
    ///
    /// # Errors
    /// When a line is none that this program writes: half a lock would refuse, or let through, the wrong tools.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        let mut servers: BTreeMap<ServerName, BTreeMap<String, Vec<Locked>>> = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why| LockError {
                line: index + 1,
                why,
            };
            let (server, tool, locked) = read_line(line).map_err(wrong)?;
            let known = servers.entry(server).or_default().entry(tool).or_default();
            if known.iter().any(|known| known.hash == locked.hash) {
                return Err(wrong("the same definition stands twice"));
            }
            known.push(locked);
        }
        Ok(Self {
            servers,
            revision: Revision::of(text.as_bytes()),
        })
    }

    /// The text of the file: sorted, so that a diff shows what changed and nothing else.
    pub fn to_text(&self) -> String {
        let mut text = HEAD.to_owned();
        for (server, tools) in &self.servers {
            for (tool, locked) in tools {
                let mut locked: Vec<&Locked> = locked.iter().collect();
                locked.sort();
                for locked in locked {
                    write_line(&mut text, server, tool, locked);
                }
            }
        }
        text
    }

    /// Which version of the file it is.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether any tool of this server was reviewed; of the others nothing is refused.
    pub fn pins(&self, server: &ServerName) -> bool {
        self.servers.contains_key(server)
    }

    /// The tools of a server with their definitions.
    pub fn tools(&self, server: &ServerName) -> impl Iterator<Item = (&str, &[Locked])> {
        let tools = self.servers.get(server).into_iter().flatten();
        tools.map(|(tool, locked)| (tool.as_str(), locked.as_slice()))
    }

    /// All servers with a tool that was reviewed.
    pub fn servers(&self) -> impl Iterator<Item = &ServerName> {
        self.servers.keys()
    }

    /// Whether a tool stands here, whatever its definition.
    pub fn has(&self, server: &ServerName, tool: &str) -> bool {
        let tools = self.servers.get(server);
        tools.is_some_and(|tools| tools.contains_key(tool))
    }

    /// How a definition stands to what was reviewed.
    pub fn judge(&self, server: &ServerName, tool: &str, hash: DefinitionHash) -> Pinned {
        let Some(tools) = self.servers.get(server) else {
            return Pinned::Good;
        };
        match tools.get(tool) {
            None => Pinned::New,
            Some(locked) if locked.iter().any(|locked| locked.hash == hash) => Pinned::Good,
            Some(_) => Pinned::Changed,
        }
    }
}

// Writing to a String cannot fail.
fn write_line(text: &mut String, server: &ServerName, tool: &str, locked: &Locked) {
    let _ = write!(text, "{server}/{} sha256:{}", word(tool), locked.hash);
    for (part, hash) in &locked.parts {
        let _ = write!(text, " {}:{hash}", word(part));
    }
    text.push('\n');
}

/// A name as it stands in a line: what could end it is written by its number.
fn word(name: &str) -> String {
    let mut word = String::new();
    for c in name.chars() {
        if c.is_ascii_graphic() && !matches!(c, '%' | ':' | '#') {
            word.push(c);
        } else {
            let _ = write!(word, "%{:x};", u32::from(c));
        }
    }
    word
}

fn name(word: &str) -> Option<String> {
    let mut name = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('%') {
        let (digits, behind) = after.split_once(';')?;
        name.push_str(before);
        name.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
        rest = behind;
    }
    name.push_str(rest);
    Some(name)
}

fn read_line(line: &str) -> Result<(ServerName, String, Locked), &'static str> {
    let mut words = line.split_ascii_whitespace();
    let subject = words.next().unwrap_or_default();
    let (server, tool) = subject
        .split_once('/')
        .ok_or("it begins with no `server/tool`")?;
    let server = server.parse().map_err(|_| "it names no server")?;
    let tool = name(tool).ok_or("the name of the tool is not readable")?;
    let hash = words.next().and_then(|word| word.strip_prefix("sha256:"));
    let hash = hash
        .and_then(DefinitionHash::from_hex)
        .ok_or("it has no `sha256:` with 64 digits")?;
    let parts = words.map(|word| {
        let (part, hash) = word.split_once(':')?;
        Some((name(part)?, hash.to_owned()))
    });
    let parts = parts
        .collect::<Option<_>>()
        .ok_or("a part of the definition is not readable")?;
    Ok((server, tool, Locked { hash, parts }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn locked(text: &str, parts: &[&str]) -> Locked {
        let parts = parts
            .iter()
            .map(|part| ((*part).to_owned(), "1a2b3c4d".to_owned()));
        Locked {
            hash: DefinitionHash::of(text),
            parts: parts.collect(),
        }
    }

    #[test]
    fn a_lock_is_sorted_lines_and_reads_back() {
        let tools = BTreeMap::from([
            (
                "search".to_owned(),
                vec![locked("b", &["inputSchema", "description"])],
            ),
            (
                "odd name:1".to_owned(),
                vec![locked("a", &[]), locked("c", &[])],
            ),
        ]);
        let lock = ToolLock::new(BTreeMap::from([("notes".parse().unwrap(), tools)]));
        let text = lock.to_text();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines.len(), 3);
        assert!(
            lines[0].starts_with("notes/odd%20;name%3a;1 sha256:"),
            "{text}"
        );
        assert!(
            lines[2].ends_with(" description:1a2b3c4d inputSchema:1a2b3c4d"),
            "{text}"
        );
        let back = ToolLock::parse(&text).unwrap();
        assert_eq!(back.to_text(), text);
        assert_eq!(back.revision(), lock.revision());
    }

    #[test]
    fn a_definition_is_good_changed_or_new_and_other_servers_are_not_pinned() {
        let tools = BTreeMap::from([(
            "search".to_owned(),
            vec![locked("a", &[]), locked("b", &[])],
        )]);
        let lock = ToolLock::new(BTreeMap::from([("notes".parse().unwrap(), tools)]));
        let judge = |server: &str, tool: &str, text: &str| {
            lock.judge(&server.parse().unwrap(), tool, DefinitionHash::of(text))
        };
        assert_eq!(judge("notes", "search", "a"), Pinned::Good);
        assert_eq!(judge("notes", "search", "b"), Pinned::Good);
        assert_eq!(judge("notes", "search", "c"), Pinned::Changed);
        assert_eq!(judge("notes", "delete", "a"), Pinned::New);
        assert_eq!(judge("images", "delete", "a"), Pinned::Good);
    }

    #[test]
    fn a_line_that_nobody_wrote_is_refused_with_its_number() {
        let hash = DefinitionHash::of("a");
        for line in [
            "notes".to_owned(),
            "notes/search".to_owned(),
            "notes/search sha256:abc".to_owned(),
            format!("no tes/search sha256:{hash}"),
            format!("notes/se%zz;arch sha256:{hash}"),
            format!("notes/search sha256:{hash} description"),
            format!("notes/a sha256:{hash}\nnotes/a sha256:{hash}"),
        ] {
            let error = ToolLock::parse(&format!("# head\n\n{line}\n")).unwrap_err();
            assert!(error.line >= 3, "{line}: {error}");
        }
        assert!(
            !ToolLock::parse("# nothing\n")
                .unwrap()
                .pins(&"notes".parse().unwrap())
        );
    }

    proptest! {
        #[test]
        fn any_name_reads_back(tool in "\\PC{1,40}", part in ".{1,20}") {
            let one = locked("x", &[part.as_str()]);
            let tools = BTreeMap::from([(tool.clone(), vec![one.clone()])]);
            let lock = ToolLock::new(BTreeMap::from([("s".parse().unwrap(), tools)]));
            let back = ToolLock::parse(&lock.to_text()).unwrap();
            prop_assert!(back.has(&"s".parse().unwrap(), &tool));
            prop_assert_eq!(back.tools(&"s".parse().unwrap()).next().unwrap().1, &[one][..]);
        }
    }
}
