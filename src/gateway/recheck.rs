//! A list that is said to have changed is looked at with the agent's own eyes: only a change it can see is news to
//! it. Each look is a list call of that agent in the log.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::policy::may_see_server;
use crate::protocol::{Method, Object};
use crate::types::ServerName;
use crate::upstream::{List, Outgoing};

use super::Gateway;
use super::audience::{Audience, methods};
use super::known::digest_of;
use super::listener::{Asking, Ear, Listener};
use super::stages::Caller;

/// How long further changes are waited for, to be looked at together.
const GATHER: Duration = Duration::from_millis(100);

/// The pause after a look, so that a server that changes all the time costs no more than this.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest look. A list that takes longer is told as changed: the agent will see for itself.
const LOOK: Duration = Duration::from_secs(10);

/// Looks at once, for all agents together.
pub(super) const LOOKS: usize = 32;

impl Gateway {
    /// A list of a server may be another one now, as far as this audience can see it.
    pub(super) fn suspect(
        self: &Arc<Self>,
        audience: &Arc<Audience>,
        server: &ServerName,
        list: List,
    ) {
        let Some(ended) = audience.suspect(server, list) else {
            return;
        };
        let (gateway, audience) = (Arc::clone(self), Arc::clone(audience));
        self.calls.spawn(async move {
            ended
                .run_until_cancelled(gateway.look_again(&audience))
                .await;
        });
    }

    async fn look_again(&self, audience: &Audience) {
        sleep(GATHER).await;
        while let Some((caller, suspects)) = audience.take_suspects() {
            let looks = suspects.iter().map(async |(server, list)| {
                if self.is_news(&caller, audience, server, *list).await {
                    audience.changed(*list);
                }
            });
            join_all(looks).await;
            sleep(PAUSE).await;
        }
    }

    async fn is_news(
        &self,
        caller: &Arc<Caller>,
        audience: &Audience,
        server: &ServerName,
        list: List,
    ) -> bool {
        if !may_see_server(&caller.permissions, &caller.agent, server, self.clock.now()) {
            return false;
        }
        let mut is_known = false;
        let mut has_changed = false;
        for method in methods(list) {
            if audience.with_knowledge(|known| known.of(server, *method).is_some()) {
                is_known = true;
                has_changed |= self.has_changed(caller, audience, server, *method).await;
            }
        }
        // Who has no list yet that could be compared is told without asking the server.
        has_changed || !is_known
    }

    async fn has_changed(
        &self,
        caller: &Arc<Caller>,
        audience: &Audience,
        server: &ServerName,
        method: Method,
    ) -> bool {
        // It is never closed.
        let _place = self.audiences.looks().acquire().await;
        let nobody = Listener {
            ear: Ear::Request(mpsc::channel(1).0),
            hangup_cancels: false,
            cancelled: CancellationToken::new(),
            asking: Asking::No,
            asks: Arc::clone(&self.asks),
            task: None,
            until: None,
            places: None,
        };
        let look = self.list_pages(caller, server, plain(method), &nobody);
        let now = timeout(LOOK, look).await.ok().and_then(Result::ok);
        audience.with_knowledge(|known| match now {
            Some(list) => known.learn(server, method, digest_of(&list.items)),
            None => {
                known.forget(server, method);
                true
            }
        })
    }
}

/// A request with nothing but its method.
pub(super) fn plain(method: Method) -> Outgoing {
    Outgoing::own(method, Object::default())
}
