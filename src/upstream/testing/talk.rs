//! For tests: servers that say things in the middle of a call, and the agent's end of one.

use std::sync::{Arc, Mutex};

use tokio::sync::mpsc::{self, UnboundedSender};

use crate::protocol::{Object, raw};

use super::super::codec::Outcome;
use super::super::{Ask, Interests, Listening, News, Notice, Outgoing, Reply, UpstreamError};
use super::{Act, Bench, EVENT_STREAM, Peer, Seen, lane, result, text, tool_call};

pub(in crate::upstream) const ALL: &str =
    r#"{"sampling":{},"elicitation":{},"roots":{"listChanged":true}}"#;

pub(in crate::upstream) fn call(capabilities: &str) -> Outgoing {
    Outgoing {
        capabilities: Object::parse(capabilities).unwrap(),
        ..tool_call(r#"{"progressToken":"mine"}"#)
    }
}

pub(in crate::upstream) fn question(id: &str, method: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"{method}","params":{{"of":"{id}"}}}}"#)
}

pub(in crate::upstream) fn event(message: &str) -> String {
    format!("data: {message}\n\n")
}

pub(in crate::upstream) fn progress(token: &str, progress: u32) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{progress}}}}}"#
    )
}

/// The streams a scripted server keeps open: of calls, by the id of the call, and of sessions.
#[derive(Debug, Clone, Default)]
pub(in crate::upstream) struct Streams(Arc<Mutex<Vec<Stream>>>);

pub(in crate::upstream) type Stream = (String, UnboundedSender<String>);

impl Streams {
    /// Answers with a stream that begins with these messages.
    pub(in crate::upstream) fn open(&self, name: &str, messages: &[String]) -> Act {
        let (sender, receiver) = mpsc::unbounded_channel();
        sender.send(EVENT_STREAM.into()).unwrap();
        for message in messages {
            sender.send(event(message)).unwrap();
        }
        self.0.lock().unwrap().push((name.into(), sender));
        Act::Stream(receiver)
    }

    /// Says something on a stream; `false` when there is none.
    pub(in crate::upstream) fn say(&self, name: &str, message: &str) -> bool {
        self.write(name, &event(message))
    }

    /// Writes something on a stream; `false` when there is none.
    pub(in crate::upstream) fn write(&self, name: &str, text: &str) -> bool {
        let streams = self.0.lock().unwrap();
        let stream = streams.iter().find(|(of, _)| of == name);
        stream.is_some_and(|(_, sender)| sender.send(text.into()).is_ok())
    }

    pub(in crate::upstream) fn end(&self, name: &str) {
        self.0.lock().unwrap().retain(|(of, _)| of != name);
    }

    /// Answers the only call there is.
    pub(in crate::upstream) fn finish(&self, answer: &str) {
        let mut streams = self.0.lock().unwrap();
        let at = streams.iter().position(|(of, _)| of != "GET");
        let (id, sender) = streams.remove(at.unwrap());
        sender.send(event(&result(&id, answer))).unwrap();
    }
}

/// One call in the background, and its agent's end.
pub(in crate::upstream) struct Talk {
    pub(in crate::upstream) call: tokio::task::JoinHandle<Result<Reply, UpstreamError>>,
    pub(in crate::upstream) notices: mpsc::Receiver<Notice>,
}

impl Talk {
    pub(in crate::upstream) fn start(bench: &Bench, request: Outgoing) -> Self {
        let (sender, notices) = mpsc::channel(8);
        let upstream = bench.upstream();
        let call = tokio::spawn(async move { upstream.send(&lane("a"), request, &sender).await });
        Self { call, notices }
    }

    pub(in crate::upstream) async fn asked(&mut self) -> Ask {
        match self.notices.recv().await {
            Some(Notice::Ask(ask)) => ask,
            other => panic!("a question, not {other:?}"),
        }
    }

    pub(in crate::upstream) async fn end(self) -> String {
        text(self.call.await.unwrap())
    }
}

pub(in crate::upstream) fn answered(text: &str) -> Outcome {
    Ok(raw(text.into()))
}

pub(in crate::upstream) fn posts(peer: &Peer) -> Vec<Seen> {
    let seen = peer.calls("").into_iter();
    seen.filter(|seen| seen.verb == "POST").collect()
}

/// An open ear, and what it heard.
#[derive(Debug)]
pub(in crate::upstream) struct Hark {
    pub(in crate::upstream) listening: Listening,
    pub(in crate::upstream) news: mpsc::Receiver<News>,
}

impl Hark {
    pub(in crate::upstream) async fn start(
        bench: &Bench,
        agent: &str,
        wanted: Interests,
        capabilities: &str,
    ) -> Result<Self, UpstreamError> {
        let (sender, news) = mpsc::channel(8);
        let capabilities = Object::parse(capabilities).unwrap();
        let upstream = bench.upstream();
        let lane = lane(agent);
        let opening = upstream.listen(&lane, wanted, capabilities, sender);
        let listening = opening.await?;
        Ok(Self { listening, news })
    }

    /// For an agent that cannot be asked anything, at a server that agrees to something.
    pub(in crate::upstream) async fn open(bench: &Bench, agent: &str, wanted: Interests) -> Self {
        Self::start(bench, agent, wanted, "{}").await.unwrap()
    }

    /// The next news as text; `over` when there will be none.
    pub(in crate::upstream) async fn next(&mut self) -> String {
        match self.news.recv().await {
            Some(News::Changed(list)) => format!("{list:?}"),
            Some(News::Updated(params)) => params.to_text(),
            Some(News::Ask(ask)) => ask.method,
            None => "over".into(),
        }
    }

    /// Closes the ear, and waits until nothing more can come.
    pub(in crate::upstream) async fn close(mut self) {
        drop(self.listening);
        while self.news.recv().await.is_some() {}
    }

    pub(in crate::upstream) async fn asked(&mut self) -> Ask {
        match self.news.recv().await {
            Some(News::Ask(ask)) => ask,
            other => panic!("a question, not {other:?}"),
        }
    }
}

/// All lists, and these resources.
pub(in crate::upstream) fn all_of(uris: &[&str]) -> Interests {
    Interests {
        tools: true,
        prompts: true,
        resources: true,
        uris: uris.iter().map(|uri| (*uri).to_owned()).collect(),
    }
}

pub(in crate::upstream) fn changed(list: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"notifications/{list}/list_changed"}}"#)
}

pub(in crate::upstream) fn updated(uri: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"uri":"{uri}"}}}}"#
    )
}

pub(in crate::upstream) fn gets(peer: &Peer) -> usize {
    let seen = peer.seen().into_iter();
    seen.filter(|seen| seen.verb == "GET").count()
}
