//! `hayward config show`: with which settings `hayward serve` would start, and where each comes from.

use std::ffi::OsString;

use anyhow::anyhow;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, CommandFactory, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};

use super::inspect::Format;
use super::serve::environment;
use super::{Arguments, Exit, Failure, Screen, ServeArguments, plain};
use crate::config::looks_secret;

/// What can be done with settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show with which settings `serve` would start, and where each comes from
    Show(Box<ShowSettings>),
}

/// Flags of `hayward config show`: all those of `serve`, and how to answer.
#[derive(Debug, Clone, Args)]
pub struct ShowSettings {
    /// What `serve` would be started with.
    #[command(flatten)]
    pub serve: ServeArguments,
    /// How to answer
    #[arg(
        id = "answer",
        long = "format",
        value_enum,
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub format: Format,
}

/// One setting. Stable: what stands here is what scripts read.
#[derive(Debug, Serialize, PartialEq)]
struct Setting {
    name: String,
    /// A text, a list of texts, true or false; null when it is not set.
    value: Value,
    /// `flag`, `variable`, `default` or `unset`.
    source: &'static str,
    flag: String,
    variable: Option<String>,
}

/// Prints the settings.
pub(super) fn show(arguments: &ShowSettings, screen: &mut Screen) -> Result<Exit, Failure> {
    let port = environment().remove("PORT");
    let settings = settings(std::env::args_os(), arguments, port.as_deref())?;
    match arguments.format {
        Format::Json => screen.answer(&serde_json::to_string(&json!({"settings": settings}))?)?,
        Format::Text => text(&settings, screen)?,
    }
    Ok(Exit::Yes)
}

/// The settings as the words of a command line and the environment make them.
fn settings(
    words: impl IntoIterator<Item = OsString>,
    arguments: &ShowSettings,
    port: Option<&str>,
) -> Result<Vec<Setting>, Failure> {
    // Parsed a second time: only the matches know where a value comes from.
    let matches = Arguments::command().try_get_matches_from(words)?;
    let inner = matches
        .subcommand()
        .and_then(|(_, inner)| inner.subcommand());
    let (_, matches) = inner.ok_or_else(|| anyhow!("this is not `config show`"))?;
    let serve = ServeArguments::augment_args(Command::new("serve"));
    let mut settings: Vec<Setting> = serve
        .get_arguments()
        .map(|arg| setting(arg, matches))
        .collect();
    let listen = arguments.serve.listener(port).map_err(Failure::usage)?;
    if let Some(found) = settings.iter_mut().find(|setting| setting.name == "listen")
        && found.value.is_null()
    {
        found.value = listen.to_string().into();
        let has_port = port.is_some_and(|port| !port.is_empty());
        found.source = if has_port { "variable" } else { "default" };
        found.variable = Some(if has_port { "PORT" } else { "HAYWARD_LISTEN" }.into());
    }
    Ok(settings)
}

fn setting(arg: &Arg, matches: &ArgMatches) -> Setting {
    let id = arg.get_id().as_str();
    let flag = arg.get_long().unwrap_or(id);
    let source = matches.value_source(id);
    let found = matches.try_get_raw(id).ok().flatten();
    let values: Vec<Value> = found
        .into_iter()
        .flatten()
        .map(|value| shown(&value.to_string_lossy()))
        .collect();
    let action = arg.get_action();
    let value = if matches!(action, ArgAction::SetTrue) {
        Value::Bool(matches.get_flag(id))
    } else if matches!(action, ArgAction::Append) {
        Value::Array(values)
    } else {
        values.into_iter().next().unwrap_or_default()
    };
    let is_unset = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    Setting {
        name: flag.to_owned(),
        source: match source {
            Some(ValueSource::CommandLine) => "flag",
            Some(ValueSource::EnvVariable) => "variable",
            _ if is_unset => "unset",
            _ => "default",
        },
        value,
        flag: format!("--{flag}"),
        variable: arg
            .get_env()
            .map(|name| name.to_string_lossy().into_owned()),
    }
}

/// A value as it may be shown: nobody is to put a secret into a setting, but people do.
fn shown(value: &str) -> Value {
    if looks_secret("", value) {
        return "(hidden: it looks like a secret)".into();
    }
    value.into()
}

fn text(settings: &[Setting], screen: &mut Screen) -> Result<(), Failure> {
    let rows: Vec<[String; 3]> = settings.iter().map(row).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let (a, b) = (width(0), width(1));
    for [name, value, source] in &rows {
        screen.answer(&format!("{name:<a$}  {value:<b$}  {source}"))?;
    }
    Ok(())
}

fn row(setting: &Setting) -> [String; 3] {
    let value = match &setting.value {
        Value::Null => "-".to_owned(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => {
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            plain(&items.join(", "))
        }
        Value::String(text) => plain(text),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => setting.value.to_string(),
    };
    let source = match (setting.source, &setting.variable) {
        ("variable", Some(variable)) => format!("variable {variable}"),
        ("flag", _) => format!("flag {}", setting.flag),
        (other, _) => other.to_owned(),
    };
    [setting.name.clone(), value, source]
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Command as Asked;

    fn shown_for(line: &str, port: Option<&str>) -> Vec<Setting> {
        let words = || line.split(' ').map(OsString::from);
        let Asked::Config(ConfigCommand::Show(arguments)) = Arguments::parse_from(words()).command
        else {
            panic!("{line}");
        };
        settings(words(), &arguments, port).unwrap()
    }

    fn of(settings: &[Setting], name: &str) -> (Value, &'static str) {
        let setting = settings.iter().find(|setting| setting.name == name);
        let setting = setting.unwrap_or_else(|| panic!("{name}: {settings:#?}"));
        (setting.value.clone(), setting.source)
    }

    #[test]
    fn each_setting_says_where_it_comes_from() {
        let found = shown_for(
            "hayward config show --policy mine.yaml --allowed-host a,b --open-dashboard --trusted-proxy 10.0.0.0/8",
            Some("8080"),
        );
        assert_eq!(of(&found, "policy"), ("mine.yaml".into(), "flag"));
        assert_eq!(of(&found, "db"), ("./hayward.db".into(), "default"));
        assert_eq!(of(&found, "listen"), ("0.0.0.0:8080".into(), "variable"));
        assert_eq!(of(&found, "open-dashboard"), (true.into(), "flag"));
        assert_eq!(of(&found, "checkpoints"), (Value::Null, "unset"));
        assert_eq!(of(&found, "allowed-host"), (json!(["a", "b"]), "flag"));
        let proxies = (json!(["10.0.0.0/8"]), "flag");
        assert_eq!(of(&found, "trusted-proxy"), proxies);
        assert_eq!(of(&found, "log-level"), ("info".into(), "default"));
        let found = shown_for("hayward config show --listen 127.0.0.1:1", Some("8080"));
        assert_eq!(of(&found, "listen"), ("127.0.0.1:1".into(), "flag"));
        let found = shown_for("hayward config show", None);
        assert_eq!(of(&found, "listen"), ("127.0.0.1:3100".into(), "default"));
    }

    #[test]
    fn every_flag_of_serve_is_shown_and_no_secret() {
        let found = shown_for(
            "hayward config show --allowed-origin http://me:s3cret@host --checkpoints hwd_0123456789",
            None,
        );
        let serve = ServeArguments::augment_args(Command::new("serve"));
        assert_eq!(found.len(), serve.get_arguments().count());
        let text = serde_json::to_string(&found).unwrap();
        assert!(
            !text.contains("s3cret") && !text.contains("hwd_0123456789"),
            "{text}"
        );
    }
}
