//! The program: parse the arguments, start the log, do what was asked, end with its exit code.

use std::process::ExitCode;

use clap::Parser;
use hayward::{cli, telemetry};

/// Each call takes and gives back some hundred small pieces of memory, most of them in another thread. Huge pages are off:
/// they would triple what an idle gateway holds.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    let mut screen = arguments.screen();
    if let Err(error) = telemetry::start(arguments.logging()) {
        screen.error(&error.into());
        return cli::Exit::Environment.into();
    }
    cli::run(arguments.command, &mut screen).await.into()
}
