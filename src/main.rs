//! The program: parse the arguments, start the log, do what was asked, end with its exit code.

use std::process::ExitCode;

use clap::Parser;
use hayward::{cli, telemetry};

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
