//! The ears of one server: what agents wait to hear of it outside of any call, and how it gets to a slow listener.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::protocol::{Object, json_string, raw};

use super::asking::{Declared, Question, Questions};
use super::codec::client_info;
use super::opening::locked;
use super::{Interests, Lane, List, News, Notice, UpstreamError, limits};

/// The open ears of one server. Dropping it ends them.
#[derive(Debug, Default)]
pub(super) struct Ears(Arc<Mutex<Places>>);

#[derive(Debug, Default)]
struct Places {
    taken: HashMap<u64, (Lane, CancellationToken)>,
    last: u64,
    is_closed: bool,
}

impl Ears {
    /// Opens an ear that hears nothing yet; `news` is closed when it ends.
    ///
    /// # Errors
    /// `Unreachable` when there are too many.
    pub(super) fn open(
        &self,
        lane: &Lane,
        mut asked: Interests,
        capabilities: Object,
        news: mpsc::Sender<News>,
    ) -> Result<Arc<Ear>, UpstreamError> {
        asked.uris = asked.uris.into_iter().take(limits::EAR_URIS).collect();
        let over = CancellationToken::new();
        let number = locked(&self.0).take(lane, &over)?;
        let (notices, asks) = mpsc::channel(limits::OPEN_ASKS);
        let declared = Declared::new(&capabilities, client_info());
        let ear = Arc::new(Ear {
            asked,
            granted: OnceLock::new(),
            capabilities,
            waiting: Mutex::default(),
            woken: Notify::new(),
            questions: declared.map(|declared| Questions::new(declared, &notices)),
            over,
        });
        let (places, passing) = (self.0.clone(), ear.clone().pass_on(news, asks));
        tokio::spawn(async move {
            passing.await;
            locked(&places).taken.remove(&number);
        });
        Ok(ear)
    }

    /// Ends the ears of a lane.
    pub(super) fn end(&self, lane: &Lane) {
        for (of, over) in locked(&self.0).taken.values() {
            if of == lane {
                over.cancel();
            }
        }
    }

    /// Ends all of them, and lets no more be opened.
    pub(super) fn close(&self) {
        let mut places = locked(&self.0);
        places.is_closed = true;
        places.taken.values().for_each(|(_, over)| over.cancel());
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        self.close();
    }
}

impl Places {
    fn take(&mut self, lane: &Lane, over: &CancellationToken) -> Result<u64, UpstreamError> {
        if self.is_closed {
            return Err(UpstreamError::Unreachable("the gateway is stopping".into()));
        }
        let of_lane = self.taken.values().filter(|(of, _)| of == lane).count();
        if self.taken.len() >= limits::EARS || of_lane >= limits::LANE_EARS {
            let why = "as many listen to it as may at the same time";
            return Err(UpstreamError::Unreachable(why.into()));
        }
        self.last = self.last.saturating_add(1);
        self.taken.insert(self.last, (lane.clone(), over.clone()));
        Ok(self.last)
    }
}

/// One ear.
#[derive(Debug)]
pub(super) struct Ear {
    pub(super) asked: Interests,
    granted: OnceLock<Interests>,
    /// What the agent can be asked, as it declared it.
    pub(super) capabilities: Object,
    waiting: Mutex<Waiting>,
    woken: Notify,
    questions: Option<Questions>,
    pub(super) over: CancellationToken,
}

/// What its listener did not take yet: each list once, and the last word about each resource. However much a server
/// says, it never becomes more than that, and nothing is lost.
#[derive(Debug, Default)]
struct Waiting {
    changed: BTreeSet<List>,
    updated: BTreeMap<String, Object>,
}

impl Ear {
    /// What the server agreed to; only that is heard from now on.
    pub(super) fn grant(&self, granted: &Interests) {
        // An ear is granted something once: what a server agrees to when it is asked again makes it no larger.
        let _ = self.granted.set(granted.clone());
    }

    /// Whether it still listens.
    pub(super) fn is_open(&self) -> bool {
        !self.over.is_cancelled()
    }

    fn interests(&self) -> &Interests {
        self.granted.get().unwrap_or(&self.asked)
    }

    /// Hears a notification, if it is one it listens for. Never waits.
    pub(super) fn hear(&self, method: &str, params: &Object) {
        match method {
            "notifications/tools/list_changed" => self.hear_changed(List::Tools),
            "notifications/prompts/list_changed" => self.hear_changed(List::Prompts),
            "notifications/resources/list_changed" => self.hear_changed(List::Resources),
            "notifications/resources/updated" => self.hear_updated(params),
            _ => {}
        }
    }

    fn hear_changed(&self, list: List) {
        if self.interests().wants(list) {
            locked(&self.waiting).changed.insert(list);
            self.woken.notify_one();
        }
    }

    fn hear_updated(&self, params: &Object) {
        let uri = params.get_str("uri").unwrap_or_default();
        if let Some(wanted) = covering(&self.interests().uris, &uri) {
            locked(&self.waiting).update(wanted, &uri, params);
            self.woken.notify_one();
        }
    }

    /// What it listens for may have happened while it could not be heard.
    pub(super) fn miss(&self) {
        let interests = self.interests();
        {
            let mut waiting = locked(&self.waiting);
            waiting.changed.extend(interests.lists());
            for uri in &interests.uris {
                let known = waiting.updated.entry(uri.clone());
                known.or_insert_with(|| only(uri));
            }
        }
        self.woken.notify_one();
    }

    /// Passes a question up; `None` when this agent is not to be asked that.
    pub(super) fn ask(&self, method: &str, params: &Object) -> Option<Question> {
        let asker = self.questions.as_ref()?.asker();
        let question = asker.ask(method, params.clone())?;
        Some(question.within(limits::ASK))
    }

    /// Passes on what is heard until the ear is closed or nobody listens any more.
    async fn pass_on(self: Arc<Self>, news: mpsc::Sender<News>, mut asks: mpsc::Receiver<Notice>) {
        let passing = async {
            loop {
                let next = tokio::select! {
                    next = self.next() => next,
                    Some(Notice::Ask(ask)) = asks.recv() => News::Ask(ask),
                };
                if news.send(next).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = passing => {}
            () = news.closed() => {}
            () = self.over.cancelled() => {}
        }
        self.over.cancel();
    }

    async fn next(&self) -> News {
        loop {
            if let Some(next) = locked(&self.waiting).take() {
                return next;
            }
            self.woken.notified().await;
        }
    }
}

impl Waiting {
    /// Keeps the last word about a resource; of one inside of what is `wanted`, only while there is room.
    fn update(&mut self, wanted: &str, uri: &str, params: &Object) {
        let is_known = self.updated.contains_key(uri) || wanted == uri;
        let has_room = is_known || self.updated.len() < limits::EAR_URIS;
        if has_room && params.to_text().len() <= limits::NEWS {
            self.updated.insert(uri.into(), params.clone());
        } else {
            self.updated.insert(wanted.into(), only(wanted));
        }
    }

    fn take(&mut self) -> Option<News> {
        if let Some(list) = self.changed.pop_first() {
            return Some(News::Changed(list));
        }
        let (_, params) = self.updated.pop_first()?;
        Some(News::Updated(params))
    }
}

/// The parameters of an update about which nothing is known but the resource.
fn only(uri: &str) -> Object {
    let mut params = Object::default();
    params.set("uri", raw(json_string(uri)));
    params
}

/// The wanted resource that this one is, or lies in (MCP 2025-11-25, `ResourceUpdatedNotification`: the URI "might be
/// a sub-resource of the one that the client actually subscribed to").
fn covering<'a>(wanted: &'a BTreeSet<String>, uri: &str) -> Option<&'a str> {
    let is_inside = |outer: &str| {
        let rest = uri.strip_prefix(outer).filter(|_| !outer.is_empty());
        rest.is_some_and(|rest| outer.ends_with('/') || rest.starts_with(['/', '?', '#']))
    };
    let exact = wanted.get(uri);
    exact
        .or_else(|| wanted.iter().find(|outer| is_inside(outer)))
        .map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{all_of, lane};
    use super::*;

    fn updated(uri: &str, more: &str) -> Object {
        Object::parse(&format!(r#"{{"uri":"{uri}","more":"{more}"}}"#)).unwrap()
    }

    #[tokio::test]
    async fn a_slow_listener_hears_of_every_change_once() {
        let ears = Ears::default();
        let (news, mut receiver) = mpsc::channel(1);
        let wanted = all_of(&["x:1", "y:/"]);
        let ear = ears
            .open(&lane("a"), wanted, Object::default(), news)
            .unwrap();
        for number in 0..limits::EAR_URIS * 2 {
            ear.hear("notifications/tools/list_changed", &Object::default());
            ear.hear("notifications/prompts/list_changed", &Object::default());
            let params = updated("x:1", &number.to_string());
            ear.hear("notifications/resources/updated", &params);
            let params = updated(&format!("y:/{number}"), "");
            ear.hear("notifications/resources/updated", &params);
        }
        // Whatever found no room is remembered by the resource it lies in.
        assert!(locked(&ear.waiting).updated.contains_key("y:/"));
        assert_eq!(locked(&ear.waiting).updated.len(), limits::EAR_URIS + 1);
        drop(ear);
        let (mut lists, mut last) = (Vec::new(), String::new());
        while let Some(news) = receiver.recv().await {
            match news {
                News::Changed(list) => lists.push(list),
                News::Updated(params) if params.get_str("uri").unwrap() == "x:1" => {
                    last = params.to_text();
                }
                News::Updated(params) if params.get_str("uri").unwrap() == "y:/99" => break,
                News::Updated(_) => {}
                News::Ask(_) => panic!("nobody asks"),
            }
        }
        assert_eq!(lists, [List::Tools, List::Prompts]);
        assert_eq!(last, updated("x:1", "511").to_text());
    }

    #[tokio::test]
    async fn of_a_large_update_the_resource_is_kept() {
        let ears = Ears::default();
        let (news, mut receiver) = mpsc::channel(1);
        let ear = ears
            .open(&lane("a"), all_of(&["x:1"]), Object::default(), news)
            .unwrap();
        let large = updated("x:1", &"m".repeat(limits::NEWS));
        ear.hear("notifications/resources/updated", &large);
        let Some(News::Updated(params)) = receiver.recv().await else {
            panic!("an update");
        };
        assert_eq!(params.to_text(), r#"{"uri":"x:1"}"#);
    }

    #[tokio::test]
    async fn an_ear_ends_with_its_listener_and_its_place_is_free_again() {
        let ears = Ears::default();
        let open = |agent: &str| {
            let (news, receiver) = mpsc::channel(1);
            let opened = ears.open(&lane(agent), all_of(&[]), Object::default(), news);
            opened.map(|ear| (ear, receiver))
        };
        let mut held: Vec<_> = std::iter::from_fn(|| open("a").ok()).collect();
        assert_eq!(held.len(), limits::LANE_EARS);
        let mut others = Vec::new();
        while let Ok(other) = open(&format!("b{}", others.len() / limits::LANE_EARS)) {
            others.push(other);
        }
        assert_eq!(held.len() + others.len(), limits::EARS);
        let (ear, receiver) = held.pop().unwrap();
        drop(receiver);
        ear.over.cancelled().await;
        while open("a").is_err() {
            tokio::task::yield_now().await;
        }
        ears.end(&lane("a"));
        assert!(held.iter().all(|(ear, _)| !ear.is_open()));
        assert!(others.iter().all(|(ear, _)| ear.is_open()));
        drop(ears);
        assert!(others.iter().all(|(ear, _)| !ear.is_open()));
    }

    #[test]
    fn what_lies_in_a_wanted_resource_is_wanted() {
        let wanted = BTreeSet::from(["x:/a".to_owned(), "y:/b/".to_owned(), String::new()]);
        for (uri, expected) in [
            ("x:/a", Some("x:/a")),
            ("x:/a/1", Some("x:/a")),
            ("x:/a#1", Some("x:/a")),
            ("x:/ab", None),
            ("y:/b/c", Some("y:/b/")),
            ("y:/b", None),
            ("z:", None),
        ] {
            assert_eq!(covering(&wanted, uri), expected, "{uri}");
        }
    }
}
