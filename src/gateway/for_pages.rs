//! What the pages ask of a running gateway: how its servers do, how far its log goes, and to write down who looks.

use tokio::sync::watch;

use crate::audit::Accessed;
use crate::types::ServerState;

use super::{Gateway, Unrecorded};

impl Gateway {
    /// How the servers of those rules do, by name, as far as calls have shown it.
    pub fn server_states(&self) -> Vec<ServerState> {
        let upstreams = self.upstreams();
        let states = upstreams.iter().map(|(_, upstream)| upstream.state());
        let without_secrets = states.map(|mut state| {
            if let Some((_, why)) = &mut state.failed {
                *why = self.redactor.text(why).into_owned();
            }
            state
        });
        without_secrets.collect()
    }

    /// The sequence of the last event that is durable, whenever there are more. Ends with the writer.
    pub fn news(&self) -> watch::Receiver<i64> {
        self.news.clone()
    }

    /// Writes down that somebody used the dashboard.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub async fn note_accessed(&self, accessed: &Accessed) -> Result<(), Unrecorded> {
        self.recorder.note(accessed.to_entry()).await
    }
}
