//! What new rules mean for those who listen: streams of agents that are none any more end, ears at servers they may
//! not hear any more are closed, others are opened, and lists that look different now are told as changed.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::policy::{may_see_server, sees_alike};
use crate::types::ServerName;
use crate::upstream::List;

use super::Gateway;
use super::audience::{Audience, Identity};
use super::ears::{Change, Order};
use super::stages::Caller;

const LISTS: [List; 3] = [List::Tools, List::Prompts, List::Resources];

impl Gateway {
    /// Forgets what lists said: other rules show others, and servers that are reached in another way may have others.
    pub(super) fn forget_lists(&self) {
        self.catalog.clear();
        let servers = self.forwarder.upstreams();
        let edition = servers.edition();
        for (name, _) in servers
            .iter()
            .filter(|(_, server)| server.edition() == edition)
        {
            self.annotations.forget(name);
            self.definitions.forget(name);
        }
    }

    /// Goes through all who listen, after other rules came into force.
    pub(super) fn tell_audiences(self: &Arc<Self>) {
        for audience in self.audiences.all() {
            self.reconsider(&audience);
        }
    }

    /// Sees to it that an audience hears what the rules in force let it. Called after a swap, and by whoever begins to
    /// listen: the rules may be others since its token was recognized.
    pub(super) fn reconsider(self: &Arc<Self>, audience: &Arc<Audience>) {
        let Some(identity) = audience.identity() else {
            return;
        };
        if Arc::ptr_eq(&identity.caller.permissions, &self.permissions())
            && identity.caller.edition == self.in_force().servers
        {
            return;
        }
        match self.recognized_again(&identity.caller) {
            Some(caller) => self.retell(audience, identity, caller),
            None => audience.hush(),
        }
    }

    fn retell(self: &Arc<Self>, audience: &Arc<Audience>, identity: Identity, caller: Caller) {
        let before = identity.caller;
        let identity = Identity {
            caller: Arc::new(caller),
            capabilities: identity.capabilities,
        };
        let heard = self.heard(&before, audience);
        let audible = self.heard(&identity.caller, audience);
        audience.hear_only(&identity, &audible);
        for server in &audible {
            let (done, _) = oneshot::channel();
            let change = Change::Tune;
            // Where others wait already, it is tuned by one of them.
            drop(
                self.ear(audience, &identity, server)
                    .try_send(Order { change, done }),
            );
        }
        if heard != audible {
            for list in LISTS.into_iter().filter(|list| audience.hears_of(*list)) {
                audience.changed(list);
            }
            return;
        }
        for server in &audible {
            self.suspect_lists(audience, (&before, &identity.caller), server);
        }
    }

    /// The servers whose news an audience hears in the name of a caller.
    fn heard(&self, caller: &Caller, audience: &Audience) -> Vec<ServerName> {
        let mut servers = self.audible(caller, &audience.scope);
        let at = self.clock.now();
        servers.retain(|name| may_see_server(&caller.permissions, &caller.agent, name, at));
        servers
    }

    /// Has the lists of a server looked at that the agent got, where they may be others now: under the new rules, or
    /// because it is reached in another way.
    fn suspect_lists(
        self: &Arc<Self>,
        audience: &Arc<Audience>,
        (before, after): (&Caller, &Caller),
        server: &ServerName,
    ) {
        let upstreams = self.forwarder.upstreams();
        let upstream = upstreams.get(server);
        let is_another = upstream.is_some_and(|upstream| upstream.edition() > before.edition);
        let before = (&*before.permissions, &*before.agent);
        let after = (&*after.permissions, &*after.agent);
        if !is_another && sees_alike(before, after, server, self.clock.now()) {
            return;
        }
        for list in LISTS.into_iter().filter(|list| audience.hears_of(*list)) {
            if audience.knows(server, list) {
                self.suspect(audience, server, list);
            }
        }
    }
}
