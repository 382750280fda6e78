//! Pages leave as they are compressed: all at once, in the thread that made them. A body that is compressed while it is
//! sent would be compressed where calls are answered.

use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use http_body::Body as _;

/// The body is known already, and not made while it is sent as lists and live tails are.
#[derive(Debug, Clone, Copy)]
struct Known;

/// Before it is compressed: notes whether all of it is there.
pub(super) async fn note(mut answer: Response) -> Response {
    if answer.body().size_hint().exact().is_some() {
        answer.extensions_mut().insert(Known);
    }
    answer
}

/// After that: compresses all of what was there.
pub(super) async fn compress(answer: Response) -> Response {
    if answer.extensions().get::<Known>().is_none() {
        return answer;
    }
    let (head, body) = answer.into_parts();
    // It was in memory before, and larger.
    match to_bytes(body, usize::MAX).await {
        Ok(bytes) => Response::from_parts(head, Body::from(bytes)),
        Err(error) => {
            tracing::error!(%error, "a page could not be compressed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
