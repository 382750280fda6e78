//! Things that take a while to open and that everyone who asks shares, success or failure.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use super::UpstreamError;

/// Something that is being opened, or was, and that everyone who asks shares.
pub(super) type Opening<V> = Shared<BoxFuture<'static, Result<Arc<V>, UpstreamError>>>;

/// Starts opening. It goes on even when nobody waits any more, so it must be bounded in time itself.
pub(super) fn open<V, F>(opening: F) -> Opening<V>
where
    V: Send + Sync + 'static,
    F: Future<Output = Result<V, UpstreamError>> + Send + 'static,
{
    let task = tokio::spawn(opening);
    let opened = async move {
        match task.await {
            Ok(opened) => opened.map(Arc::new),
            Err(_) => Err(UpstreamError::Unreachable("opening was broken off".into())),
        }
    };
    opened.boxed().shared()
}

/// A lock whose content is whole even if a holder panicked: we never leave it half changed.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
