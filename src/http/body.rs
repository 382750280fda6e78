//! The body of a request, bounded in size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::gateway::Door;

/// The largest body, in bytes: what the official server SDKs accept.
pub(super) const MAX_BODY: usize = 4 * 1024 * 1024;

/// The longest a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Reads the whole body.
pub(super) async fn read(body: Body) -> Result<Bytes, Door> {
    let whole = timeout(BODY_TIME, Limited::new(body, MAX_BODY).collect()).await;
    match whole {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Door::TooLarge(MAX_BODY)),
        Ok(Err(_)) | Err(_) => Err(Door::TooSlow),
    }
}
