//! Calls in whose middle a server asks an agent that is only heard again with its next request (2026-07-28): the
//! agent's request ends with the questions, the call goes on, and the request that brings the answers takes it over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::protocol::{Json, json_string, raw};
use crate::types::{AgentName, CallId};
use crate::upstream::{Outgoing, Reply};

use super::exchange::{Exchange, Heard, Wants};
use super::listener::{Asking, Ear, Listener};
use super::rounds::{ANSWERS, STATE, State, binding};
use super::shape::input_required;
use super::stages::{Caller, Settled, Wish};
use super::{Failure, Gateway};

/// How long an agent may take to come back with answers; then its call is given up.
const ANSWER_TIME: Duration = Duration::from_secs(10 * 60);

/// How often an agent is asked in the middle of one call; then its server hears that nobody can be asked.
const MAX_ROUNDS: usize = 10;

/// Calls of one agent that wait for answers; a server that asks in one more hears that nobody can be asked.
const MAX_PARKED_OF_AGENT: usize = 32;

/// Calls of all agents that wait for answers.
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
    Done(Box<(CallId, Wish, Reply)>),
    /// The result that asks the agent.
    Asked(Json),
}

impl Parked {
    /// Keeps a call until its agent comes back; gives it back when it may not be kept.
    fn park(
        &self,
        round: CallId,
        agent: &AgentName,
        exchange: Exchange,
        now: Duration,
    ) -> Result<(), Box<Exchange>> {
        self.end_expired(now);
        let mut lot = self.lot();
        let of_agent = lot.waiting.values().filter(|other| other.agent == *agent);
        let is_full = lot.waiting.len() >= MAX_PARKED || of_agent.count() >= MAX_PARKED_OF_AGENT;
        if is_full || lot.is_closed || exchange.rounds() >= MAX_ROUNDS {
            return Err(Box::new(exchange));
        }
        exchange.note_asked();
        let waiting = Waiting {
            agent: agent.clone(),
            exchange,
            since: now,
        };
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
            waiting.exchange.expire();
        }
    }

    /// Ends all calls that wait, and keeps none any more: the gateway stops.
    pub(super) fn close(&self) {
        let mut lot = self.lot();
        lot.is_closed = true;
        for (_, waiting) in lot.waiting.drain() {
            waiting.exchange.stop();
        }
    }

    fn lot(&self) -> MutexGuard<'_, Lot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gateway {
    /// Begins a call in whose middle its agent can be asked.
    pub(super) fn begin(self: &Arc<Self>, caller: &Arc<Caller>, wish: Wish) -> Exchange {
        let (exchange, line, ended) = Exchange::new(&wish);
        let listener = Listener {
            ear: Ear::Exchange(line),
            hangup_cancels: true,
            asking: Asking::Retry,
            asks: Arc::clone(&self.asks),
        };
        let (gateway, caller) = (Arc::clone(self), Arc::clone(caller));
        self.calls.spawn(async move {
            let running = async {
                let ran = gateway.run(&caller, wish, &listener).await;
                // The agent may have gone; the call is closed and written down either way.
                drop(ended.send(ran.and_then(Settled::into_reply)));
            };
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
            let now = self.clock.monotonic();
            match self.parked.park(round, &caller.agent.name, exchange, now) {
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

    fn exchange() -> Exchange {
        let wish = Wish {
            server: "images".parse().unwrap(),
            subject: Subject::Tool("imagine".into()),
            request: Outgoing {
                method: Method::ToolsCall,
                params: Object::default(),
                log_level: None,
                param_headers: Vec::new(),
                capabilities: Object::default(),
                client_info: None,
            },
            purpose: String::new(),
            continues: None,
        };
        Exchange::new(&wish).0
    }

    fn agent(number: usize) -> AgentName {
        format!("agent-{number}").parse().unwrap()
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
        parked.park(round(1), &agent(1), exchange(), NOW).unwrap();
        assert!(parked.take(round(1), &agent(2), NOW).is_none());
        assert!(parked.take(round(2), &agent(1), NOW).is_none());
        let just_in_time = late.saturating_sub(Duration::from_micros(1));
        assert!(parked.take(round(1), &agent(1), just_in_time).is_some());
        assert!(parked.take(round(1), &agent(1), NOW).is_none());
        parked.park(round(3), &agent(1), exchange(), NOW).unwrap();
        assert!(parked.take(round(3), &agent(1), late).is_none());
    }

    #[test]
    fn so_many_wait_and_no_more_and_those_given_up_make_room() {
        let parked = Parked::default();
        let park = |number: usize, now| {
            let agent = agent(number / MAX_PARKED_OF_AGENT);
            parked.park(round(number), &agent, exchange(), now)
        };
        let first_agent = 0..MAX_PARKED_OF_AGENT;
        assert!(first_agent.clone().all(|number| park(number, NOW).is_ok()));
        let one_more = parked.park(round(MAX_PARKED), &agent(0), exchange(), NOW);
        assert!(one_more.is_err(), "of one agent");
        let others = first_agent.end..MAX_PARKED;
        assert!(others.into_iter().all(|number| park(number, NOW).is_ok()));
        assert!(park(MAX_PARKED, NOW).is_err(), "of all agents");
        assert!(park(MAX_PARKED, NOW + ANSWER_TIME).is_ok());
    }

    #[test]
    fn a_call_is_kept_only_so_often_and_not_by_a_gateway_that_stops() {
        let parked = Parked::default();
        let mut waiting = exchange();
        for number in 0..MAX_ROUNDS {
            parked.park(round(number), &agent(1), waiting, NOW).unwrap();
            waiting = parked.take(round(number), &agent(1), NOW).unwrap();
        }
        assert!(parked.park(round(99), &agent(1), waiting, NOW).is_err());
        parked.close();
        assert!(parked.park(round(1), &agent(1), exchange(), NOW).is_err());
    }
}
