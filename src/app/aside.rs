//! Threads of their own for pages, which give way to calls: however much people read, no agent waits for it.

use std::io;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::task::AbortOnDropHandle;

/// Threads that make pages. What reads the file for them runs in threads that these start, and so gives way, too.
const THREADS: usize = 1;

/// How far they give way (nice(2)): about a tenth of what a thread of calls gets beside it (sched(7)). With less, nobody
/// could see what a gateway does that has more than enough to do.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// The threads, for as long as this is kept.
#[derive(Debug)]
pub(super) struct Aside {
    /// There until it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Aside {
    /// Starts them.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("pages")
            .on_thread_start(give_way)
            .enable_all()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// Has something done there; no longer than somebody waits for it.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> AbortOnDropHandle<T> {
        AbortOnDropHandle::new(self.handle.spawn(work))
    }

    /// The threads, for [`answer`].
    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for its threads is not allowed where this is dropped, and nobody waits for a page any more.
            runtime.shutdown_background();
        }
    }
}

/// A layer that has all of a request answered there.
pub(super) async fn answer(
    State(threads): State<Handle>,
    request: Request,
    next: Next,
) -> Response {
    let answer = AbortOnDropHandle::new(threads.spawn(next.run(request)));
    answer.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a page was not answered");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    })
}

/// Lets other threads go first. Linux keeps this by the thread and hands it on to threads that it starts (setpriority(2),
/// "C library/kernel differences"); elsewhere it would slow down the whole program.
fn give_way() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpriority_process, setpriority_process};
        // A gateway that gives way further itself may not take that back.
        let own = getpriority_process(None);
        let given = own.and_then(|own| setpriority_process(None, own.max(NICE)));
        if let Err(error) = given {
            tracing::warn!(%error, "pages are made with the priority of calls");
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn threads_beside_give_way_and_so_do_those_that_they_start() {
        let own = || rustix::process::getpriority_process(None).unwrap();
        let before = own();
        let aside = Aside::start().unwrap();
        let of_both = aside.run(async move {
            let started = std::thread::spawn(own).join().unwrap();
            (own(), started)
        });
        let waiting = Builder::new_current_thread().build().unwrap();
        let least = before.max(NICE);
        assert_eq!(waiting.block_on(of_both).unwrap(), (least, least));
        assert_eq!(own(), before, "those of calls stay as they were");
    }
}
