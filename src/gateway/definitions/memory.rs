//! What is known of definitions: as they were written down last, and how an agent's last list stood to the lock. In
//! memory.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::audit::Defined;
use crate::policy::{Pinned, ToolLock};
use crate::types::{AgentName, DefinitionHash, Revision, ServerName};
use crate::upstream::Era;

use super::{Deviation, Seen, word};

/// How long a list that was compared with the lock is trusted by calls.
const TRUSTED: Duration = Duration::from_secs(60);

/// Tools of one server that are remembered; as many as are taken of one list.
const MAX_TOOLS: usize = 10_000;

/// Changes that were told in the log of the process; when there are more, all may be told again.
const MAX_TOLD: usize = 10_000;

/// What is known of definitions.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Definitions {
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
pub(super) struct News {
    pub(super) tool: String,
    pub(super) hash: DefinitionHash,
    /// What it was before; `None` for a tool that is new.
    pub(super) was: Option<DefinitionHash>,
}

impl Definitions {
    /// Goes on with what the log knows.
    pub(in crate::gateway) fn new(defined: Vec<Defined>) -> Self {
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
    pub(in crate::gateway) fn forget(&self, server: &ServerName) {
        let mut all = lock(&self.compared);
        for (_, compared) in all.iter_mut().filter(|((of, _), _)| of == server) {
            compared.lock = None;
        }
    }

    /// What of a list is not written down yet, and whether the server was never listed before; from now on it counts
    /// as written down.
    pub(super) fn take_news(
        &self,
        server: &ServerName,
        era: Era,
        seen: &[Seen],
    ) -> Option<(bool, Vec<News>)> {
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
    pub(super) fn put_back(&self, server: &ServerName, era: Era, is_first: bool, news: &[News]) {
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
    pub(super) fn compare(
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
    pub(super) fn find(
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

    pub(super) fn is_fresh(
        &self,
        pins: &ToolLock,
        whose: (&ServerName, &AgentName),
        at: Duration,
    ) -> bool {
        let all = lock(&self.compared);
        let compared = all.get(&(whose.0.clone(), whose.1.clone()));
        compared
            .is_some_and(|compared| compared.lock == Some(pins.revision()) && at < compared.until)
    }

    pub(super) fn turn(
        &self,
        server: &ServerName,
        agent: &AgentName,
    ) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = lock(&self.compared);
        let compared = all.entry((server.clone(), agent.clone())).or_default();
        Arc::clone(&compared.turn)
    }

    /// Whether this is the first time that it is told.
    pub(super) fn is_untold(&self, server: &ServerName, tool: &str, hash: DefinitionHash) -> bool {
        let mut told = lock(&self.told);
        if told.len() >= MAX_TOLD {
            told.clear();
        }
        told.insert((server.clone(), tool.to_owned(), hash))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
