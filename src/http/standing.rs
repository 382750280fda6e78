//! The standing stream of a session, on which servers' news and questions outside of any request come (MCP
//! 2025-11-25, transports, listening for messages).

use std::convert::Infallible;
use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use tokio::time::timeout;

use crate::gateway::{Door, NewsStream};
use crate::protocol::{Version, write_event};

use super::delivery::{KEEP_ALIVE, stream_of, takes_stream};
use super::mcp::{Visit, hints};
use super::{Front, refuse};

/// What a stream says when there is nothing to say.
pub(super) const STILL_HERE: &str = ": keep-alive\n\n";

impl Front {
    /// Opens the stream of a session. One that was open before ends: its client lost it, or it would not ask again.
    pub(super) async fn stand(&self, mut visit: Visit) -> Result<Response, Response> {
        let session = match hints(&visit.headers) {
            Ok(hints) if !hints.version.is_some_and(is_modern) => hints.session.map(String::from),
            Ok(_) | Err(_) => None,
        };
        let Some(session) = session else {
            return Err(refuse(&Door::MethodNotAllowed("POST, DELETE")));
        };
        if !takes_stream(&visit.headers) {
            return Err(refuse(&Door::NeedsStream));
        }
        if let Err(door) = self.resume(&mut visit, &session) {
            return Err(self.turn_away(&visit.caller, door).await);
        }
        match self.open_standing(visit) {
            Some(standing) => Ok(stream_of(stream::unfold((true, standing), next_event))),
            None => Err(refuse(&Door::UnknownSession)),
        }
    }

    /// The stream of a session that has none in another transport.
    fn open_standing(&self, visit: Visit) -> Option<Standing> {
        let session = self.session(&visit)?;
        if session.stream.is_some() {
            return None;
        }
        Some(Standing {
            front: self.clone(),
            session: visit.caller.session.clone()?,
            news: self.gateway.stand(visit.caller, &session.capabilities)?,
        })
    }
}

fn is_modern(version: &str) -> bool {
    version.parse::<Version>().is_ok_and(Version::is_modern)
}

struct Standing {
    front: Front,
    session: Arc<str>,
    news: NewsStream,
}

/// A stream begins with a comment, so that its head is not held back anywhere.
async fn next_event(
    (is_first, mut standing): (bool, Standing),
) -> Option<(Result<Bytes, Infallible>, (bool, Standing))> {
    let text = if is_first {
        STILL_HERE.into()
    } else {
        match timeout(KEEP_ALIVE, standing.news.next()).await {
            Ok(message) => write_event(&message?),
            Err(_) if standing.front.sessions.touch(&standing.session) => STILL_HERE.into(),
            Err(_) => return None,
        }
    };
    Some((Ok(text.into()), (false, standing)))
}
