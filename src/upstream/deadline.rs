//! How long a call may take: its own time, which stands still while the agent is being asked something.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::asking::Questions;
use super::limits;

/// What is left of a call's time.
#[derive(Debug)]
pub(super) struct Deadline {
    left: Duration,
    /// How long the agent may still take to answer, all questions of the call together.
    patience: Duration,
    open: Option<watch::Receiver<usize>>,
}

impl Deadline {
    /// A deadline that nothing holds up.
    pub(super) fn after(left: Duration) -> Self {
        Self {
            left,
            patience: Duration::ZERO,
            open: None,
        }
    }

    /// The deadline of a call, which its questions hold up: people answer them.
    pub(super) fn of(questions: Option<&Questions>, left: Duration) -> Self {
        match questions {
            Some(questions) => Self::suspended_by(questions.open(), left),
            None => Self::after(left),
        }
    }

    fn suspended_by(open: watch::Receiver<usize>, left: Duration) -> Self {
        Self {
            left,
            patience: limits::ASK,
            open: Some(open),
        }
    }

    /// Runs a piece of the call; `None` when its time was up first.
    pub(super) async fn bound<F: Future>(&mut self, piece: F) -> Option<F::Output> {
        tokio::pin!(piece);
        loop {
            let is_asked = self
                .open
                .as_mut()
                .is_some_and(|open| *open.borrow_and_update() > 0);
            let is_held_up = is_asked && !self.patience.is_zero();
            let span = if is_held_up { self.patience } else { self.left };
            let started = Instant::now();
            let is_up = tokio::select! {
                biased;
                output = &mut piece => {
                    self.spend(is_held_up, started.elapsed());
                    return Some(output);
                }
                () = changed(&mut self.open) => false,
                () = sleep(span) => true,
            };
            self.spend(is_held_up, if is_up { span } else { started.elapsed() });
            if is_up && !is_held_up {
                return None;
            }
        }
    }

    fn spend(&mut self, is_held_up: bool, spent: Duration) {
        let span = if is_held_up {
            &mut self.patience
        } else {
            &mut self.left
        };
        *span = span.saturating_sub(spent);
    }
}

/// Waits until questions open or close, which may be never.
async fn changed(open: &mut Option<watch::Receiver<usize>>) {
    if let Some(open) = open
        && open.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn end_of(deadline: &mut Deadline) -> Duration {
        let started = Instant::now();
        assert!(deadline.bound(std::future::pending::<()>()).await.is_none());
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn pieces_of_a_call_share_its_time() {
        let mut deadline = Deadline::after(SECOND * 10);
        assert!(deadline.bound(sleep(SECOND * 4)).await.is_some());
        assert_eq!(end_of(&mut deadline).await, SECOND * 6);
    }

    #[tokio::test(start_paused = true)]
    async fn time_stands_still_while_a_question_is_open() {
        let open = watch::Sender::new(0);
        let mut deadline = Deadline::suspended_by(open.subscribe(), SECOND * 10);
        let answering = async {
            sleep(SECOND * 4).await;
            open.send_replace(1);
            sleep(SECOND * 300).await;
            open.send_replace(2);
            sleep(SECOND * 100).await;
            open.send_replace(0);
            sleep(SECOND * 5).await;
        };
        assert!(deadline.bound(answering).await.is_some());
        assert_eq!(end_of(&mut deadline).await, SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_waited_for_longer_than_the_limit() {
        let open = watch::Sender::new(1);
        let mut deadline = Deadline::suspended_by(open.subscribe(), SECOND * 10);
        assert_eq!(end_of(&mut deadline).await, limits::ASK + SECOND * 10);
    }
}
