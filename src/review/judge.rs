//! Decides calls in a row as the gateway would, with books of its own and nothing written down.

use crate::budget::{Books, Ending, Hold, Shortage};
use crate::policy::{Agent, Decision, Denial, Grant, Permissions, Question, Target, decide};
use crate::types::{CallId, ServerName, Timestamp};

/// The word for a budget without room, as the log writes it.
const BUDGET: &str = "budget";

/// Rules and what is used of their budgets. Rates are not counted: they are soon forgotten, and depend on moments.
#[derive(Debug)]
pub struct Judge<'a> {
    permissions: &'a Permissions,
    books: Books,
    calls: u64,
}

/// What became of a call.
#[derive(Debug)]
pub enum Verdict {
    /// It goes on, and holds this until it is ended.
    Allowed(Box<Grant>, Hold),
    /// The rules refuse it.
    Denied(Denial),
    /// A budget has no room for it.
    Short(Box<Shortage>),
}

impl Verdict {
    /// Whether the call goes on.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(..))
    }

    /// Why it does not, in the words of the log.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Allowed(..) => None,
            Self::Denied(denial) => Some(denial.reason.as_str()),
            Self::Short(_) => Some(BUDGET),
        }
    }
}

/// A call as far as rules care.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The server.
    pub server: &'a ServerName,
    /// What is wanted there.
    pub target: Target<'a>,
    /// Its arguments, as JSON text.
    pub arguments: Option<&'a str>,
    /// When.
    pub at: Timestamp,
}

impl<'a> Judge<'a> {
    /// Nothing is used yet.
    pub fn new(permissions: &'a Permissions) -> Self {
        Self {
            permissions,
            books: Books::default(),
            calls: 0,
        }
    }

    /// Decides a call, and holds what it takes from its budgets.
    pub fn ask(&mut self, agent: &Agent, call: &Call<'_>) -> Verdict {
        let grant = match decide(self.permissions, &question(agent, call)) {
            Decision::Allowed(grant) => grant,
            Decision::Denied(denial) => return Verdict::Denied(denial),
        };
        let id = self.next_id(call.at);
        let zone = self.permissions.zone();
        match self.books.reserve(id, grant.charges(), zone, call.at) {
            Ok(hold) => Verdict::Allowed(grant, hold),
            Err(shortage) => Verdict::Short(shortage),
        }
    }

    /// Decides the next round of a call, which takes over what that one holds.
    pub fn go_on(&mut self, agent: &Agent, call: &Call<'_>, from: CallId) -> Verdict {
        match decide(self.permissions, &question(agent, call)) {
            Decision::Denied(denial) => Verdict::Denied(denial),
            Decision::Allowed(grant) => {
                let id = self.next_id(call.at);
                Verdict::Allowed(grant, self.books.take_over(from, id))
            }
        }
    }

    /// Charges what a call holds for a next round that never came.
    pub fn expire(&mut self, from: CallId, at: Timestamp) {
        let id = self.next_id(at);
        let hold = self.books.take_over(from, id);
        self.end(&hold, &Ending::Unclear);
    }

    /// Forgets windows that are over.
    pub fn forget_ended(&mut self, at: Timestamp) {
        self.books.forget_ended(at);
    }

    fn next_id(&mut self, at: Timestamp) -> CallId {
        self.calls = self.calls.saturating_add(1);
        let mut number = [0; 10];
        number[..8].copy_from_slice(&self.calls.to_be_bytes());
        CallId::new(at, number)
    }

    /// Ends a call that went on.
    pub fn end(&mut self, hold: &Hold, ending: &Ending) {
        self.books.close(hold, ending);
        // Nobody writes the books down, so what would have to be written is not kept either.
        self.books.take_changes();
    }
}

fn question<'a>(agent: &'a Agent, call: &Call<'a>) -> Question<'a> {
    Question {
        agent,
        server: call.server,
        target: call.target,
        arguments: call.arguments,
        at: call.at,
        peer: None,
    }
}
