//! Listens to a server of 2026-07-28: `subscriptions/listen`, a request whose answer is the end of it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::protocol::{META, Object, array_items, json_string, raw, write_array};

use super::codec::{Outcome, declare, error_code};
use super::ears::Ear;
use super::opening::locked;
use super::wire::Sent;
use super::{Interests, UpstreamError, limits};

/// The key of `_meta` that names the request a notification belongs to (MCP 2026-07-28, subscriptions).
const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

/// One request to listen, and what comes for it.
#[derive(Debug)]
pub(super) struct Subscription {
    ear: Arc<Ear>,
    /// The id of the request.
    id: OnceLock<u64>,
    /// Taken when the server acknowledged.
    acknowledged: Mutex<Option<oneshot::Sender<Interests>>>,
    has_news: AtomicBool,
    /// Whether the request left us.
    pub(super) sent: Sent,
}

impl Subscription {
    /// The request gets its id where it is sent.
    pub(super) fn name(&self, id: u64) {
        // One request is sent once.
        let _ = self.id.set(id);
    }

    /// The parameters of the request.
    pub(super) fn params(&self) -> Object {
        let mut meta = Object::default();
        declare(&mut meta, None, &self.ear.capabilities, None);
        let mut params = Object::default();
        params.set("notifications", filter(&self.ear.asked).to_json());
        params.set(META, meta.to_json());
        params
    }

    /// Hears what is tagged as its own; the acknowledgement first, and nothing before it.
    pub(super) fn hear(&self, method: &str, mut params: Object) {
        let id = subscription_id(&params);
        if id.is_none() || id != self.id.get().copied() {
            return;
        }
        let mut acknowledged = locked(&self.acknowledged);
        if acknowledged.is_none() {
            untag(&mut params);
            self.has_news.store(true, Ordering::Relaxed);
            self.ear.hear(method, &params);
        } else if method == "notifications/subscriptions/acknowledged" {
            let filter = params.get_object("notifications").unwrap_or_default();
            let granted = granted(&filter, &self.ear.asked);
            // Nobody waits for it when the ear was closed meanwhile.
            let _ = acknowledged.take().map(|waits| waits.send(granted));
        }
    }
}

/// The request that a notification belongs to, when it is one of ours.
pub(super) fn subscription_id(params: &Object) -> Option<u64> {
    let meta = params.get_object(META)?;
    meta.get(SUBSCRIPTION_ID)?.get().parse().ok()
}

/// The id of our request is nothing for the agent.
fn untag(params: &mut Object) {
    let mut meta = params.get_object(META).unwrap_or_default();
    meta.remove(SUBSCRIPTION_ID);
    if meta.is_empty() {
        params.remove(META);
    } else {
        params.set(META, meta.to_json());
    }
}

fn filter(asked: &Interests) -> Object {
    let mut filter = Object::default();
    for (key, is_wanted) in [
        ("toolsListChanged", asked.tools),
        ("promptsListChanged", asked.prompts),
        ("resourcesListChanged", asked.resources),
    ] {
        if is_wanted {
            filter.set(key, raw("true".into()));
        }
    }
    if !asked.uris.is_empty() {
        let uris: Vec<String> = asked.uris.iter().map(|uri| json_string(uri)).collect();
        let uris = write_array(uris.iter().map(String::as_str));
        filter.set("resourceSubscriptions", uris);
    }
    filter
}

/// What the server agreed to, of what was asked.
fn granted(filter: &Object, asked: &Interests) -> Interests {
    let agrees = |key| filter.get(key).is_some_and(|value| value.get() == "true");
    let uris = filter
        .get("resourceSubscriptions")
        .and_then(|uris| array_items(uris.get()))
        .unwrap_or_default();
    let uris: BTreeSet<String> = uris
        .into_iter()
        .filter_map(|uri| serde_json::from_str(uri.get()).ok())
        .collect();
    Interests {
        tools: asked.tools && agrees("toolsListChanged"),
        prompts: asked.prompts && agrees("promptsListChanged"),
        resources: asked.resources && agrees("resourcesListChanged"),
        uris: asked.uris.intersection(&uris).cloned().collect(),
    }
}

/// How a transport makes the request; it resolves when the request is over, and dropping it ends that at the server.
pub(super) type Asking = Box<
    dyn Fn(Arc<Subscription>) -> BoxFuture<'static, Result<Outcome, UpstreamError>> + Send + Sync,
>;

/// Listens for as long as the ear is open; resolves when the server agreed.
///
/// # Errors
/// When the server did not agree in time, or cannot be asked. A server that answers with an error grants nothing.
pub(super) async fn listen(ear: Arc<Ear>, asking: Asking) -> Result<Interests, UpstreamError> {
    let (stream, granted) = Stream::open(&ear, &asking).await?;
    if granted.is_empty() {
        return Ok(granted);
    }
    ear.grant(&granted);
    tokio::spawn(async move {
        tokio::select! {
            () = keep(stream, &ear, &asking) => ear.over.cancel(),
            () = ear.over.cancelled() => {}
        }
    });
    Ok(granted)
}

struct Stream {
    subscription: Arc<Subscription>,
    ending: BoxFuture<'static, Result<Outcome, UpstreamError>>,
}

impl Stream {
    async fn open(ear: &Arc<Ear>, asking: &Asking) -> Result<(Self, Interests), UpstreamError> {
        let (acknowledged, granted) = oneshot::channel();
        let subscription = Arc::new(Subscription {
            ear: ear.clone(),
            id: OnceLock::new(),
            acknowledged: Mutex::new(Some(acknowledged)),
            has_news: AtomicBool::new(false),
            sent: Sent::default(),
        });
        let mut ending = asking(subscription.clone());
        let opening = async {
            tokio::select! {
                biased;
                granted = granted => Ok(granted.unwrap_or_default()),
                ended = &mut ending => {
                    note_refusal(&ended?);
                    Ok(Interests::default())
                }
            }
        };
        let opened = timeout(limits::ACKNOWLEDGE, opening).await;
        let granted = opened.unwrap_or_else(|_| Err(subscription.sent.timed_out()))?;
        let stream = Self {
            subscription,
            ending,
        };
        Ok((stream, granted))
    }
}

fn note_refusal(outcome: &Outcome) {
    if let Err(error) = outcome {
        let code: Option<i32> = error_code(error);
        tracing::debug!(?code, "a server refuses to be listened to");
    }
}

/// Asks again, after a pause, whenever the request is over. Returns when the server grants nothing any more.
async fn keep(mut stream: Stream, ear: &Arc<Ear>, asking: &Asking) {
    let mut pause = limits::RESUME_FIRST;
    loop {
        let since = Instant::now();
        let _ = (&mut stream.ending).await;
        let was_useful = stream.subscription.has_news.load(Ordering::Relaxed);
        if was_useful || since.elapsed() >= limits::REOPEN_LAST {
            pause = limits::RESUME_FIRST;
        }
        stream = loop {
            sleep(pause).await;
            pause = limits::REOPEN_LAST.min(pause * 2);
            match Stream::open(ear, asking).await {
                Ok((_, granted)) if granted.is_empty() => return,
                Ok((stream, _)) => break stream,
                Err(error) => tracing::debug!(%error, "a server cannot be listened to again yet"),
            }
        };
        // Nobody says what happened meanwhile.
        ear.miss();
    }
}
