//! One request of an agent: which method, which server, and the shape of the answer.

use std::sync::Arc;

use crate::protocol::{Json, Method, Object, RequestId, code, error_code, json_string, raw};
use crate::types::ServerName;
use crate::upstream::Outgoing;

use super::answer::{Addressee, Answer};
use super::exchange::{Exchange, Wants};
use super::failure::Failure;
use super::figures::Figures;
use super::keys::take_key;
use super::listener::{Asking, Listener};
use super::parked::Attended;
use super::rounds::purpose;
use super::stages::{Caller, Replied, Subject, Wish};
use super::tasks::{self, Dialect};
use super::{AgentEra, AgentRequest, Gateway, Scope, capability, expose, shape, visits};

/// Keys of `params` that decide what a request is about; one that differs only in case is refused.
const KNOWN_PARAMS: &[&str] = &[
    "name",
    "arguments",
    "uri",
    "ref",
    "argument",
    "cursor",
    "_meta",
    "context",
    "inputResponses",
    "requestState",
    "task",
    "taskId",
    "notifications",
];

/// The longest name of a tool or prompt, in characters. It may stand in the key of a budget, and those are kept.
const MAX_NAME: usize = 256;

/// Keys of `ref` in a completion that decide what it is about.
const REFERENCE_PARAMS: &[&str] = &["type", "name", "uri"];

impl Gateway {
    /// Answers one request.
    pub(super) async fn answer(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        request: AgentRequest,
        agent: &Listener,
    ) -> Answer {
        let method = Method::named(&request.method);
        let id = request.id.clone();
        let result = match self.checked_method(caller, &request, method) {
            Ok(method) => self.dispatch(caller, request, method, agent).await,
            Err(failure) => Err(self.turn_away(caller, &request.method, failure).await),
        };
        match result {
            Ok(Given { result, figures }) => Answer {
                rate_limit: figures.map(|figures| figures.rate_limit().clone()),
                ..Answer::result(&id, &result)
            },
            Err(failure) => failure.answer(&addressee(caller, &id, method)),
        }
    }

    fn checked_method(
        &self,
        caller: &Caller,
        request: &AgentRequest,
        method: Option<Method>,
    ) -> Result<Method, Failure> {
        let modern = caller.era.is_modern();
        let method = method.filter(|method| match method {
            Method::Initialize | Method::Ping | Method::SetLevel => !modern,
            Method::Discover | Method::Listen => modern,
            Method::Subscribe | Method::Unsubscribe => {
                matches!(caller.era, AgentEra::Session(_))
            }
            // Not offered, to nobody.
            Method::TasksGet
            | Method::TasksUpdate
            | Method::TasksCancel
            | Method::TasksResult
            | Method::TasksList => {
                let dialect = Dialect::of(caller.era);
                matches!(request.scope, Scope::One(_))
                    && dialect.is_some_and(|dialect| dialect.has(*method))
            }
            Method::ToolsList
            | Method::ToolsCall
            | Method::PromptsList
            | Method::PromptsGet
            | Method::ResourcesList
            | Method::TemplatesList
            | Method::ResourcesRead
            | Method::Complete => true,
        });
        let method = method.ok_or_else(|| Failure::UnknownMethod(request.method.clone()))?;
        refuse_look_alike(&request.params, KNOWN_PARAMS)?;
        Ok(method)
    }

    async fn dispatch(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        request: AgentRequest,
        method: Method,
        agent: &Listener,
    ) -> Result<Given, Failure> {
        let AgentRequest {
            id,
            scope,
            mut params,
            log_level,
            session_level,
            param_headers,
            capabilities,
            idempotency_key,
            ..
        } = request;
        // Asked for where none can be made, a task is a call like any other (2025-11-25, tasks).
        if Dialect::of(caller.era) != Some(Dialect::Core) || scope == Scope::All {
            params.remove("task");
        }
        let mut passed = askable(&capabilities, agent);
        if let Some(tasks) = tasks::declaration(caller.era, &scope, &capabilities) {
            passed.set("extensions", tasks);
        }
        let mut outgoing = Outgoing {
            method,
            params,
            log_level,
            session_level,
            missed: Arc::default(),
            param_headers,
            capabilities: passed,
            client_info: None,
        };
        let result = match method {
            // `initialize` and `logging/setLevel` are the front door's: they belong to a session.
            Method::Initialize | Method::Ping | Method::SetLevel => Ok(raw("{}".into())),
            Method::Discover => Ok(Box::pin(self.discover(caller, &scope)).await),
            Method::ToolsList
            | Method::PromptsList
            | Method::ResourcesList
            | Method::TemplatesList => {
                // What is no call has a place of its own, so that calls stay small.
                Box::pin(self.list(caller, &scope, outgoing, agent)).await
            }
            Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead | Method::Complete => {
                let wished = match key_of(&mut outgoing, idempotency_key.as_deref()) {
                    Ok(key) => self
                        .wish(caller, &scope, outgoing, agent)
                        .await
                        .map(|wish| Wish { key, ..wish }),
                    Err(failure) => Err(failure),
                };
                let taken_up = wished.and_then(|mut wish| {
                    let exchange = self.take_up(caller, &mut wish)?;
                    Ok((wish, exchange))
                });
                return match taken_up {
                    Ok((wish, exchange)) => self.ask(caller, &scope, wish, exchange, agent).await,
                    Err(failure) => Err(self.turn_away(caller, method.as_str(), failure).await),
                };
            }
            Method::Subscribe | Method::Unsubscribe => {
                let Outgoing {
                    params,
                    capabilities,
                    ..
                } = outgoing;
                let asking = self.subscribe(caller, &scope, method, &params, &capabilities);
                Box::pin(asking).await
            }
            Method::Listen => {
                let params = outgoing.params;
                Box::pin(self.listen(caller, &scope, &id, &params, agent)).await
            }
            Method::TasksGet
            | Method::TasksUpdate
            | Method::TasksCancel
            | Method::TasksResult
            | Method::TasksList => Box::pin(self.task(caller, &scope, outgoing, agent)).await,
        };
        result.map(Given::plain)
    }

    /// Finds out which server a request is for and puts the server's own name into it.
    async fn wish(
        &self,
        caller: &Arc<Caller>,
        scope: &Scope,
        mut request: Outgoing,
        agent: &Listener,
    ) -> Result<Wish, Failure> {
        let (server, subject) = match request.method {
            Method::ToolsCall => {
                let name = name_param(&request.params)?;
                let (server, own) = self.resolve_tool(caller, scope, &name, agent).await?;
                rename(&mut request.params, "name", &name, &own);
                self.look_up_definition(caller, &server, &own, agent)
                    .await?;
                let headers = self.param_headers(caller, &server, &own, &request, agent);
                request.param_headers = headers.await.map_err(|failure| called(failure, &name))?;
                (server, Subject::Tool(own))
            }
            Method::PromptsGet => {
                let name = name_param(&request.params)?;
                let found = self.resolve_prompt(caller, scope, &name, agent);
                let (server, own) = Box::pin(found).await?;
                rename(&mut request.params, "name", &name, &own);
                (server, Subject::Prompt(own))
            }
            Method::ResourcesRead => {
                let uri = text_param(&request.params, "uri")?;
                let found = self.locate(caller, scope, &uri, agent);
                let (server, own) = Box::pin(found).await?;
                rename(&mut request.params, "uri", &uri, &own);
                (server, Subject::Resource(own))
            }
            Method::Complete => {
                let params = &mut request.params;
                Box::pin(self.completion(caller, scope, params, agent)).await?
            }
            Method::Initialize
            | Method::Discover
            | Method::Ping
            | Method::SetLevel
            | Method::ToolsList
            | Method::PromptsList
            | Method::ResourcesList
            | Method::TemplatesList
            | Method::Subscribe
            | Method::Unsubscribe
            | Method::Listen
            | Method::TasksGet
            | Method::TasksUpdate
            | Method::TasksCancel
            | Method::TasksResult
            | Method::TasksList => {
                return Err(Failure::UnknownMethod(request.method.as_str().into()));
            }
        };
        Ok(Wish {
            purpose: purpose(&request, &subject),
            key: None,
            server,
            subject,
            request,
            continues: None,
        })
    }

    /// A completion belongs to the prompt or template it is about, since it tells what values there are.
    async fn completion(
        &self,
        caller: &Arc<Caller>,
        scope: &Scope,
        params: &mut Object,
        agent: &Listener,
    ) -> Result<(ServerName, Subject), Failure> {
        let missing = || Failure::InvalidParams("`ref` must be an object with a `type`".into());
        let mut reference = params.get_object("ref").ok_or_else(missing)?;
        refuse_look_alike(&reference, REFERENCE_PARAMS)?;
        let kind = reference.get_str("type").ok_or_else(missing)?.into_owned();
        let (key, found) = match kind.as_str() {
            "ref/prompt" => {
                let name = name_param(&reference)?;
                let (server, own) = self.resolve_prompt(caller, scope, &name, agent).await?;
                ("name", (server, Subject::Prompt(own.clone()), name, own))
            }
            "ref/resource" => {
                let uri = text_param(&reference, "uri")?;
                let (server, own) = self.locate(caller, scope, &uri, agent).await?;
                ("uri", (server, Subject::Resource(own.clone()), uri, own))
            }
            _ => return Err(missing()),
        };
        let (server, subject, asked, own) = found;
        rename(&mut reference, key, &asked, &own);
        params.set("ref", reference.to_json());
        Ok((server, subject))
    }

    /// Asks a server; `exchange` is the call that the request goes on with, when it does not begin one.
    async fn ask(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        scope: &Scope,
        wish: Wish,
        exchange: Option<Exchange>,
        agent: &Listener,
    ) -> Result<Given, Failure> {
        let wants = Wants::of(&wish.request);
        let asks_for_task = wish.request.params.get("task").is_some();
        let exchange = match exchange {
            Some(exchange) => exchange,
            None if can_be_parked(agent, &wish.request) => self.begin(caller, wish),
            None => {
                let ran = self.run_rounds(caller, wish, agent).await?;
                return self.shaped(caller, scope, asks_for_task, ran);
            }
        };
        match self.attend(caller, exchange, &wants, agent).await? {
            Attended::Done(ran) => self.shaped(caller, scope, asks_for_task, *ran),
            Attended::Asked(result) => Ok(Given::plain(result)),
        }
    }

    /// What a server answered, as its agent's revision has it.
    fn shaped(
        &self,
        caller: &Caller,
        scope: &Scope,
        asks_for_task: bool,
        replied: Replied,
    ) -> Result<Given, Failure> {
        let figures = replied.figures.clone();
        let result = self.in_shape(caller, scope, asks_for_task, replied)?;
        Ok(Given {
            result: match &figures {
                Some(figures) => figures.put_in(result),
                None => result,
            },
            figures,
        })
    }

    fn in_shape(
        &self,
        caller: &Caller,
        scope: &Scope,
        asks_for_task: bool,
        replied: Replied,
    ) -> Result<Json, Failure> {
        let Replied {
            call,
            wish,
            reply,
            figures,
        } = replied;
        let modern = caller.era.is_modern();
        let method = wish.request.method;
        self.learn_from(caller, &wish, &reply);
        let result = match reply.outcome {
            Ok(result) => result,
            Err(error) if !modern && error_code(&error) == Some(code::MISSING_CAPABILITY) => {
                let server = wish.server;
                return Err(Failure::CannotAnswer { server, call });
            }
            Err(error) => {
                if let Some(visits) = modern.then(|| visits::wanted(&error)).flatten() {
                    if !visits::are_possible(&wish.request.capabilities) {
                        return Err(Failure::MissingCapability(visits::required()));
                    }
                    let asking = shape::input_required(&visits);
                    return Ok(self.to_pages(caller, &wish, call, asking));
                }
                return Err(Failure::Relayed {
                    status: reply.status,
                    error: shape::error(method, error, reply.era, modern),
                    figures,
                });
            }
        };
        if modern && shape::needs_input(&result) {
            if let Some(missing) = capability::missing(&result, &wish.request.capabilities) {
                return Err(Failure::MissingCapability(missing));
            }
            return Ok(self.sealed(caller, &wish, call, result));
        }
        if shape::needs_input(&result) {
            return Err(Failure::NeedsInput {
                server: wish.server,
                call,
            });
        }
        let result = self.made_task(caller, &wish, asks_for_task, call, result);
        let result = shape::result(method, result, reply.era, modern);
        Ok(match scope {
            Scope::All => expose::result(method, result, &wish.server),
            Scope::One(_) => result,
        })
    }
}

/// What a request of an agent brings it.
#[derive(Debug)]
struct Given {
    result: Json,
    /// How the budgets of the call stand; `None` where none counts it.
    figures: Option<Arc<Figures>>,
}

impl Given {
    fn plain(result: Json) -> Self {
        Self {
            result,
            figures: None,
        }
    }
}

fn addressee<'a>(caller: &Caller, id: &'a RequestId, method: Option<Method>) -> Addressee<'a> {
    Addressee {
        id: Some(id),
        modern: caller.era.is_modern(),
        is_tool_call: method == Some(Method::ToolsCall),
        style: caller.agent.refusals,
    }
}

/// The key that a call of a tool came with. Nothing else costs, so nothing else has one.
fn key_of(request: &mut Outgoing, header: Option<&str>) -> Result<Option<String>, Failure> {
    if request.method == Method::ToolsCall {
        take_key(&mut request.params, header)
    } else {
        Ok(None)
    }
}

/// What an agent can be asked over this gateway, of all it declared.
fn askable(capabilities: &Object, agent: &Listener) -> Object {
    match agent.asking {
        Asking::No => Object::default(),
        Asking::Push { .. } | Asking::Retry => can_be_asked(capabilities),
    }
}

/// What somebody who declared this can be asked.
pub(super) fn can_be_asked(capabilities: &Object) -> Object {
    let mut askable = capabilities.clone();
    askable.retain(|key| ["sampling", "elicitation", "roots"].contains(&key));
    askable
}

/// Whether a request may end with questions while its call goes on. Only these may (2026-07-28, multi-round requests).
fn can_be_parked(agent: &Listener, request: &Outgoing) -> bool {
    let is_in_rounds = matches!(
        request.method,
        Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead
    );
    is_in_rounds && matches!(agent.asking, Asking::Retry) && !request.capabilities.is_empty()
}

fn refuse_look_alike(fields: &Object, known: &[&str]) -> Result<(), Failure> {
    match fields.look_alike(known) {
        Some(key) => Err(Failure::InvalidParams(format!(
            "the key {key:?} differs from a known one only in case"
        ))),
        None => Ok(()),
    }
}

fn name_param(params: &Object) -> Result<String, Failure> {
    let name = text_param(params, "name")?;
    if name.chars().nth(MAX_NAME).is_some() {
        let why = format!("`name` is longer than {MAX_NAME} characters");
        return Err(Failure::InvalidParams(why));
    }
    Ok(name)
}

pub(super) fn text_param(params: &Object, key: &str) -> Result<String, Failure> {
    let text = params.get_str(key).filter(|text| !text.is_empty());
    text.map(|text| text.into_owned())
        .ok_or_else(|| Failure::InvalidParams(format!("`{key}` must be a string")))
}

/// A failure in the words of the agent, which may call the tool by another name than its server.
fn called(failure: Failure, name: &str) -> Failure {
    if matches!(failure, Failure::UnknownTool(_)) {
        return Failure::UnknownTool(name.into());
    }
    failure
}

/// Puts another name in place; one that stays keeps the bytes it was written with.
fn rename(params: &mut Object, key: &str, asked: &str, own: &str) {
    if asked != own {
        params.set(key, raw(json_string(own)));
    }
}
