//! Calls in whose middle a server asks an agent that is only heard again with its next request (2026-07-28): the
//! agent's request ends with the questions, the call goes on, and the request that brings the answers takes it over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::protocol::{Json, json_string, raw};
use crate::types::{AgentName, CallId};
use crate::upstream::Outgoing;

use super::exchange::{Exchange, Heard, Wants};
use super::listener::{Asking, Ear, Listener};
use super::rounds::{ANSWERS, STATE, State, binding};
use super::shape::input_required;
use super::stages::{Caller, Replied, Settled, Why, Wish};
use super::{Failure, Gateway};

/// How long an agent may take to come back with answers; then its call is given up.
const ANSWER_TIME: Duration = Duration::from_secs(10 * 60);

/// How often an agent is asked in the middle of one call; then its server hears that nobody can be asked.
const MAX_ROUNDS: usize = 10;

/// Calls of one agent that wait for answers. For one more the oldest is given up: whoever was asked there has most
/// likely gone.
const MAX_PARKED_OF_AGENT: usize = 32;

/// Calls of all agents that wait for answers; a server that asks in one more hears that nobody can be asked.
const MAX_PARKED: usize = 1_000;

/// The calls that wait for answers of their agents.
#[derive(Debug, Default)]
pub(super) struct Parked(Mutex<Lot>);

#[derive(Debug, Default)]
struct Lot {
    /// By the id of the round; each round has one of its own, so that its state is good once.
    waiting: HashMap<CallId, Waiting>,
    is_closed: bool,
}

#[derive(Debug)]
struct Waiting {
    agent: AgentName,
    exchange: Exchange,
    /// Since when, in running time.
    since: Duration,
}

/// What one request of an agent comes to.
#[derive(Debug)]
pub(super) enum Attended {
    /// What the server answered in the end.
    Done(Box<Replied>),
    /// The result that asks the agent.
    Asked(Json),
}

impl Parked {
    /// Keeps a call until its agent comes back, as one of so many at its server; gives it back when it may not be
    /// kept.
    fn park(&self, round: CallId, waiting: Waiting, at_server: usize) -> Result<(), Box<Exchange>> {
        self.end_expired(waiting.since);
        let mut lot = self.lot();
        if lot.is_closed || waiting.exchange.rounds() >= MAX_ROUNDS {
            return Err(Box::new(waiting.exchange));
        }
        let server = waiting.exchange.server.clone();
        let is_there = |other: &Waiting| other.exchange.server == server;
        lot.displace(&waiting.agent, at_server, is_there);
        lot.displace(&waiting.agent, MAX_PARKED_OF_AGENT, |_| true);
        if lot.waiting.len() >= MAX_PARKED {
            return Err(Box::new(waiting.exchange));
        }
        waiting.exchange.note_asked();
        lot.waiting.insert(round, waiting);
        Ok(())
    }

    /// The call that was kept in this round, once.
    fn take(&self, round: CallId, agent: &AgentName, now: Duration) -> Option<Exchange> {
        self.end_expired(now);
        let mut lot = self.lot();
        lot.waiting
            .get(&round)
            .filter(|waiting| waiting.agent == *agent)?;
        let Waiting {
            exchange, since, ..
        } = lot.waiting.remove(&round)?;
        exchange.note_back(now.saturating_sub(since));
        Some(exchange)
    }

    /// Gives up the calls whose agents did not come back in time.
    pub(super) fn end_expired(&self, now: Duration) {
        let is_late = |waiting: &Waiting| now.saturating_sub(waiting.since) >= ANSWER_TIME;
        let late = self
            .lot()
            .waiting
            .extract_if(|_, waiting| is_late(waiting))
            .collect::<Vec<_>>();
        for (_, waiting) in late {
            waiting.exchange.give_up(Why::Expired);
        }
    }

    /// Ends all calls that wait, and keeps none any more: the gateway stops.
    pub(super) fn close(&self) {
        let mut lot = self.lot();
        lot.is_closed = true;
        for (_, waiting) in lot.waiting.drain() {
            waiting.exchange.give_up(Why::Stopped);
        }
    }

    fn lot(&self) -> MutexGuard<'_, Lot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lot {
    /// Gives up the oldest calls of an agent, of these, so that one more makes no more than so many.
    fn displace(&mut self, agent: &AgentName, most: usize, of_these: impl Fn(&Waiting) -> bool) {
        let of_agent = |waiting: &Waiting| waiting.agent == *agent && of_these(waiting);
        while self.waiting.values().filter(|it| of_agent(it)).count() >= most.max(1) {
            let those = self.waiting.iter().filter(|(_, it)| of_agent(it));
            // Ids of one instant are in no order; any of them is the oldest then.
            let oldest = those.min_by_key(|(round, it)| (it.since, **round));
            let Some(oldest) = oldest.map(|(round, _)| *round) else {
                return;
            };
            if let Some(waiting) = self.waiting.remove(&oldest) {
                waiting.exchange.give_up(Why::Displaced);
            }
        }
    }
}

impl Gateway {
    /// Begins a call in whose middle its agent can be asked.
    pub(super) fn begin(self: &Arc<Self>, caller: &Arc<Caller>, wish: Wish) -> Exchange {
        let (exchange, line, ended) = Exchange::new(&wish);
        let listener = Listener {
            ear: Ear::Exchange(line),
            hangup_cancels: true,
            cancelled: CancellationToken::new(),
            asking: Asking::Retry,
            task: None,
            until: None,
            asks: Arc::clone(&self.asks),
            places: None,
        };
        let (gateway, caller) = (Arc::clone(self), Arc::clone(caller));
        self.calls.spawn(async move {
            let running = Box::pin(async {
                let ran = gateway.run(&caller, wish, &listener).await;
                // The agent may have gone; the call is closed and written down either way.
                drop(ended.send(ran.and_then(Settled::into_reply)));
            });
            gateway.cut.run_until_cancelled(running).await;
        });
        exchange
    }

    /// Goes on with a call until its server answers, or asks what only the agent's next request can answer.
    pub(super) async fn attend(
        &self,
        caller: &Caller,
        mut exchange: Exchange,
        wants: &Wants,
        agent: &Listener,
    ) -> Result<Attended, Failure> {
        loop {
            match exchange.follow(agent, wants).await {
                Heard::Done(ran) => return Ok(Attended::Done(Box::new((*ran)?))),
                Heard::Gone => return Err(Failure::Cancelled),
                Heard::Asked => {}
            }
            let round = self.new_call();
            let asking = self.asking(caller, round, &exchange);
            // One lease stays free, so that no number of questions keeps other calls of the agent waiting.
            let at_server = self.forwarder.leases(&exchange.server).saturating_sub(1);
            let waiting = Waiting {
                agent: caller.agent.name.clone(),
                since: self.clock.monotonic(),
                exchange,
            };
            match self.parked.park(round, waiting, at_server) {
                Ok(()) => return Ok(Attended::Asked(asking)),
                Err(kept) => exchange = *kept,
            }
            exchange.refuse();
        }
    }

    /// The result that ends a request with what its server wants to know.
    fn asking(&self, caller: &Caller, round: CallId, exchange: &Exchange) -> Json {
        let state = self.rounds.seal(
            &binding(caller, &exchange.server, &exchange.purpose),
            round,
            self.clock.now().after(ANSWER_TIME),
            &State::Parked,
        );
        let mut result = input_required(&exchange.questions());
        result.set(STATE, raw(json_string(&state)));
        result.to_json()
    }

    /// The call that this request brings answers to.
    ///
    /// # Errors
    /// When nobody waits for them any more.
    pub(super) fn resume(
        &self,
        caller: &Caller,
        round: CallId,
        request: &Outgoing,
    ) -> Result<Exchange, Failure> {
        let now = self.clock.monotonic();
        let mut exchange = self
            .parked
            .take(round, &caller.agent.name, now)
            .ok_or_else(|| {
                Failure::InvalidParams(format!(
                    "the call that `{STATE}` belongs to is over, or has its answers already; make the request \
                     anew, without `{STATE}`"
                ))
            })?;
        let given = request.params.get_object(ANSWERS);
        exchange.answer(&given.unwrap_or_default());
        Ok(exchange)
    }

    /// Gives up the calls whose agents did not come back in time with answers.
    pub fn end_expired(&self) {
        self.parked.end_expired(self.clock.monotonic());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::stages::Subject;
    use crate::protocol::{Method, Object};
    use crate::types::Timestamp;

    const NOW: Duration = Duration::from_secs(1);

    /// A call of an agent at a server that waits since then.
    fn waiting(agent: usize, server: &str, since: Duration) -> Waiting {
        let wish = Wish {
            server: server.parse().unwrap(),
            subject: Subject::Tool("imagine".into()),
            request: Outgoing::own(Method::ToolsCall, Object::default()),
            purpose: String::new(),
            key: None,
            continues: None,
        };
        Waiting {
            agent: named(agent),
            exchange: Exchange::new(&wish).0,
            since,
        }
    }

    fn named(agent: usize) -> AgentName {
        format!("agent-{agent}").parse().unwrap()
    }

    fn round(number: usize) -> CallId {
        let mut random = [0; 10];
        random[..8].copy_from_slice(&number.to_be_bytes());
        CallId::new(Timestamp::from_micros(0), random)
    }

    #[test]
    fn a_call_is_taken_up_once_by_its_own_agent_and_in_time() {
        let parked = Parked::default();
        let late = NOW + ANSWER_TIME;
        let take = |number, agent, now| parked.take(round(number), &named(agent), now).is_some();
        parked.park(round(1), waiting(1, "a", NOW), 9).unwrap();
        assert!(!take(1, 2, NOW), "another agent's");
        assert!(!take(2, 1, NOW), "another round");
        assert!(take(1, 1, late.saturating_sub(Duration::from_micros(1))));
        assert!(!take(1, 1, NOW), "a second time");
        parked.park(round(3), waiting(1, "a", NOW), 9).unwrap();
        assert!(!take(3, 1, late));
    }

    #[test]
    fn an_agents_oldest_call_makes_room_for_its_newest() {
        let parked = Parked::default();
        let later = |seconds| NOW + Duration::from_secs(seconds);
        for (number, agent, server) in [(1, 1, "b"), (2, 1, "a"), (3, 2, "a"), (4, 1, "a")] {
            let call = waiting(agent, server, later(number));
            let number = usize::try_from(number).unwrap();
            parked.park(round(number), call, 2).unwrap();
        }
        parked.park(round(5), waiting(1, "a", later(5)), 2).unwrap();
        let is_there = |number| parked.lot().waiting.contains_key(&round(number));
        assert_eq!(
            [1, 2, 3, 4, 5].map(is_there),
            [true, false, true, true, true]
        );

        let parked = Parked::default();
        for number in 0..=MAX_PARKED_OF_AGENT {
            let server = format!("s{number}");
            let since = later(u64::try_from(number).unwrap());
            parked
                .park(round(number), waiting(1, &server, since), 2)
                .unwrap();
        }
        let lot = parked.lot();
        assert_eq!(lot.waiting.len(), MAX_PARKED_OF_AGENT);
        assert!(!lot.waiting.contains_key(&round(0)));
    }

    #[test]
    fn so_many_calls_wait_and_no_more_and_those_given_up_make_room() {
        let parked = Parked::default();
        let park = |number, now| parked.park(round(number), waiting(number, "a", now), 9);
        assert!((0..MAX_PARKED).all(|number| park(number, NOW).is_ok()));
        assert!(park(MAX_PARKED, NOW).is_err());
        assert!(park(MAX_PARKED, NOW + ANSWER_TIME).is_ok());
    }

    #[test]
    fn a_call_is_kept_only_so_often_and_not_by_a_gateway_that_stops() {
        let parked = Parked::default();
        let mut call = waiting(1, "a", NOW);
        for number in 0..MAX_ROUNDS {
            parked.park(round(number), call, 9).unwrap();
            let exchange = parked.take(round(number), &named(1), NOW).unwrap();
            call = Waiting {
                exchange,
                ..waiting(1, "a", NOW)
            };
        }
        assert!(parked.park(round(99), call, 9).is_err());
        parked.close();
        assert!(parked.park(round(1), waiting(1, "a", NOW), 9).is_err());
    }
}
