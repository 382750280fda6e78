//! What the log keeps of the arguments and the result of a call, beyond that there was one.

use std::sync::Arc;

use crate::audit::{Body, BodyKind};
use crate::policy::{Capture, Keeping};

use super::Gateway;
use super::stages::{Authenticated, Forwarded, Outcome, Subject};

impl Gateway {
    /// The arguments of a call, as far as they are kept; the call is not forwarded yet.
    pub(super) fn kept_arguments(
        &self,
        request: &Authenticated,
        keeping: &Keeping,
    ) -> Option<Arc<Body>> {
        match keeping.capture {
            Capture::None | Capture::Metadata => None,
            Capture::Arguments | Capture::Full => {
                let arguments = request.wish.request.params.get("arguments")?;
                Some(self.kept(BodyKind::Arguments, arguments.get(), keeping))
            }
        }
    }

    /// What the server answered, as far as it is kept. What it offers in its lists is no result of a call.
    pub(super) fn kept_result(&self, forwarded: &Forwarded) -> Option<Arc<Body>> {
        let reply = match (&forwarded.outcome, &forwarded.request.wish.subject) {
            (Outcome::Answered(_), Subject::Listing) => return None,
            (Outcome::Answered(reply), _) => reply,
            (Outcome::Unanswered(_) | Outcome::GivenUp(_) | Outcome::Withdrawn, _) => return None,
        };
        match forwarded.keeping.capture {
            Capture::None | Capture::Metadata | Capture::Arguments => None,
            Capture::Full => {
                let result = reply.outcome.as_ref().unwrap_or_else(|error| error);
                Some(self.kept(BodyKind::Result, result.get(), &forwarded.keeping))
            }
        }
    }

    fn kept(&self, kind: BodyKind, json: &str, keeping: &Keeping) -> Arc<Body> {
        let redacted = self.redactor.body(json, &keeping.redact);
        Arc::new(Body::new(kind, redacted, super::random()))
    }
}
