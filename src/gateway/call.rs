//! The line one call walks: authorize, rate, admit, forward, close. Every request for a server walks it.

use std::sync::Arc;

use crate::budget::Ending;
use crate::policy::{Denial, DenialReason, Place, UngrantedStyle};
use crate::protocol::Method;
use crate::types::CallId;

use super::Gateway;
use super::entries;
use super::failure::Failure;
use super::figures::Figures;
use super::keys;
use super::listener::Listener;
use super::refusal::{Cause, Refusal};
use super::repeats::replayed;
use super::rounds::STATE_TIME;
use super::shadow::Compared;
use super::stages::{
    Admission, Authenticated, Authorized, Caller, Forwarded, Outcome, Replied, Reserved, Settled,
    Subject, Wish,
};
use super::tasks::UNKNOWN;
use super::writer::NotAdmitted;

impl Gateway {
    /// Walks one request from its agent to its server and back.
    pub(super) async fn run(
        &self,
        caller: &Arc<Caller>,
        wish: Wish,
        agent: &Listener,
    ) -> Result<Settled, Failure> {
        // Between two requests of one answer nothing is open that had to be closed.
        if agent.has_cancelled() {
            return Err(Failure::Cancelled);
        }
        let reserved = match self.ask_admission(caller, wish).await? {
            Admission::Open(reserved) => *reserved,
            Admission::Replayed(settled) => return Ok(*settled),
        };
        let forwarded = self.forwarder.forward(reserved, agent).await;
        let mut entry = entries::closing(&forwarded);
        entry.body = self.kept_result(&forwarded);
        let entry = entries::with_replay(entry, &forwarded);
        let ending = self.settlement(&forwarded);
        let standings = forwarded.open.close(entry, ending).await;
        Ok(Settled {
            call: forwarded.request.call,
            wish: forwarded.request.wish,
            outcome: forwarded.outcome,
            figures: Figures::of(&standings, caller.permissions.zone()),
        })
    }

    /// What the end of a call means for its budgets.
    pub(super) fn settlement(&self, forwarded: &Forwarded) -> Ending {
        entries::settlement(forwarded, self.clock.now().after(STATE_TIME))
    }

    /// The first half of the line for what has no key: what comes out may be forwarded.
    pub(super) async fn reserve(
        &self,
        caller: &Arc<Caller>,
        wish: Wish,
    ) -> Result<Reserved, Failure> {
        match self.ask_admission(caller, wish).await? {
            Admission::Open(reserved) => Ok(*reserved),
            // INVARIANT: only calls of tools have keys.
            Admission::Replayed(_) => Err(Failure::Internal),
        }
    }

    /// The first half of the line: what comes out may be forwarded, or need not be.
    async fn ask_admission(&self, caller: &Arc<Caller>, wish: Wish) -> Result<Admission, Failure> {
        let _turn = self.turns.take().await.ok_or(Failure::Unrecorded)?;
        let authenticated = Authenticated {
            call: self.new_call(),
            caller: Arc::clone(caller),
            wish,
        };
        let authorized = self.authorize(authenticated).await?;
        let authorized = self.pin(authorized).await?;
        let authorized = self.smooth(authorized).await?;
        let authorized = self.find_room(authorized).await?;
        self.admit(authorized).await
    }

    async fn authorize(&self, request: Authenticated) -> Result<Authorized, Failure> {
        match request.authorize(self.clock.now()) {
            Ok(authorized) => Ok(authorized),
            Err(denied) => Err(self.deny(&denied.0, &denied.1).await),
        }
    }

    async fn deny(&self, request: &Authenticated, denial: &Denial) -> Failure {
        let agent = &request.caller.agent;
        let refusal = refusal(
            request,
            Cause::Policy {
                reason: denial.reason,
                agent: agent.name.to_string(),
                owner: agent.owner.clone(),
                detail: denial.detail.clone(),
            },
        );
        let mut entry = entries::of_request(request);
        if let Some(reason) = denial.reasons.first() {
            entry = entries::with_rule(entry, &reason.place);
        }
        let failure = Failure::Refused(Box::new(refusal));
        let entry = entries::denied(entry, failure.reason(), &failure.to_string());
        let compared = Compared::of(request, self.clock.now(), false);
        let entry = Compared::tell(compared.as_ref(), entry);
        if self.recorder.note(entry).await.is_err() {
            return Failure::Unrecorded;
        }
        if let Some(compared) = compared {
            compared.count();
        }
        hide(request, denial.reason).unwrap_or(failure)
    }

    /// Refuses a tool whose definition is another one than was reviewed.
    async fn pin(&self, authorized: Authorized) -> Result<Authorized, Failure> {
        let Some(deviation) = self.deviation(&authorized.request) else {
            return Ok(authorized);
        };
        let owner = authorized.request.caller.agent.owner.clone();
        let cause = Cause::Definition { deviation, owner };
        let rule = authorized.grant.rule();
        Err(self.turn_back(&authorized, cause, rule).await)
    }

    async fn smooth(&self, authorized: Authorized) -> Result<Authorized, Failure> {
        // To ask how a task stands is part of the call that made it, which passed here.
        if authorized.request.wish.request.method.is_about_tasks() {
            return Ok(authorized);
        }
        let Err((rule, wait)) = self.in_force().rates.take(authorized.grant.rates()) else {
            return Ok(authorized);
        };
        let cause = Cause::Rate {
            wait,
            rate: rule.rate,
            name: Arc::clone(&rule.place.path),
        };
        Err(self.turn_back(&authorized, cause, &rule.place).await)
    }

    /// Takes room among the calls in flight. What is free, and what is asked about a task, runs no tool.
    async fn find_room(&self, authorized: Authorized) -> Result<Authorized, Failure> {
        let method = authorized.request.wish.request.method;
        if is_free(method) || method.is_about_tasks() {
            return Ok(authorized);
        }
        match self.concurrency.take(authorized.grant.concurrency()) {
            Ok(permits) => Ok(Authorized {
                permits,
                ..authorized
            }),
            Err(rule) => {
                let cause = Cause::Concurrency {
                    most: rule.most,
                    name: Arc::clone(&rule.place.path),
                };
                Err(self.turn_back(&authorized, cause, &rule.place).await)
            }
        }
    }

    /// Writes down that a limit without a window had no room.
    async fn turn_back(&self, authorized: &Authorized, cause: Cause, rule: &Place) -> Failure {
        let failure = Failure::Refused(Box::new(refusal(&authorized.request, cause)));
        let entry = entries::with_rule(entries::of_request(&authorized.request), rule);
        let entry = entries::denied(entry, failure.reason(), &failure.to_string());
        match self.recorder.note(entry).await {
            Ok(()) => failure,
            Err(_) => Failure::Unrecorded,
        }
    }

    async fn admit(&self, authorized: Authorized) -> Result<Admission, Failure> {
        let request = &authorized.request;
        let mut entry = entries::with_rule(entries::of_request(request), authorized.grant.rule());
        entry.body = self.kept_arguments(request, authorized.grant.keeping());
        let keys = keys::claims(request);
        let entry = entries::with_key(entry, keys.as_ref());
        let compared = Compared::of(request, self.clock.now(), true);
        let entry = Compared::tell(compared.as_ref(), entry);
        let continues = request.wish.continues;
        let charges = if is_free(request.wish.request.method) {
            Vec::new()
        } else {
            authorized.grant.charges().to_vec()
        };
        let zone = request.caller.permissions.zone().clone();
        match self
            .recorder
            .admit(
                entry,
                request.call,
                (charges, continues),
                zone.clone(),
                keys.map(Box::new),
            )
            .await
        {
            Ok(open) => {
                if let Some(compared) = compared {
                    compared.count();
                }
                Ok(Admission::Open(Box::new(authorized.reserve(open))))
            }
            Err(NotAdmitted::Replayed(replay)) => {
                let settled = authorized.replayed(replayed(*replay));
                Ok(Admission::Replayed(Box::new(settled)))
            }
            Err(NotAdmitted::Unrecorded) => Err(Failure::Unrecorded),
            Err(NotAdmitted::Full(shortage, standings)) => {
                let cause = Cause::Budget {
                    shortage,
                    at: self.clock.now(),
                    figures: Figures::of(&standings, &zone),
                    zone,
                };
                Err(Failure::Refused(Box::new(refusal(request, cause))))
            }
            Err(NotAdmitted::Repeated(repeated)) => {
                let at = self.clock.now();
                let cause = Cause::Repeat { repeated, zone, at };
                Err(Failure::Refused(Box::new(refusal(request, cause))))
            }
        }
    }

    /// Writes down a request of a known agent that fails before it is for any server.
    pub(super) async fn turn_away(
        &self,
        caller: &Caller,
        method: &str,
        failure: Failure,
    ) -> Failure {
        let entry = entries::of_caller(caller, self.new_call(), method);
        let entry = entries::denied(entry, failure.reason(), &failure.to_string());
        match self.recorder.note(entry).await {
            Ok(()) => failure,
            Err(_) => Failure::Unrecorded,
        }
    }

    pub(super) fn new_call(&self) -> CallId {
        CallId::new(self.clock.now(), super::random())
    }
}

impl Settled {
    /// The server's answer, or why there is none.
    pub(super) fn into_reply(self) -> Result<Replied, Failure> {
        let Self {
            call,
            wish,
            outcome,
            figures,
        } = self;
        match outcome {
            Outcome::Answered(reply) => Ok(Replied {
                call,
                wish,
                reply,
                figures,
            }),
            Outcome::Unanswered(error) => Err(Failure::Upstream {
                server: wish.server,
                error,
                call,
                figures,
            }),
            Outcome::GivenUp(_) | Outcome::Withdrawn => Err(Failure::Cancelled),
        }
    }
}

/// Hearing of a change is no use of what changed.
fn is_free(method: Method) -> bool {
    matches!(
        method,
        Method::Subscribe | Method::Unsubscribe | Method::Listen
    )
}

fn refusal(request: &Authenticated, cause: Cause) -> Refusal {
    let server = &request.wish.server;
    let subject = match &request.wish.subject {
        Subject::Tool(name) | Subject::Prompt(name) => format!("{server}/{name}"),
        Subject::Resource(uri) => format!("{server} {uri}"),
        Subject::Listing => server.to_string(),
    };
    Refusal {
        call: request.call,
        subject,
        cause,
    }
}

/// For an agent that is not to learn what it was not granted: exactly what it would hear of nothing at all.
fn hide(request: &Authenticated, reason: DenialReason) -> Option<Failure> {
    let hidden = match reason {
        DenialReason::NotGranted
        | DenialReason::DeniedRule
        | DenialReason::Expired
        | DenialReason::UnknownServer => request.caller.agent.ungranted == UngrantedStyle::Hide,
        // What the agent may call is no secret to it.
        DenialReason::AgentDisabled
        | DenialReason::Address
        | DenialReason::ServerDisabled
        | DenialReason::Condition
        | DenialReason::CostInvalid => false,
    };
    let method = request.wish.request.method;
    if hidden && method.is_about_tasks() {
        return Some(Failure::InvalidParams(UNKNOWN.into()));
    }
    hidden.then(|| match &request.wish.subject {
        Subject::Tool(name) => Failure::UnknownTool(name.clone()),
        Subject::Prompt(name) => Failure::UnknownPrompt(name.clone()),
        Subject::Resource(uri) => Failure::UnknownResource(uri.clone()),
        Subject::Listing => Failure::UnknownMethod(request.wish.request.method.as_str().into()),
    })
}
