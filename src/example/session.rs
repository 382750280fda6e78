//! One client on one pair of streams: which revision it speaks, and the lines it gets. Pure.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal, answer, capabilities};
use super::server::Server;
use crate::protocol::{
    CLIENT_CAPABILITIES, LATEST_LEGACY, LOG_LEVEL, LogLevel, META, Message, MessageError, Method,
    Object, PROGRESS_TOKEN, PROTOCOL_VERSION, RequestId, SERVER_INFO, Version, array_items, code,
    error_response, notification, raw, result_response, to_raw, write_array,
};

/// How many messages a batch may hold.
const MAX_BATCH: usize = 20;
/// How long a list may be kept, in milliseconds: it changes only with the program.
const TTL_MS: u32 = 3_600_000;

/// One client.
#[derive(Debug)]
pub(super) struct Session {
    server: &'static Server,
    /// The revision agreed on with `initialize`, once there was one.
    opened: Option<Version>,
    log_level: Option<LogLevel>,
}

/// Under which rules one request is answered.
#[derive(Debug, Clone, Copy)]
enum Era {
    Legacy,
    Modern { log_level: Option<LogLevel> },
}

/// The lines one message brings: first what is told on the way, then the reply.
#[derive(Debug, Default)]
struct Outgoing {
    notifications: Vec<String>,
    reply: Option<String>,
}

impl Session {
    pub(super) fn new(server: &'static Server) -> Self {
        Self {
            server,
            opened: None,
            log_level: None,
        }
    }

    /// Takes one line and returns the lines to send.
    pub(super) fn receive(&mut self, line: &[u8]) -> Vec<String> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Vec::new();
        }
        let batches = self.opened.is_some_and(Version::has_batches);
        let outgoing = if batches && line.starts_with(b"[") {
            self.batch(line)
        } else {
            self.message(line)
        };
        let mut lines = outgoing.notifications;
        lines.extend(outgoing.reply);
        lines
    }

    /// The answer to a line that was dropped for its length.
    pub(super) fn too_long(&self, limit: usize) -> String {
        let message = format!("A message is at most {limit} bytes long");
        self.unreadable(&Refusal::new(code::INVALID_REQUEST, message))
    }

    /// An error without an id. Before 2026-07-28 `null` stands in its place.
    fn unreadable(&self, refusal: &Refusal) -> String {
        error_response(None, &to_raw(&refusal.to_value()), self.opened.is_some())
    }

    fn batch(&mut self, line: &[u8]) -> Outgoing {
        let text = std::str::from_utf8(line).unwrap_or_default();
        let items = array_items(text).filter(|items| (1..=MAX_BATCH).contains(&items.len()));
        let Some(items) = items else {
            let message = format!("A batch is an array of 1 to {MAX_BATCH} messages");
            let refusal = Refusal::new(code::INVALID_REQUEST, message);
            return Outgoing {
                reply: Some(self.unreadable(&refusal)),
                ..Outgoing::default()
            };
        };
        let mut outgoing = Outgoing::default();
        let mut replies = Vec::new();
        for item in items {
            let one = self.message(item.get().as_bytes());
            outgoing.notifications.extend(one.notifications);
            replies.extend(one.reply);
        }
        if !replies.is_empty() {
            let array = write_array(replies.iter().map(String::as_str));
            outgoing.reply = Some(array.get().into());
        }
        outgoing
    }

    fn message(&mut self, body: &[u8]) -> Outgoing {
        match Message::parse(body) {
            Ok(Message::Request { id, method, params }) => self.request(&id, &method, &params),
            // Nothing a client announces changes an answer, and nothing was asked of it.
            Ok(Message::Notification { .. } | Message::Response { .. }) => Outgoing::default(),
            Err(error) => {
                let code = match error {
                    MessageError::NotJson(_) => code::PARSE_ERROR,
                    MessageError::NotAMessage(_) => code::INVALID_REQUEST,
                };
                Outgoing {
                    reply: Some(self.unreadable(&Refusal::new(code, error.to_string()))),
                    ..Outgoing::default()
                }
            }
        }
    }

    fn request(&mut self, id: &RequestId, name: &str, params: &Object) -> Outgoing {
        let answered = self.era(name, params).and_then(|era| {
            let method = Method::named(name).ok_or_else(|| Refusal::unknown_method(name))?;
            Ok((era, method, self.answer(era, method, params)?))
        });
        match answered {
            Ok((era, method, answer)) => Outgoing {
                notifications: self.tell(era, params, &answer),
                reply: Some(result_response(id, &self.finish(era, method, answer))),
            },
            Err(refusal) => Outgoing {
                notifications: Vec::new(),
                reply: Some(error_response(
                    Some(id),
                    &to_raw(&refusal.to_value()),
                    false,
                )),
            },
        }
    }

    /// Which rules hold: those the request names, else those of the session it belongs to.
    fn era(&self, method: &str, params: &Object) -> Result<Era, Refusal> {
        let meta = params.get_object(META).unwrap_or_default();
        if let Some(claim) = meta.get(PROTOCOL_VERSION) {
            return modern_era(&meta, claim);
        }
        let opening = [Method::Initialize, Method::Ping].map(Method::as_str);
        if self.opened.is_some() || opening.contains(&method) {
            return Ok(Era::Legacy);
        }
        Err(Refusal::params(format!(
            "`params._meta` must hold `{PROTOCOL_VERSION}` and `{CLIENT_CAPABILITIES}`; \
             before 2026-07-28, send `initialize` first"
        )))
    }

    fn answer(&mut self, era: Era, method: Method, params: &Object) -> Result<Answer, Refusal> {
        match (era, method) {
            (Era::Legacy, Method::Initialize) => Ok(self.initialize(params)),
            (Era::Legacy, Method::Ping) => Ok(Answer::default()),
            (Era::Legacy, Method::SetLevel) => self.set_level(params),
            (Era::Modern { .. }, Method::Discover) => Ok(self.discover()),
            (Era::Legacy, _) => answer(self.server, method, params),
            (Era::Modern { .. }, _) => answer(self.server, method, params).map_err(modern_refusal),
        }
    }

    fn initialize(&mut self, params: &Object) -> Answer {
        let asked = params
            .get_str("protocolVersion")
            .and_then(|text| text.parse().ok())
            .filter(|version: &Version| !version.is_modern());
        let version = asked.unwrap_or(LATEST_LEGACY);
        self.opened = Some(version);
        self.log_level = None;
        Answer::of(json!({
            "protocolVersion": version.as_str(),
            "capabilities": capabilities(self.server),
            "serverInfo": self.identity(),
            "instructions": self.server.instructions,
        }))
    }

    fn discover(&self) -> Answer {
        Answer::of(json!({
            "supportedVersions": [Version::V2026_07_28.as_str()],
            "capabilities": capabilities(self.server),
            "instructions": self.server.instructions,
        }))
    }

    fn set_level(&mut self, params: &Object) -> Result<Answer, Refusal> {
        let level = params.get_str("level").and_then(|text| text.parse().ok());
        let level = level.ok_or_else(|| Refusal::params("`level` must be a level of RFC 5424"))?;
        self.log_level = Some(level);
        Ok(Answer::default())
    }

    fn identity(&self) -> Value {
        let (name, title) = (self.server.name, self.server.title);
        json!({"name": name, "title": title, "version": env!("CARGO_PKG_VERSION")})
    }

    /// Progress for who gave a token, and a log line for who asked for one.
    fn tell(&self, era: Era, params: &Object, answer: &Answer) -> Vec<String> {
        let mut lines = Vec::new();
        let meta = params.get_object(META).unwrap_or_default();
        if let Some(token) = meta.get(PROGRESS_TOKEN) {
            lines.extend((1..=answer.steps).map(|step| progress(token, step, answer.steps)));
        }
        let wanted = match era {
            Era::Legacy => self.log_level,
            Era::Modern { log_level } => log_level,
        };
        if let (Some(line), Some(LogLevel::Debug | LogLevel::Info)) = (&answer.log, wanted) {
            let (level, logger) = (LogLevel::Info.as_str(), self.server.name);
            let params = json!({"level": level, "logger": logger, "data": line});
            lines.push(notify("notifications/message", &params));
        }
        lines
    }

    /// The result in the shape of its revision.
    fn finish(&self, era: Era, method: Method, answer: Answer) -> Box<RawValue> {
        let mut result = answer.result;
        if let Era::Modern { .. } = era {
            result.insert("resultType".into(), "complete".into());
            result.insert(META.into(), json!({SERVER_INFO: self.identity()}));
            let is_kept = matches!(method, Method::Discover | Method::ResourcesRead);
            if is_kept || method.list_key().is_some() {
                result.insert("ttlMs".into(), TTL_MS.into());
                result.insert("cacheScope".into(), "public".into());
            }
        }
        to_raw(&Value::Object(result))
    }
}

fn modern_era(meta: &Object, claim: &RawValue) -> Result<Era, Refusal> {
    let asked: String = serde_json::from_str(claim.get())
        .map_err(|_| Refusal::params(format!("`{PROTOCOL_VERSION}` must be a string")))?;
    if !asked.parse().is_ok_and(Version::is_modern) {
        let data = json!({"supported": [Version::V2026_07_28.as_str()], "requested": asked});
        let message = format!("Unsupported protocol version: {asked}");
        return Err(Refusal::new(code::UNSUPPORTED_VERSION, message).with_data(data));
    }
    if meta.get_object(CLIENT_CAPABILITIES).is_none() {
        let message = format!("`params._meta` must hold `{CLIENT_CAPABILITIES}`");
        return Err(Refusal::params(message));
    }
    let log_level = meta.get_str(LOG_LEVEL).and_then(|text| text.parse().ok());
    Ok(Era::Modern { log_level })
}

/// 2026-07-28 has no code of its own for a resource that is not there.
fn modern_refusal(refusal: Refusal) -> Refusal {
    match refusal.code {
        code::RESOURCE_NOT_FOUND => Refusal {
            code: code::INVALID_PARAMS,
            ..refusal
        },
        _ => refusal,
    }
}

fn progress(token: &RawValue, step: u32, steps: u32) -> String {
    let mut params = Object::default();
    params.set(PROGRESS_TOKEN, token.to_owned());
    params.set("progress", raw(step.to_string()));
    params.set("total", raw(steps.to_string()));
    notification("notifications/progress", Some(&params))
}

fn notify(method: &str, params: &Value) -> String {
    let params = Object::parse(&params.to_string()).unwrap_or_default();
    notification(method, Some(&params))
}

#[cfg(test)]
mod tests;
