//! The definitions of servers' tools: written down when they are first seen and whenever they change, and compared
//! with `tools.lock` where the rules have one.
//!
//! What a tool says of itself steers the model that reads it, so a server that changes it changes what was reviewed.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::audit::{Defined, Entry, Kind};
use crate::policy::{Pinned, ToolLock};
use crate::protocol::{Definition, Method, Object, json_string};
use crate::types::{AgentName, CallId, DefinitionHash, Revision, ServerName};
use crate::upstream::Era;

use super::listener::Listener;
use super::recheck::plain;
use super::stages::{Authenticated, Caller, Subject};
use super::{Failure, Gateway};

/// How long a list that was compared with the lock is trusted by calls.
const TRUSTED: Duration = Duration::from_secs(60);

/// How long a call waits for the list that it is compared with.
const LIST_WAIT: Duration = Duration::from_secs(5);

/// Tools of one server that are remembered; as many as are taken of one list.
const MAX_TOOLS: usize = 10_000;

/// Tools that one event names.
const IN_ONE_EVENT: usize = 500;

/// Changes that were told in the log of the process; when there are more, all may be told again.
const MAX_TOLD: usize = 10_000;

/// A tool and the hash of its definition, as a list had them.
pub(super) type Seen = (String, DefinitionHash);

/// In which way a tool is not the one that was reviewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deviation {
    /// Its definition is another one.
    Changed,
    /// Nobody has reviewed it.
    New,
    /// Its server does not list it any more.
    Gone,
    /// Its server could not be asked.
    Unknown,
}

/// What is known of definitions.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    /// As they were written down last. A server may define its tools differently in each era.
    known: Mutex<HashMap<(ServerName, Era), HashMap<String, DefinitionHash>>>,
    /// What was wrong with the last whole list that an agent's connection brought.
    compared: Mutex<HashMap<(ServerName, AgentName), Compared>>,
    told: Mutex<HashSet<(ServerName, String, DefinitionHash)>>,
}

#[derive(Debug, Default)]
struct Compared {
    /// With which lock; `None` when nothing was compared yet.
    lock: Option<Revision>,
    until: Duration,
    wrong: HashMap<String, Deviation>,
    /// Who asks for the list does so in turn.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// A definition that was not written down yet.
#[derive(Debug, PartialEq, Eq)]
struct News {
    tool: String,
    hash: DefinitionHash,
    /// What it was before; `None` for a tool that is new.
    was: Option<DefinitionHash>,
}

impl Definitions {
    /// Goes on with what the log knows.
    pub(super) fn new(defined: Vec<Defined>) -> Self {
        let definitions = Self::default();
        let mut known = lock(&definitions.known);
        for one in defined {
            let era = if one.protocol == word(Era::Modern) {
                Era::Modern
            } else {
                Era::Legacy
            };
            let tools = known.entry((one.server, era)).or_default();
            tools.insert(one.tool, one.hash);
        }
        drop(known);
        definitions
    }

    /// Forgets what was compared of a server: reached in another way, it may be another one, and the next call looks.
    pub(super) fn forget(&self, server: &ServerName) {
        for (_, compared) in lock(&self.compared)
            .iter_mut()
            .filter(|((of, _), _)| of == server)
        {
            compared.lock = None;
        }
    }

    /// What of a list is not written down yet, and whether the server was never listed before; from now on it counts
    /// as written down.
    fn take_news(&self, server: &ServerName, era: Era, seen: &[Seen]) -> Option<(bool, Vec<News>)> {
        let mut known = lock(&self.known);
        let key = (server.clone(), era);
        let is_first = !known.contains_key(&key);
        let tools = known.entry(key).or_default();
        let mut news = Vec::new();
        for (tool, hash) in seen {
            let was = tools.get(tool).copied();
            if was == Some(*hash) || (was.is_none() && tools.len() >= MAX_TOOLS) {
                continue;
            }
            tools.insert(tool.clone(), *hash);
            news.push(News {
                tool: tool.clone(),
                hash: *hash,
                was,
            });
        }
        (is_first || !news.is_empty()).then_some((is_first, news))
    }

    /// What was not written down after all is not known.
    fn put_back(&self, server: &ServerName, era: Era, is_first: bool, news: &[News]) {
        let mut known = lock(&self.known);
        let key = (server.clone(), era);
        if is_first {
            known.remove(&key);
        } else if let Some(tools) = known.get_mut(&key) {
            for one in news {
                match one.was {
                    Some(was) => tools.insert(one.tool.clone(), was),
                    None => tools.remove(&one.tool),
                };
            }
        }
    }

    /// Compares a whole list with the lock.
    fn compare(
        &self,
        pins: &ToolLock,
        whose: (&ServerName, &AgentName),
        seen: &[Seen],
        at: Duration,
    ) {
        let (server, agent) = whose;
        let mut wrong = HashMap::new();
        let listed: HashSet<&str> = seen.iter().map(|(tool, _)| tool.as_str()).collect();
        for (tool, _) in pins
            .tools(server)
            .filter(|(tool, _)| !listed.contains(tool))
        {
            wrong.insert(tool.to_owned(), Deviation::Gone);
        }
        for (tool, hash) in seen {
            if pins.judge(server, tool, *hash) == Pinned::Changed {
                wrong.insert(tool.clone(), Deviation::Changed);
            }
        }
        let mut all = lock(&self.compared);
        let compared = all.entry((server.clone(), agent.clone())).or_default();
        compared.lock = Some(pins.revision());
        compared.until = at.saturating_add(TRUSTED);
        compared.wrong = wrong;
    }

    /// What is wrong with a tool that the lock has.
    fn find(
        &self,
        pins: &ToolLock,
        whose: (&ServerName, &AgentName),
        tool: &str,
    ) -> Option<Deviation> {
        let all = lock(&self.compared);
        let compared = all.get(&(whose.0.clone(), whose.1.clone()));
        match compared.filter(|compared| compared.lock == Some(pins.revision())) {
            Some(compared) => compared.wrong.get(tool).copied(),
            None => Some(Deviation::Unknown),
        }
    }

    fn is_fresh(&self, pins: &ToolLock, whose: (&ServerName, &AgentName), at: Duration) -> bool {
        let all = lock(&self.compared);
        let compared = all.get(&(whose.0.clone(), whose.1.clone()));
        compared
            .is_some_and(|compared| compared.lock == Some(pins.revision()) && at < compared.until)
    }

    fn turn(&self, server: &ServerName, agent: &AgentName) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = lock(&self.compared);
        let compared = all.entry((server.clone(), agent.clone())).or_default();
        Arc::clone(&compared.turn)
    }

    /// Whether this is the first time that it is told.
    fn is_untold(&self, server: &ServerName, tool: &str, hash: DefinitionHash) -> bool {
        let mut told = lock(&self.told);
        if told.len() >= MAX_TOLD {
            told.clear();
        }
        told.insert((server.clone(), tool.to_owned(), hash))
    }
}

impl Gateway {
    /// Writes down what a page of a list says that was not known, and leaves out what is not in the lock. Yields the
    /// tools that the server listed.
    pub(super) async fn see_definitions(
        &self,
        caller: &Caller,
        server: &ServerName,
        (method, era, call): (Method, Era, CallId),
        items: &mut Vec<Object>,
    ) -> Result<Vec<Seen>, Failure> {
        // The gateway's own tools change with the gateway.
        if method != Method::ToolsList || server.is_built_in() {
            return Ok(Vec::new());
        }
        let seen = items.iter().filter_map(seen_in).collect::<Vec<Seen>>();
        self.write_down(server, era, call, &seen).await?;
        if let Some(pins) = caller.permissions.tool_lock() {
            self.tell_refused(pins, server, &seen);
            items.retain(|item| {
                let seen = seen_in(item);
                seen.is_none_or(|(tool, hash)| pins.judge(server, &tool, hash) == Pinned::Good)
            });
        }
        Ok(seen)
    }

    async fn write_down(
        &self,
        server: &ServerName,
        era: Era,
        call: CallId,
        seen: &[Seen],
    ) -> Result<(), Failure> {
        let Some((is_first, news)) = self.definitions.take_news(server, era, seen) else {
            return Ok(());
        };
        for one in news.iter().filter(|one| one.was.is_some()) {
            tracing::info!(%server, tool = ?one.tool, "the definition of a tool changed");
        }
        for entry in entries(server, era, call, is_first, &news) {
            if self.recorder.note(entry).await.is_err() {
                self.definitions.put_back(server, era, is_first, &news);
                return Err(Failure::Unrecorded);
            }
        }
        Ok(())
    }

    /// Says once of each definition that it is refused.
    fn tell_refused(&self, pins: &ToolLock, server: &ServerName, seen: &[Seen]) {
        for (tool, hash) in seen {
            let what = match pins.judge(server, tool, *hash) {
                Pinned::Good => continue,
                Pinned::Changed => "its definition changed",
                Pinned::New => "it is new",
            };
            if self.definitions.is_untold(server, tool, *hash) {
                tracing::warn!(%server, ?tool, what, "a tool is refused until tools.lock has it");
            }
        }
    }

    /// Compares a whole list of tools with the lock, for the calls that follow.
    pub(super) fn compare(
        &self,
        caller: &Caller,
        server: &ServerName,
        method: Method,
        seen: &[Seen],
    ) {
        let pins = caller.permissions.tool_lock();
        if let Some(pins) = pins.filter(|pins| method == Method::ToolsList && pins.pins(server)) {
            let at = self.clock.monotonic();
            let whose = (server, &caller.agent.name);
            self.definitions.compare(pins, whose, seen, at);
        }
    }

    /// Asks for the list of a tool that is called, where there is a lock and nobody asked lately.
    ///
    /// # Errors
    /// When the log cannot be written, and when the agent cancels. A server that does not answer is no error here: its
    /// tool is refused next.
    pub(super) async fn look_up_definition(
        &self,
        caller: &Arc<Caller>,
        server: &ServerName,
        tool: &str,
        agent: &Listener,
    ) -> Result<(), Failure> {
        let Some(pins) = caller.permissions.tool_lock() else {
            return Ok(());
        };
        // What was not granted is refused next, without a word to the server.
        if !pins.has(server, tool) || !self.may_call(caller, server, tool) {
            return Ok(());
        }
        let whose = (server, &caller.agent.name);
        let is_fresh = || {
            self.definitions
                .is_fresh(pins, whose, self.clock.monotonic())
        };
        if is_fresh() {
            return Ok(());
        }
        let turn = self.definitions.turn(server, &caller.agent.name);
        let _turn = turn.lock().await;
        if is_fresh() {
            return Ok(());
        }
        let patient = agent.until(Instant::now() + LIST_WAIT);
        let asking = self.list_pages(caller, server, plain(Method::ToolsList), &patient);
        match asking.await {
            Ok(_) => Ok(()),
            Err(Failure::Unrecorded) => Err(Failure::Unrecorded),
            Err(_) if agent.has_cancelled() => Err(Failure::Cancelled),
            Err(_) => Ok(()),
        }
    }

    /// In which way the tool of a call is not the one that was reviewed.
    pub(super) fn deviation(&self, request: &Authenticated) -> Option<Deviation> {
        let wish = &request.wish;
        // The next round of a call is the same call.
        if wish.request.method != Method::ToolsCall || wish.continues.is_some() {
            return None;
        }
        let Subject::Tool(tool) = &wish.subject else {
            return None;
        };
        let pins = request.caller.permissions.tool_lock()?;
        if !pins.pins(&wish.server) {
            return None;
        }
        if !pins.has(&wish.server, tool) {
            return Some(Deviation::New);
        }
        let whose = (&wish.server, &request.caller.agent.name);
        self.definitions.find(pins, whose, tool)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn seen_in(item: &Object) -> Option<Seen> {
    Some((item.get_str("name")?.into_owned(), Definition::hash(item)))
}

fn word(era: Era) -> &'static str {
    match era {
        Era::Modern => "modern",
        Era::Legacy => "legacy",
    }
}

/// The events of definitions that were not known: names and hashes, never what they say.
fn entries(
    server: &ServerName,
    era: Era,
    call: CallId,
    is_first: bool,
    news: &[News],
) -> Vec<Entry> {
    let pieces: Vec<&[News]> = match news {
        [] => vec![news],
        _ => news.chunks(IN_ONE_EVENT).collect(),
    };
    let entries = pieces.into_iter().map(|piece| {
        let mut entry = Entry::new(Kind::Tools)
            .text("protocol", word(era))
            .text("seen", if is_first { "first" } else { "again" })
            // Not as the call of this event: that one is closed already.
            .text("of", &call.to_string())
            .json("tools", tools(piece));
        entry.server = Some(server.clone());
        entry
    });
    entries.collect()
}

fn tools(news: &[News]) -> String {
    let mut text = String::from("[");
    for (index, one) in news.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let (name, hash) = (json_string(&one.tool), one.hash);
        // Writing to a String cannot fail.
        let _ = write!(text, r#"{comma}{{"name":{name},"hash":"{hash}""#);
        if let Some(was) = one.was {
            let _ = write!(text, r#","was":"{was}""#);
        }
        text.push('}');
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen_as(texts: &[(&str, &str)]) -> Vec<Seen> {
        let seen = texts.iter();
        seen.map(|(tool, text)| ((*tool).to_owned(), DefinitionHash::of(text)))
            .collect()
    }

    fn pins(texts: &[(&str, &str)]) -> ToolLock {
        let lines: Vec<String> = seen_as(texts)
            .into_iter()
            .map(|(tool, hash)| format!("notes/{tool} sha256:{hash}\n"))
            .collect();
        ToolLock::parse(&lines.concat()).unwrap()
    }

    #[test]
    fn a_list_is_news_once_and_what_changes_in_it_is() {
        let (definitions, server) = (Definitions::default(), "notes".parse().unwrap());
        let take =
            |texts: &[(&str, &str)]| definitions.take_news(&server, Era::Legacy, &seen_as(texts));
        let (is_first, news) = take(&[("a", "1"), ("b", "1")]).unwrap();
        assert!(is_first && news.len() == 2 && news.iter().all(|one| one.was.is_none()));
        assert_eq!(take(&[("b", "1"), ("a", "1")]), None);
        assert_eq!(take(&[]), None, "a tool that is missing is no definition");
        let (is_first, news) = take(&[("a", "2"), ("c", "1")]).unwrap();
        assert!(!is_first);
        assert_eq!(news[0].was, Some(DefinitionHash::of("1")));
        assert_eq!((news[1].tool.as_str(), news[1].was), ("c", None));
        definitions.put_back(&server, Era::Legacy, false, &news);
        assert_eq!(take(&[("a", "2"), ("c", "1")]), Some((false, news)));
    }

    #[test]
    fn an_empty_list_is_an_event_and_a_long_one_is_several() {
        let server = "notes".parse().unwrap();
        let call = CallId::new(crate::types::Timestamp::from_micros(0), [0; 10]);
        let of = |count: usize| {
            let news = (0..count).map(|number| News {
                tool: format!("t{number}"),
                hash: DefinitionHash::of("x"),
                was: None,
            });
            entries(&server, Era::Modern, call, true, &news.collect::<Vec<_>>()).len()
        };
        assert_eq!([of(0), of(1), of(500), of(501)], [1, 1, 1, 2]);
    }

    #[test]
    fn calls_are_judged_by_the_last_whole_list_and_the_lock_it_was_compared_with() {
        let definitions = Definitions::default();
        let (server, agent) = ("notes".parse().unwrap(), "clawd".parse().unwrap());
        let whose = (&server, &agent);
        let pins_of = pins(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let at = Duration::from_secs(9);
        assert_eq!(
            definitions.find(&pins_of, whose, "a"),
            Some(Deviation::Unknown)
        );
        definitions.compare(
            &pins_of,
            whose,
            &seen_as(&[("a", "1"), ("b", "2"), ("x", "1")]),
            at,
        );
        assert_eq!(definitions.find(&pins_of, whose, "a"), None);
        assert_eq!(
            definitions.find(&pins_of, whose, "b"),
            Some(Deviation::Changed)
        );
        assert_eq!(
            definitions.find(&pins_of, whose, "c"),
            Some(Deviation::Gone)
        );
        assert!(definitions.is_fresh(&pins_of, whose, at + Duration::from_secs(59)));
        assert!(!definitions.is_fresh(&pins_of, whose, at + Duration::from_secs(60)));
        let other = pins(&[("a", "1")]);
        assert_eq!(
            definitions.find(&other, whose, "a"),
            Some(Deviation::Unknown)
        );
        assert!(!definitions.is_fresh(&other, whose, at));
    }

    #[test]
    fn a_deviation_is_told_once_for_each_definition() {
        let (definitions, server) = (Definitions::default(), "notes".parse().unwrap());
        let told = |text: &str| definitions.is_untold(&server, "a", DefinitionHash::of(text));
        assert_eq!(
            [told("1"), told("1"), told("2"), told("1")],
            [true, false, true, false]
        );
    }
}
