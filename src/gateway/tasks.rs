//! Tasks: a call that is answered with an id, under which its result is asked for later.
//!
//! They pass on the endpoint of one server, between an agent and a server of the same era: in 2025-11-25 they are an
//! experiment of the core, in 2026-07-28 an extension. A server sees one client, us, so each id is sealed to its
//! agent, together with the tool whose call made it: as long as that is granted, so is what became of it.

use std::sync::Arc;
use std::time::Duration;

use crate::policy::{Question, Target, is_granted};
use crate::protocol::{Json, Method, Object, Version, array_items, json_string, raw, write_array};
use crate::types::{CallId, ServerName};
use crate::upstream::{Description, Era, Outgoing};

use super::listener::Listener;
use super::seal::Binding;
use super::stages::{AgentEra, Caller, Subject, Wish};
use super::task_ids::{Listed, Names, edit};
use super::{Failure, Gateway, Scope, shape};

/// How long an agent may use the id of a task. The server's own time to live is mostly shorter.
const TASK_TIME: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The name of the extension (2026-07-28, tasks).
pub(super) const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// What every id is answered with that is not one of this agent's tasks, whatever the reason.
pub(super) const UNKNOWN: &str = "`taskId` is not that of a task of yours, or is too old";

/// How tasks are spoken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// In the core of 2025-11-25: the client asks for a task, and there are lists and waiting results.
    Core,
    /// As an extension of 2026-07-28: the server decides, and the result is part of how the task stands.
    Extension,
}

impl Dialect {
    /// That of an agent, if it has one.
    pub(super) fn of(era: AgentEra) -> Option<Self> {
        match era {
            AgentEra::Modern => Some(Self::Extension),
            AgentEra::Session(Version::V2025_11_25) => Some(Self::Core),
            AgentEra::Session(_) | AgentEra::Bare => None,
        }
    }

    /// Whether a method about tasks belongs to it.
    pub(super) fn has(self, method: Method) -> bool {
        let methods: &[Method] = match self {
            Self::Core => &[
                Method::TasksGet,
                Method::TasksResult,
                Method::TasksCancel,
                Method::TasksList,
            ],
            Self::Extension => &[Method::TasksGet, Method::TasksUpdate, Method::TasksCancel],
        };
        methods.contains(&method)
    }

    /// What a server says of tasks in this dialect: the capability it stands in, and its value.
    pub(super) fn offer(self, server: &Description) -> Option<(&'static str, Json)> {
        match (self, server.era) {
            (Self::Core, Era::Legacy) => {
                let mut tasks = server.capabilities.get_object("tasks")?;
                // Of all requests only calls of tools may be tasks here.
                if let Some(mut requests) = tasks.get_object("requests") {
                    requests.retain(|key| key == "tools");
                    tasks.set("requests", requests.to_json());
                }
                tasks.retain(|key| ["list", "cancel", "requests"].contains(&key));
                Some(("tasks", tasks.to_json()))
            }
            (Self::Extension, Era::Modern) => {
                let extensions = server.capabilities.get_object("extensions")?;
                Some(("extensions", only_tasks(&extensions)?.to_json()))
            }
            (Self::Core, Era::Modern) | (Self::Extension, Era::Legacy) => None,
        }
    }

    fn purpose(self) -> &'static str {
        match self {
            Self::Core => "task 2025-11-25",
            Self::Extension => "task 2026-07-28",
        }
    }
}

/// Of what a client declared, what a server has to know to make tasks for it (2026-07-28).
pub(super) fn declaration(era: AgentEra, scope: &Scope, capabilities: &Object) -> Option<Json> {
    let is_passed = era.is_modern() && matches!(scope, Scope::One(_));
    let extensions = capabilities
        .get_object("extensions")
        .filter(|_| is_passed)?;
    Some(only_tasks(&extensions)?.to_json())
}

fn only_tasks(extensions: &Object) -> Option<Object> {
    let mut only = Object::default();
    only.set(EXTENSION, extensions.get(EXTENSION)?.to_owned());
    Some(only)
}

impl Gateway {
    /// Answers a request about tasks.
    pub(super) async fn task(
        &self,
        caller: &Arc<Caller>,
        scope: &Scope,
        request: Outgoing,
        agent: &Listener,
    ) -> Result<Json, Failure> {
        let method = request.method;
        let wish = match self.tasks_offered(caller, scope, &request).await {
            Ok((_, server)) if method == Method::TasksList => {
                return self.list_tasks(caller, server, request, agent).await;
            }
            Ok((dialect, server)) => self.task_wish(caller, dialect, server, request),
            Err(failure) => Err(failure),
        };
        let (names, wish) = match wish {
            Ok(wish) => wish,
            Err(failure) => return Err(self.turn_away(caller, method.as_str(), failure).await),
        };
        let agent = agent.about(names.clone());
        let (era, result) = self.ask_about_tasks(caller, wish, &agent).await?;
        let result = edit(result, |fields| names.expose(fields));
        Ok(shape::result(method, result, era, caller.era.is_modern()))
    }

    /// Whether agent and server speak of tasks in one dialect.
    async fn tasks_offered<'a>(
        &self,
        caller: &Caller,
        scope: &'a Scope,
        request: &Outgoing,
    ) -> Result<(Dialect, &'a ServerName), Failure> {
        let unknown = || Failure::UnknownMethod(request.method.as_str().into());
        let (Some(dialect), Scope::One(server)) = (Dialect::of(caller.era), scope) else {
            return Err(unknown());
        };
        // A server that cannot be asked now is found out about when the request is made.
        let described = self.forwarder.describe(server, &caller.lane()).await;
        if described.is_ok_and(|server| dialect.offer(&server).is_none()) {
            return Err(unknown());
        }
        match (dialect, request.capabilities.get("extensions")) {
            (Dialect::Extension, None) => {
                let required = format!("{{\"extensions\":{{\"{EXTENSION}\":{{}}}}}}");
                Err(Failure::MissingCapability(raw(required)))
            }
            (Dialect::Core, _) | (Dialect::Extension, Some(_)) => Ok((dialect, server)),
        }
    }

    fn task_wish(
        &self,
        caller: &Caller,
        dialect: Dialect,
        server: &ServerName,
        mut request: Outgoing,
    ) -> Result<(Names, Wish), Failure> {
        let unknown = || Failure::InvalidParams(UNKNOWN.into());
        let sealed = request.params.get_str("taskId").ok_or_else(unknown)?;
        let binding = binding(caller, server, dialect);
        let task = self
            .tasks
            .unseal(&binding, sealed.into_owned(), self.clock.now())
            .ok_or_else(unknown)?;
        let own = raw(json_string(&task.names.own));
        request.params.set("taskId", own);
        let wish = Wish {
            server: server.clone(),
            subject: Subject::Tool(task.tool),
            request,
            purpose: String::new(),
            key: None,
            continues: Some(task.call),
        };
        Ok((task.names, wish))
    }

    async fn ask_about_tasks(
        &self,
        caller: &Arc<Caller>,
        wish: Wish,
        agent: &Listener,
    ) -> Result<(Era, Json), Failure> {
        let method = wish.request.method;
        let reply = self.run(caller, wish, agent).await?.into_reply()?.reply;
        match reply.outcome {
            Ok(result) => Ok((reply.era, result)),
            Err(error) => Err(Failure::Relayed {
                status: reply.status,
                error: shape::error(method, error, reply.era, caller.era.is_modern()),
                figures: None,
            }),
        }
    }

    /// The tasks of this session, of all that the server has for us.
    async fn list_tasks(
        &self,
        caller: &Arc<Caller>,
        server: &ServerName,
        request: Outgoing,
        agent: &Listener,
    ) -> Result<Json, Failure> {
        let wish = Wish {
            server: server.clone(),
            subject: Subject::Listing,
            request,
            purpose: String::new(),
            key: None,
            continues: None,
        };
        let (_, result) = self.ask_about_tasks(caller, wish, agent).await?;
        let mut fields = Object::parse(result.get()).unwrap_or_default();
        let tasks = fields
            .get("tasks")
            .and_then(|tasks| array_items(tasks.get()))
            .unwrap_or_default();
        let tasks: Vec<String> = tasks
            .iter()
            .filter_map(|task| self.own_task(caller, server, Object::parse(task.get()).ok()?))
            .collect();
        // What cannot be read cannot be filtered, so none of it is shown.
        fields.set("tasks", write_array(tasks.iter().map(String::as_str)));
        Ok(fields.to_json())
    }

    fn own_task(&self, caller: &Caller, server: &ServerName, mut task: Object) -> Option<String> {
        let id = task.get_str("taskId")?.into_owned();
        let session = caller.session.as_deref()?;
        let listed = self.tasks.listed();
        let own = listed.iter().find(|own| {
            own.names.own == id
                && *own.session == *session
                && own.server == *server
                && own.agent == caller.agent.name
        })?;
        let question = Question {
            agent: &caller.agent,
            server,
            target: Target::Tool(&own.tool),
            arguments: None,
            at: self.clock.now(),
            peer: caller.peer,
        };
        if !is_granted(&caller.permissions, &question) {
            return None;
        }
        own.names.expose(&mut task);
        Some(task.to_text())
    }

    /// Seals the id of a task that a call was answered with. `asked` says whether a task of 2025-11-25 was asked for.
    pub(super) fn made_task(
        &self,
        caller: &Caller,
        wish: &Wish,
        asked: bool,
        call: CallId,
        result: Json,
    ) -> Json {
        let is_declared = wish.request.capabilities.get("extensions").is_some();
        let dialect = Dialect::of(caller.era).filter(|dialect| match dialect {
            Dialect::Core => asked,
            Dialect::Extension => is_declared,
        });
        let (Some(dialect), Subject::Tool(tool)) = (dialect, &wish.subject) else {
            return result;
        };
        edit(result, |fields| match dialect {
            Dialect::Core => {
                let Some(mut task) = fields.get_object("task") else {
                    return false;
                };
                let is_named = self.name_task(caller, wish, tool, call, (dialect, &mut task));
                fields.set("task", task.to_json());
                is_named
            }
            Dialect::Extension => {
                fields.get_str("resultType").as_deref() == Some("task")
                    && self.name_task(caller, wish, tool, call, (dialect, fields))
            }
        })
    }

    fn name_task(
        &self,
        caller: &Caller,
        wish: &Wish,
        tool: &str,
        call: CallId,
        (dialect, task): (Dialect, &mut Object),
    ) -> bool {
        let Some(own) = task.get_str("taskId").map(|id| id.into_owned()) else {
            return false;
        };
        let binding = binding(caller, &wish.server, dialect);
        let expires = self.clock.now().after(TASK_TIME);
        let sealed = self.tasks.seal(&binding, call, expires, tool, &own);
        task.set("taskId", raw(json_string(&sealed)));
        if let (Dialect::Core, Some(session)) = (dialect, &caller.session) {
            self.tasks.list(Listed {
                agent: caller.agent.name.clone(),
                session: Arc::clone(session),
                server: wish.server.clone(),
                tool: tool.to_owned(),
                names: Names { own, sealed },
            });
        }
        true
    }
}

fn binding<'a>(caller: &'a Caller, server: &'a ServerName, dialect: Dialect) -> Binding<'a> {
    Binding {
        agent: caller.agent.name.as_str(),
        server: server.as_str(),
        purpose: dialect.purpose(),
    }
}
