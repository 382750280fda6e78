//! The program: parse the arguments, start the log, do what was asked, end with its exit code.

use std::num::NonZero;
use std::process::ExitCode;

use clap::Parser;
use hayward::{cli, telemetry};
use tokio::runtime::Builder;

/// Each call takes and gives back some hundred small pieces of memory, most of them in another thread. Huge pages are off:
/// they would triple what an idle gateway holds.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The writer keeps a thread while it writes, and on a disk that hangs for as long as it does: others go on answering.
const LEAST_THREADS: usize = 2;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    let mut screen = arguments.screen();
    if let Err(error) = telemetry::start(arguments.logging()) {
        screen.error(&error.into());
        return cli::Exit::Environment.into();
    }
    let threads = std::thread::available_parallelism().map_or(LEAST_THREADS, NonZero::get);
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads.max(LEAST_THREADS))
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime
            .block_on(cli::run(arguments.command, &mut screen))
            .into(),
        Err(error) => {
            screen.error(&error.into());
            cli::Exit::Environment.into()
        }
    }
}
