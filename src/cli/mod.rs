//! The command line: what can be asked of the program, and how it answers.
//!
//! Answers go to standard output, everything else to standard error; exit codes stand in [`Exit`]. Flags
//! come before `HAYWARD_…` variables, those before defaults. The environment is read here and nowhere else.

mod archive;
mod args;
mod audit;
mod budget;
mod check;
mod demo;
mod demo_agent;
mod diff;
mod example;
mod exit;
mod explain;
mod export;
mod findings;
mod health;
mod import;
mod inspect;
mod log;
mod operate;
mod papers;
mod progress;
mod prune;
mod query;
mod redact;
mod report;
mod rows;
mod rules;
mod schema;
mod screen;
mod serve;
mod settings;
mod show;
mod simulate;
mod time;
mod token;
mod tools;

use clap::builder::BoolishValueParser;
use clap::{Parser, Subcommand};

pub use args::{LogFile, PolicyFile, TimeSpan};
pub use audit::{AuditCommand, KeyArguments, VerifyArguments};
pub use budget::{BudgetCommand, CountsArguments, RefundArguments, UnfreezeArguments};
pub use check::{CheckArguments, Level};
pub use demo::DemoArguments;
pub use diff::{DiffArguments, DiffFormat};
pub use example::Which;
pub use exit::{Exit, Failure};
pub use explain::{ExplainArguments, Kind};
pub use export::{ExportArguments, ExportForm};
pub use findings::FindingsFormat;
pub use health::HealthArguments;
pub use import::ImportArguments;
pub use inspect::InspectArguments;
pub use log::LogArguments;
pub use operate::OperateArguments;
pub use papers::{CompletionsArguments, ManArguments};
pub use prune::PruneArguments;
pub use query::QueryArguments;
pub use redact::RedactArguments;
pub use report::{ReportArguments, ReportForm};
pub use rows::Format;
pub use schema::SchemaArguments;
pub use screen::{Color, Screen, plain};
pub use serve::ServeArguments;
pub use settings::{ConfigCommand, ShowSettings};
pub use show::ShowArguments;
pub use simulate::SimulateArguments;
pub use time::{AcceptArguments, TimeCommand};
pub use token::{NewArguments, TokenCommand};
pub use tools::ToolsArguments;

use crate::telemetry::Logging;

/// A gateway between AI agents and the MCP servers they share: grants, exact budgets, and a log that can be
/// checked.
#[derive(Debug, Parser)]
#[command(name = "hayward", version, arg_required_else_help = true)]
pub struct Arguments {
    /// When to use colours; NO_COLOR and CLICOLOR_FORCE are heeded
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        env = "HAYWARD_COLOR",
        hide_env = true,
        default_value = "auto",
        help_heading = "Everywhere"
    )]
    pub color: Color,
    /// Say nothing beside the answer and errors
    #[arg(long, global = true, env = "HAYWARD_QUIET", hide_env = true, help_heading = "Everywhere", value_parser = BoolishValueParser::new())]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway
    Serve(ServeArguments),
    /// Run a gateway with example servers, agents and some traffic, to look around
    Demo(DemoArguments),
    /// Check the rules, and run the tests that stand in them
    Check(CheckArguments),
    /// Say what a change of the rules changes: who gains and loses what
    Diff(DiffArguments),
    /// Say what changed rules would have made of the calls of the last weeks
    Simulate(SimulateArguments),
    /// Say what the rules make of a call, and which lines do it
    Explain(ExplainArguments),
    /// Print the format of the rules as a JSON Schema, for editors
    Schema(SchemaArguments),
    /// Make bearer tokens, hash them, and say whose they are
    #[command(subcommand)]
    Token(TokenCommand),
    /// Check the log, and read it
    #[command(subcommand)]
    Audit(AuditCommand),
    /// See and correct what is used of budgets
    #[command(subcommand)]
    Budget(BudgetCommand),
    /// List the tools of the servers, and write or check the `tools.lock` that pins their definitions
    Tools(ToolsArguments),
    /// Turn the servers of another program's file into `servers:` of permissions.yaml
    Import(ImportArguments),
    /// What a running gateway thinks of the time
    #[command(subcommand)]
    Time(TimeCommand),
    /// The settings of `serve`
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the script with which a shell completes command lines
    Completions(CompletionsArguments),
    /// Print the manual, as pages for `man`
    Man(ManArguments),
    /// Ask a running gateway how it is
    Health(HealthArguments),
    /// Run one of the small MCP servers of the demo on standard input and output
    #[command(hide = true)]
    ExampleServer {
        /// Which one.
        #[arg(value_enum)]
        which: Which,
    },
}

impl Arguments {
    /// What to log and how; commands that answer at once log warnings only.
    pub fn logging(&self) -> Logging {
        let color = self.screen().has_color();
        match &self.command {
            Command::Serve(arguments) => arguments.log.logging(color),
            Command::Demo(arguments) => arguments.log.logging(color),
            Command::Check(_)
            | Command::Diff(_)
            | Command::Explain(_)
            | Command::Simulate(_)
            | Command::Schema(_)
            | Command::Token(_)
            | Command::Audit(_)
            | Command::Budget(_)
            | Command::Tools(_)
            | Command::Import(_)
            | Command::Config(_)
            | Command::Completions(_)
            | Command::Man(_)
            | Command::Time(_)
            | Command::Health(_)
            | Command::ExampleServer { .. } => LogArguments::quiet(color),
        }
    }

    /// The streams to answer on.
    pub fn screen(&self) -> Screen {
        Screen::standard(self.color, self.quiet)
    }
}

/// Does what was asked and says how it ended.
pub async fn run(command: Command, screen: &mut Screen) -> Exit {
    let done = match command {
        Command::Token(TokenCommand::New(arguments)) => token::new(&arguments, screen),
        Command::Check(arguments) => check::check(&arguments, screen).await,
        Command::Diff(arguments) => diff::run(&arguments, screen).await,
        Command::Simulate(arguments) => simulate::simulate(&arguments, screen).await,
        Command::Explain(arguments) => explain::explain(&arguments, screen).await,
        Command::Token(TokenCommand::Hash) => inspect::hash(inspect::input(screen), screen),
        Command::Token(TokenCommand::Inspect(arguments)) => {
            inspect::inspect(&arguments, inspect::input(screen), screen)
        }
        Command::Tools(arguments) => tools::run(arguments, screen).await,
        Command::Import(arguments) => import::run(&arguments, screen),
        Command::Config(ConfigCommand::Show(arguments)) => settings::show(&arguments, screen),
        Command::Completions(arguments) => papers::completions(&arguments, screen),
        Command::Man(arguments) => papers::man(&arguments, screen),
        Command::Schema(arguments) => schema::run(&arguments, screen),
        Command::Health(arguments) => health::run(&arguments, screen).await,
        Command::ExampleServer { which } => example::run(which).await,
        Command::Serve(arguments) => serve::run(arguments, screen).await,
        Command::Audit(AuditCommand::Verify(arguments)) => audit::verify(&arguments, screen).await,
        Command::Audit(AuditCommand::Redact(arguments)) => redact::run(arguments, screen).await,
        Command::Audit(AuditCommand::Query(arguments)) => query::query(&arguments, screen).await,
        Command::Audit(AuditCommand::Report(arguments)) => report::run(&arguments, screen).await,
        Command::Audit(AuditCommand::Prune(arguments)) => prune::prune(*arguments, screen).await,
        Command::Audit(AuditCommand::Export(arguments)) => export::export(&arguments, screen).await,
        Command::Audit(AuditCommand::Key(arguments)) => audit::key(&arguments, screen),
        Command::Time(TimeCommand::Accept(arguments)) => time::accept(arguments, screen).await,
        Command::Budget(BudgetCommand::Show(arguments)) => show::run(&arguments, screen).await,
        Command::Budget(BudgetCommand::Verify(arguments)) => {
            budget::verify(arguments, screen).await
        }
        Command::Budget(BudgetCommand::Unfreeze(arguments)) => {
            budget::unfreeze(arguments, screen).await
        }
        Command::Budget(BudgetCommand::Refund(arguments)) => {
            budget::refund(arguments, screen).await
        }
        Command::Demo(arguments) => demo::run(arguments, screen).await,
    };
    done.unwrap_or_else(|failure| {
        screen.error(&failure.error);
        failure.exit
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn refused(line: &str) -> clap::Error {
        Arguments::try_parse_from(line.split(' ')).unwrap_err()
    }

    #[test]
    fn the_command_tree_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_makes_no_sense_ends_with_2_and_help_with_0() {
        for line in [
            "hayward serv",
            "hayward serve --durability always",
            "hayward serve --listen here",
            "hayward token new",
            "hayward token new a/b",
            "hayward token new clawd --expires tomorrow",
            "hayward health --url ftp://x",
            "hayward audit verify --expect-head 12",
            "hayward audit query --format xml",
            "hayward audit query --limit 0",
            "hayward audit report --month october",
            "hayward audit report --month 2026-10 --format pdf",
            "hayward audit report",
            "hayward audit query --tz Mars/Olympus",
            "hayward example-server videos",
            "hayward --color pink health",
        ] {
            assert_eq!(refused(line).exit_code(), 2, "{line}");
        }
        assert_eq!(refused("hayward --help").kind(), ErrorKind::DisplayHelp);
        assert_eq!(refused("hayward serve --help").exit_code(), 0);
    }

    #[test]
    fn global_flags_stand_anywhere() {
        let arguments =
            Arguments::try_parse_from(["hayward", "health", "--quiet", "--color", "never"]);
        let arguments = arguments.unwrap();
        assert!(arguments.quiet);
        assert_eq!(arguments.color, Color::Never);
    }

    #[test]
    fn the_help_names_every_command_a_person_needs() {
        let help = Arguments::command().render_help().to_string();
        for command in ["serve", "demo", "token", "audit", "budget", "health"] {
            assert!(help.contains(&format!("\n  {command} ")), "{help}");
        }
        assert!(!help.contains("example-server"), "{help}");
    }
}
