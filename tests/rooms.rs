//! The plan of the house, checked against the source text: which room may use which, what the pure files do not
//! know, and where time and SQL live. Changing a table here is a design decision, made in the open.

#[cfg(test)]
mod plan {
    use std::fs;
    use std::path::{Path, PathBuf};

    /// What each room may use beside itself.
    const ARROWS: &[(&str, &[&str])] = &[
        ("types", &[]),
        ("policy", &["types"]),
        ("protocol", &["types"]),
        ("clock", &["types"]),
        ("db", &["types"]),
        ("config", &["types", "policy"]),
        ("budget", &["types", "policy", "clock", "db"]),
        ("audit", &["types", "db"]),
        ("upstream", &["types", "protocol", "clock"]),
        (
            "gateway",
            &[
                "types", "policy", "protocol", "clock", "db", "budget", "audit", "upstream",
            ],
        ),
        ("http", &["types", "protocol", "clock", "gateway"]),
        ("review", &["types", "policy", "config", "budget", "audit"]),
        (
            "dashboard",
            &[
                "types", "policy", "clock", "db", "config", "budget", "audit", "review",
            ],
        ),
        ("example", &["types", "protocol"]),
        ("telemetry", &[]),
        (
            "app",
            &[
                "types",
                "policy",
                "protocol",
                "clock",
                "db",
                "config",
                "budget",
                "audit",
                "review",
                "upstream",
                "gateway",
                "http",
                "dashboard",
                "telemetry",
            ],
        ),
        (
            "cli",
            &[
                "types",
                "policy",
                "protocol",
                "clock",
                "db",
                "config",
                "budget",
                "audit",
                "review",
                "upstream",
                "gateway",
                "http",
                "dashboard",
                "example",
                "telemetry",
                "app",
            ],
        ),
    ];

    /// Files without waiting, clock, disk and socket. A folder stands for all in it.
    const PURE: &[&str] = &[
        "types/",
        "policy/",
        "review/",
        "protocol/",
        "budget/books.rs",
        "budget/count.rs",
        "budget/reported.rs",
        "budget/rings.rs",
        "budget/seed.rs",
        "budget/standing.rs",
        "budget/books/",
        "budget/keys.rs",
        "budget/window.rs",
        "audit/accessed.rs",
        "audit/body.rs",
        "audit/event.rs",
        "audit/chain.rs",
        "audit/csv.rs",
        "audit/export/line.rs",
        "audit/export/manifest.rs",
        "audit/export/table.rs",
        "audit/filter.rs",
        "audit/redact.rs",
        "audit/redact/",
        "audit/row.rs",
        "audit/verify/bodies.rs",
        "audit/verify/texts.rs",
        "upstream/contacts.rs",
        "audit/seen.rs",
        "audit/counts.rs",
        "audit/histogram.rs",
        "audit/packed.rs",
        "dashboard/connect/clients.rs",
        "dashboard/denials/advice.rs",
        "dashboard/reasons.rs",
        "dashboard/report/access.rs",
        "dashboard/report/budgets.rs",
        "dashboard/report/document.rs",
        "dashboard/report/gaps.rs",
        "dashboard/report/markdown.rs",
        "dashboard/report/month.rs",
        "dashboard/report/section.rs",
    ];
    const IMPURE: &[&str] = &[
        "async fn",
        "async move",
        ".await",
        "sqlx",
        "rusqlite",
        "tokio",
        "SystemTime",
        "Instant",
        "::now()",
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "crate::clock",
        "crate::db::Readers",
    ];

    /// Files that may hold SQL.
    const SQL_ROOMS: &[&str] = &[
        "db.rs",
        "db/",
        "budget/key_table.rs",
        "budget/ledger.rs",
        "budget/corrections.rs",
        "budget/history.rs",
        "budget/read.rs",
        "audit/export/source.rs",
        "audit/bodies.rs",
        "audit/definitions.rs",
        "audit/log.rs",
        "audit/packing.rs",
        "audit/prune.rs",
        "audit/trace.rs",
        "audit/lookups.rs",
        "audit/rollups.rs",
        "audit/coarse.rs",
        "audit/coarse/",
        "audit/texts.rs",
        "audit/behind.rs",
        "audit/verify.rs",
        "audit/verify/source.rs",
        "audit/verify/source/",
        "audit/verify/proof.rs",
        "audit/verify/quick.rs",
        "audit/read.rs",
        "audit/read/",
    ];
    const SQL_WORDS: &[&str] = &[
        "SELECT ",
        "INSERT INTO",
        "UPDATE ",
        "DELETE FROM",
        "CREATE TABLE",
        "PRAGMA ",
        "BEGIN IMMEDIATE",
    ];

    /// Ways to ask what time it is. Deadlines count on tokio's own instants, which no decision sees.
    const TIME: &[&str] = &[
        "SystemTime",
        "std::time::Instant",
        "Timestamp::now",
        "Zoned::now",
    ];

    /// A file under `src` and its lines, without comments and without tests.
    struct Source {
        path: String,
        first_line: String,
        lines: Vec<(usize, String)>,
    }

    impl Source {
        fn read(root: &Path, file: &Path) -> Self {
            let path = file.strip_prefix(root).unwrap().to_str().unwrap();
            let text = fs::read_to_string(file).unwrap();
            let program = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
            let numbered = program.lines().enumerate();
            let lines =
                numbered.map(|(index, line)| (index + 1, without_comment(line).to_string()));
            Self {
                path: path.to_string(),
                first_line: text.lines().next().unwrap_or_default().to_string(),
                lines: lines.collect(),
            }
        }

        fn room(&self) -> &str {
            let first = self.path.split('/').next().unwrap();
            first.strip_suffix(".rs").unwrap_or(first)
        }

        fn stands_in(&self, places: &[&str]) -> bool {
            places.iter().any(|place| {
                self.path == *place || place.ends_with('/') && self.path.starts_with(place)
            })
        }

        fn is_test(&self) -> bool {
            let stem = self.path.trim_end_matches(".rs");
            stem.ends_with("tests") || stem.ends_with("testing") || self.path.contains("/tests/")
        }

        /// Lines with one of these words, as findings.
        fn lines_with(&self, words: &[&str]) -> Vec<String> {
            let found = self.lines.iter().filter_map(|(number, line)| {
                let word = words.iter().find(|word| line.contains(**word))?;
                Some(format!("src/{}:{number}: `{}`", self.path, word.trim()))
            });
            found.collect()
        }

        /// Rooms this file names, with the line. Lists in braces may stand over several lines.
        fn uses(&self) -> Vec<(usize, String)> {
            let mut uses = Vec::new();
            for (index, (number, line)) in self.lines.iter().enumerate() {
                for after in line.split("crate::").skip(1) {
                    let rest = self.lines[index + 1..]
                        .iter()
                        .map(|(_, line)| line.as_str());
                    let rest = rest.take(20).collect::<Vec<_>>().join(" ");
                    let names = match after.strip_prefix('{') {
                        None => vec![word(after)],
                        Some(list) => {
                            let whole = format!("{list} {rest}");
                            let list = whole.split(';').next().unwrap();
                            list.split(',').map(|item| word(item.trim())).collect()
                        }
                    };
                    let rooms = names.into_iter().filter(|name| is_room(name));
                    uses.extend(rooms.map(|room| (*number, room)));
                }
            }
            uses
        }
    }

    fn word(text: &str) -> String {
        let letters = text
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_');
        letters.collect()
    }

    fn is_room(name: &str) -> bool {
        ARROWS.iter().any(|(room, _)| *room == name)
    }

    /// Good enough for our sources: `//` inside a string stands only in addresses, after a colon.
    fn without_comment(line: &str) -> &str {
        let mut from = 0;
        while let Some(at) = line[from..].find("//").map(|at| at + from) {
            if !line[..at].ends_with(':') {
                return &line[..at];
            }
            from = at + 2;
        }
        line
    }

    fn sources() -> Vec<Source> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        collect(&root, &mut files);
        files.sort();
        assert!(files.len() > 100, "the sources are found");
        files.iter().map(|file| Source::read(&root, file)).collect()
    }

    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, files);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                files.push(path);
            }
        }
    }

    fn assert_none(what: &str, findings: &[String]) {
        assert!(findings.is_empty(), "{what}:\n{}", findings.join("\n"));
    }

    #[test]
    fn a_room_uses_only_the_rooms_the_plan_gives_it() {
        let mut findings = Vec::new();
        for source in sources() {
            let room = source.room();
            if ["lib", "main"].contains(&room) || source.is_test() {
                continue;
            }
            let Some((_, may_use)) = ARROWS.iter().find(|(name, _)| *name == room) else {
                findings.push(format!(
                    "src/{}: the room `{room}` is not in the plan",
                    source.path
                ));
                continue;
            };
            for (line, used) in source.uses() {
                if used != room && !may_use.contains(&used.as_str()) {
                    findings.push(format!(
                        "src/{}:{line}: `{room}` uses `{used}`",
                        source.path
                    ));
                }
            }
        }
        assert_none("arrows that are not in the plan", &findings);
    }

    #[test]
    fn the_plan_has_no_circle() {
        let at = |name: &str| ARROWS.iter().position(|(room, _)| *room == name);
        for (index, (room, may_use)) in ARROWS.iter().enumerate() {
            for used in *may_use {
                let earlier = at(used).is_some_and(|used| used < index);
                assert!(
                    earlier,
                    "`{room}` may use `{used}`, which does not stand before it"
                );
            }
        }
    }

    #[test]
    fn pure_files_know_no_waiting_no_clock_no_disk_and_no_socket() {
        let sources = sources();
        let pure = sources
            .iter()
            .filter(|source| source.stands_in(PURE) && !source.is_test());
        let findings: Vec<String> = pure.flat_map(|source| source.lines_with(IMPURE)).collect();
        assert_none("pure files that are not", &findings);
        for place in PURE {
            let exists = sources.iter().any(|source| source.stands_in(&[place]));
            assert!(exists, "nothing stands at src/{place}");
        }
    }

    #[test]
    fn every_file_says_what_it_is_for() {
        let silent = sources()
            .into_iter()
            .filter(|source| !source.first_line.starts_with("//! "));
        let silent: Vec<String> = silent
            .map(|source| format!("src/{}:1", source.path))
            .collect();
        assert_none("files that do not begin with `//!`", &silent);
    }

    #[test]
    fn sql_stands_only_where_its_tables_are_owned() {
        let others = sources()
            .into_iter()
            .filter(|source| !source.stands_in(SQL_ROOMS) && !source.is_test());
        let mut words: Vec<&str> = SQL_WORDS.to_vec();
        words.extend(["sqlx::", "rusqlite::"]);
        let findings: Vec<String> = others
            .flat_map(|source| source.lines_with(&words))
            .collect();
        assert_none("SQL in other places", &findings);
    }

    #[test]
    fn only_the_clock_reads_time() {
        let others = sources()
            .into_iter()
            .filter(|source| source.path != "clock.rs" && !source.is_test());
        let findings: Vec<String> = others
            .flat_map(|source| {
                let mut found = source.lines_with(TIME);
                let has_tokios = source
                    .lines
                    .iter()
                    .any(|(_, line)| line.contains("tokio::time::") && line.contains("Instant"));
                if !has_tokios {
                    found.extend(source.lines_with(&["Instant::now"]));
                }
                found
            })
            .collect();
        assert_none("time read elsewhere", &findings);
    }

    #[test]
    fn only_the_database_room_begins_transactions() {
        let others = sources()
            .into_iter()
            .filter(|source| !source.stands_in(&["db.rs", "db/"]) && !source.is_test());
        let findings: Vec<String> = others
            .flat_map(|source| {
                source.lines_with(&[
                    "rusqlite",
                    ".begin_with(",
                    "SqliteConnectOptions",
                    "SqlitePoolOptions",
                ])
            })
            .collect();
        assert_none("connections and transactions made elsewhere", &findings);
    }
}
