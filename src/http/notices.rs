//! Notifications of agents: what a client says that wants no answer.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::protocol::{Object, RequestId};

use super::Front;
use super::mcp::{Visit, hints};

impl Front {
    /// Takes a notification. What it is about may be over or never have been; its sender cannot know.
    pub(super) async fn take_notice(
        &self,
        mut visit: Visit,
        method: &str,
        params: &Object,
    ) -> Result<Response, Response> {
        let session = hints(&visit.headers)
            .ok()
            .and_then(|hints| hints.session.map(str::to_owned));
        if let Some(session) = session
            && self.resume(&mut visit, &session).is_ok()
        {
            self.hear_session(&visit, method, params);
        }
        Ok(StatusCode::ACCEPTED.into_response())
    }

    /// Does what a notification in a session asks for; what it cannot be about is dropped.
    pub(super) fn hear_session(&self, visit: &Visit, method: &str, params: &Object) {
        let Some(session) = &visit.caller.session else {
            return;
        };
        if method == "notifications/cancelled"
            && let Some(id) = params.get("requestId").and_then(RequestId::read)
        {
            self.gateway.cancel(session, &id);
        }
    }
}
