//! The definitions of servers' tools: written down when they are first seen and whenever they change, and compared
//! with `tools.lock` where the rules have one.
//!
//! What a tool says of itself steers the model that reads it, so a server that changes it changes what was reviewed.

mod memory;

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::audit::{Entry, Kind};
use crate::policy::{Pinned, ToolLock};
use crate::protocol::{Definition, Method, Object, json_string};
use crate::types::{CallId, DefinitionHash, DefinitionText, ServerName};
use crate::upstream::Era;

use super::listener::Listener;
use super::recheck::plain;
use super::stages::{Authenticated, Caller, Subject};
use super::{Failure, Gateway};

pub(super) use memory::Definitions;
use memory::News;

/// How long a call waits for the list that it is compared with.
const LIST_WAIT: Duration = Duration::from_secs(5);

/// Tools that one event names.
const IN_ONE_EVENT: usize = 500;

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
        self.write_down(server, (era, call), &seen, items).await?;
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
        (era, call): (Era, CallId),
        seen: &[Seen],
        items: &[Object],
    ) -> Result<(), Failure> {
        let Some((is_first, news)) = self.definitions.take_news(server, era, seen) else {
            return Ok(());
        };
        let texts = texts(&news, items);
        for one in news.iter().filter(|one| one.was.is_some()) {
            tracing::info!(%server, tool = ?one.tool, "the definition of a tool changed");
        }
        for entry in entries(server, (era, call), is_first, &news, &texts) {
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
        match Box::pin(asking).await {
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

fn seen_in(item: &Object) -> Option<Seen> {
    Some((item.get_str("name")?.into_owned(), Definition::hash(item)))
}

fn word(era: Era) -> &'static str {
    match era {
        Era::Modern => "modern",
        Era::Legacy => "legacy",
    }
}

/// What new definitions say.
fn texts(news: &[News], items: &[Object]) -> HashMap<DefinitionHash, DefinitionText> {
    let wanted: HashSet<DefinitionHash> = news.iter().map(|one| one.hash).collect();
    let texts = items
        .iter()
        .map(|item| DefinitionText::of(&Definition::canonical(item)));
    let texts = texts.filter(|text| wanted.contains(&text.hash()));
    texts.map(|text| (text.hash(), text)).collect()
}

/// The events of definitions that were not known: names and hashes; what they say is kept beside them.
fn entries(
    server: &ServerName,
    (era, call): (Era, CallId),
    is_first: bool,
    news: &[News],
    texts: &HashMap<DefinitionHash, DefinitionText>,
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
        let said = piece.iter().filter_map(|one| texts.get(&one.hash).cloned());
        entry.with_definitions(said.collect())
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
            entries(
                &server,
                (Era::Modern, call),
                true,
                &news.collect::<Vec<_>>(),
                &HashMap::new(),
            )
            .len()
        };
        assert_eq!([of(0), of(1), of(500), of(501)], [1, 1, 1, 2]);
    }
}
