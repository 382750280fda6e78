//! The ids of tasks: sealed to their agents, and remembered for the lists of sessions.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::protocol::{Json, META, Object, json_string, raw, write_array};
use crate::types::{AgentName, CallId, ServerName, Timestamp};

use super::seal::{Binding, Sealer};

/// Tasks of one session with one server that `tasks/list` can show; older ones can still be asked for by id.
const MAX_LISTED: usize = 1_000;

/// Tasks of all sessions that `tasks/list` can show.
const MAX_LISTED_IN_ALL: usize = 20_000;

/// The longest id of a task that `tasks/list` can show, in bytes.
const MAX_ID: usize = 1_024;

/// The key of `_meta` that says which task a message is about (2025-11-25, tasks).
const RELATED: &str = "io.modelcontextprotocol/related-task";

/// Seals ids, and remembers those of sessions, whose lists are filtered by it.
#[derive(Debug)]
pub(super) struct Tasks {
    sealer: Sealer,
    /// In the order they were made.
    listed: Mutex<VecDeque<Listed>>,
}

/// A task of a session.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) agent: AgentName,
    pub(super) session: Arc<str>,
    pub(super) server: ServerName,
    pub(super) tool: String,
    pub(super) names: Names,
}

/// What an id stands for.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) call: CallId,
    pub(super) tool: String,
    pub(super) names: Names,
}

/// The two ids of one task.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// The server's.
    pub(super) own: String,
    /// The one that its agent has.
    pub(super) sealed: String,
}

impl Names {
    /// Puts the agent's id where the server's stands; says whether it stood anywhere.
    pub(super) fn expose(&self, fields: &mut Object) -> bool {
        rename(fields, &self.own, &self.sealed)
    }

    /// An answer of the agent with the server's id where the agent's stands.
    pub(super) fn concealed(&self, answer: Json) -> Json {
        edit(answer, |fields| rename(fields, &self.sealed, &self.own))
    }
}

fn rename(fields: &mut Object, from: &str, to: &str) -> bool {
    let is_meant = |object: &Object| object.get_str("taskId").as_deref() == Some(from);
    let is_named = is_meant(fields);
    if is_named {
        fields.set("taskId", raw(json_string(to)));
    }
    let Some(mut meta) = fields.get_object(META) else {
        return is_named;
    };
    let related = meta.get_object(RELATED).filter(is_meant);
    let is_related = related.is_some();
    if let Some(mut related) = related {
        related.set("taskId", raw(json_string(to)));
        meta.set(RELATED, related.to_json());
        fields.set(META, meta.to_json());
    }
    is_named || is_related
}

impl Tasks {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self {
            sealer: Sealer::new(key),
            listed: Mutex::default(),
        }
    }

    /// The id of a task as its agent gets it.
    pub(super) fn seal(
        &self,
        binding: &Binding<'_>,
        call: CallId,
        expires: Timestamp,
        tool: &str,
        id: &str,
    ) -> String {
        let value = write_array([json_string(tool).as_str(), json_string(id).as_str()]);
        self.sealer.seal(binding, call, expires, value.get())
    }

    /// What an id stands for; `None` when it is another's, changed, or too old.
    pub(super) fn unseal(
        &self,
        binding: &Binding<'_>,
        sealed: String,
        now: Timestamp,
    ) -> Option<Task> {
        let unsealed = self.sealer.unseal(binding, &sealed, now)?;
        let (tool, own) = serde_json::from_str(&unsealed.value).ok()?;
        Some(Task {
            call: unsealed.call,
            tool,
            names: Names { own, sealed },
        })
    }

    /// The tasks of all sessions.
    pub(super) fn listed(&self) -> MutexGuard<'_, VecDeque<Listed>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a task for the lists of its session, in place of the oldest one when there are too many.
    pub(super) fn list(&self, task: Listed) {
        if task.names.own.len() > MAX_ID {
            return;
        }
        let mut listed = self.listed();
        let is_beside = |other: &Listed| {
            (&other.session, &other.server) == (&task.session, &task.server)
                && other.agent == task.agent
        };
        if listed.iter().filter(|other| is_beside(other)).count() >= MAX_LISTED
            && let Some(oldest) = listed.iter().position(is_beside)
        {
            listed.remove(oldest);
        }
        if listed.len() >= MAX_LISTED_IN_ALL {
            listed.pop_front();
        }
        listed.push_back(task);
    }

    /// A session ended.
    pub(super) fn forget(&self, session: &str) {
        self.listed().retain(|task| *task.session != *session);
    }
}

/// Changes a result that speaks of a task; any other, of which `change` says so, passes byte for byte.
pub(super) fn edit(result: Json, change: impl FnOnce(&mut Object) -> bool) -> Json {
    if !result.get().contains("\"taskId\"") {
        return result;
    }
    let Ok(mut fields) = Object::parse(result.get()) else {
        return result;
    };
    match change(&mut fields) {
        true => fields.to_json(),
        false => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(own: &str) -> Names {
        Names {
            own: own.into(),
            sealed: format!("sealed-{own}"),
        }
    }

    fn task(session: &str, server: &str, own: &str) -> Listed {
        Listed {
            agent: "a".parse().unwrap(),
            session: session.into(),
            server: server.parse().unwrap(),
            tool: "imagine".into(),
            names: names(own),
        }
    }

    fn count(tasks: &Tasks, session: &str, server: &str) -> usize {
        let listed = tasks.listed();
        let own = listed
            .iter()
            .filter(|task| &*task.session == session && task.server.as_str() == server);
        own.count()
    }

    #[test]
    fn a_session_has_only_so_many_listed_and_the_newest_stay() {
        let tasks = Tasks::new([1; 32]);
        tasks.list(task("s", "other", "0"));
        for number in 0..=MAX_LISTED {
            tasks.list(task("s", "images", &number.to_string()));
        }
        assert_eq!(count(&tasks, "s", "images"), MAX_LISTED);
        assert_eq!(count(&tasks, "s", "other"), 1);
        assert_eq!(tasks.listed()[1].names.own, "1", "the oldest left");
        tasks.list(task("s", "other", &"x".repeat(MAX_ID + 1)));
        assert_eq!(
            count(&tasks, "s", "other"),
            1,
            "an id of any length is not kept"
        );
        tasks.forget("s");
        assert!(tasks.listed().is_empty());
    }

    #[test]
    fn all_sessions_together_have_only_so_many_listed() {
        let tasks = Tasks::new([1; 32]);
        let sessions = MAX_LISTED_IN_ALL / MAX_LISTED;
        for session in 0..=sessions {
            let session = session.to_string();
            // The bound of one session is looked for among all, so few are made by the way of the gateway.
            let full = (0..MAX_LISTED).map(|number| task(&session, "images", &number.to_string()));
            match session == sessions.to_string() {
                false => tasks.listed().extend(full),
                true => full.take(2).for_each(|task| tasks.list(task)),
            }
        }
        assert_eq!(tasks.listed().len(), MAX_LISTED_IN_ALL);
        assert_eq!(count(&tasks, "0", "images"), MAX_LISTED - 2);
    }

    #[test]
    fn an_id_is_renamed_where_it_names_this_task_and_nowhere_else() {
        let rename = |text: &str| {
            let json = edit(raw(text.into()), |fields| names("t").expose(fields));
            json.get().to_owned()
        };
        assert_eq!(
            rename(r#"{"taskId": "t","n":1.10}"#),
            r#"{"taskId":"sealed-t","n":1.10}"#
        );
        let related = r#"{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t"},"x":1}}"#;
        assert_eq!(rename(related), related.replace("\"t\"", "\"sealed-t\""));
        for same in [
            r#"{"taskId":"u"}"#,
            r#"{ "structuredContent": {"taskId":"t"} }"#,
            r#"{ "content" : [ ] }"#,
            r#"["taskId"]"#,
        ] {
            assert_eq!(rename(same), same);
        }
        let back = names("t").concealed(raw(r#"{"taskId":"sealed-t"}"#.into()));
        assert_eq!(back.get(), r#"{"taskId":"t"}"#);
    }
}
