//! Notifications of agents: what a client says that wants no answer.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::gateway::AgentEra;
use crate::protocol::{Object, RequestId};

use super::Front;
use super::classify::{Unclear, is_claimed, session_of};
use super::mcp::{Visit, hints};

impl Front {
    /// Takes a notification. What it is about may be over or never have been; its sender cannot know.
    pub(super) async fn take_notice(
        &self,
        mut visit: Visit,
        method: &str,
        params: Object,
    ) -> Result<Response, Response> {
        if is_claimed(&params) {
            visit.caller.era = AgentEra::Modern;
        }
        let session = hints(&visit.headers)
            .map_err(Unclear::Failure)
            .and_then(|hints| session_of(&params, &hints));
        match session {
            Ok(Some(session)) => {
                if let Err(door) = self.resume(&mut visit, &session) {
                    return Err(self.turn_away(&visit.caller, door).await);
                }
                self.hear_session(&visit, method, params);
            }
            Ok(None) => {}
            Err(unclear) => return Err(self.unclear(&visit, None, method, unclear).await),
        }
        Ok(StatusCode::ACCEPTED.into_response())
    }

    /// Does what a notification in a session asks for. All others are dropped, `notifications/initialized` among
    /// them: a session is open from the answer to `initialize` on.
    pub(super) fn hear_session(&self, visit: &Visit, method: &str, params: Object) {
        let Some(session) = &visit.caller.session else {
            return;
        };
        match method {
            "notifications/cancelled" => {
                if let Some(id) = params.get("requestId").and_then(RequestId::read) {
                    self.gateway.cancel(session, &id);
                }
            }
            "notifications/progress" => self.gateway.progress_of_ask(session, params),
            "notifications/roots/list_changed" => {
                self.gateway.roots_changed(&visit.caller, &visit.scope);
            }
            _ => {}
        }
    }
}
