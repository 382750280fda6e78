//! `hayward serve`: run the gateway.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use clap::builder::{BoolishValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::audit::read_signing_key;
use super::{Exit, Failure, LogArguments, Screen};
use crate::app::{self, Running, Settings, Source};
use crate::clock::{Clock, SystemClock};
use crate::config::{LoadError, Loaded};
use crate::dashboard::Access;
use crate::db::Durability;
use crate::http::{Guard, Limits};
use crate::review;
use crate::types::Network;

/// Where the gateway listens when nobody says anything.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3100);

/// Flags of `hayward serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArguments {
    /// The rules: who may call what, and how much of it
    #[arg(
        long,
        value_name = "FILE",
        env = "HAYWARD_POLICY",
        default_value = "./permissions.yaml"
    )]
    pub policy: PathBuf,
    /// Rules to compare with: what they would have decided otherwise is written down, and nothing is refused by them
    #[arg(long, value_name = "FILE", env = "HAYWARD_SHADOW")]
    pub shadow: Option<PathBuf>,
    /// The git commit the rules are taken from, for the log; where nobody says, the repository around the file is asked
    #[arg(long, value_name = "COMMIT", env = "HAYWARD_POLICY_REVISION", value_parser = commit())]
    pub policy_revision: Option<String>,
    /// The database with the log and the budgets; made when it is not there
    #[arg(
        long,
        value_name = "FILE",
        env = "HAYWARD_DB",
        default_value = "./hayward.db"
    )]
    pub db: PathBuf,
    /// Address and port to listen on; port 0 takes any that is free [default: 127.0.0.1:3100, or 0.0.0.0:$PORT when PORT is set]
    #[arg(long, value_name = "ADDRESS", env = "HAYWARD_LISTEN", value_parser = listen_address)]
    pub listen: Option<SocketAddr>,
    /// What every recorded call survives
    #[arg(long, value_name = "AGAINST", env = "HAYWARD_DURABILITY", default_value = "power", value_parser = durability())]
    pub durability: Durability,
    /// Show the dashboard to everybody who can reach it
    #[arg(long, env = "HAYWARD_OPEN_DASHBOARD", value_parser = BoolishValueParser::new())]
    pub open_dashboard: bool,
    /// A reverse proxy, or a network of them, whose word for the `header` of viewers is taken; may be repeated
    #[arg(
        long = "trusted-proxy",
        value_name = "NETWORK",
        env = "HAYWARD_TRUSTED_PROXY",
        value_delimiter = ','
    )]
    pub trusted_proxies: Vec<Network>,
    /// A name clients reach the gateway by, beside localhost and its addresses; may be repeated
    #[arg(
        long = "allowed-host",
        value_name = "NAME",
        env = "HAYWARD_ALLOWED_HOST",
        value_delimiter = ','
    )]
    pub allowed_hosts: Vec<String>,
    /// An origin whose web pages may call the gateway, such as `https://chat.example.com`; may be repeated
    #[arg(
        long = "allowed-origin",
        value_name = "ORIGIN",
        env = "HAYWARD_ALLOWED_ORIGIN",
        value_delimiter = ','
    )]
    pub allowed_origins: Vec<String>,
    /// Append the end of the log to this file, hourly and at start and stop; best on another machine
    #[arg(long, value_name = "FILE", env = "HAYWARD_CHECKPOINTS")]
    pub checkpoints: Option<PathBuf>,
    /// Sign what is appended with the key in this file; `hayward audit key` makes one
    #[arg(long, value_name = "FILE", env = "HAYWARD_SIGNING_KEY")]
    pub signing_key: Option<PathBuf>,
    /// Start although the end of the log or a budget is not what was written; the log says so from then on
    #[arg(long)]
    pub accept_mismatch: bool,
    /// What to log.
    #[command(flatten)]
    pub log: LogArguments,
}

impl ServeArguments {
    /// Where to listen. `port` is the variable PORT, which many platforms set: it asks for every address.
    ///
    /// # Errors
    /// When PORT decides and is no port.
    pub fn listener(&self, port: Option<&str>) -> anyhow::Result<SocketAddr> {
        match (self.listen, port.filter(|port| !port.is_empty())) {
            (Some(listen), _) => Ok(listen),
            (None, None) => Ok(DEFAULT_LISTEN),
            (None, Some(port)) => {
                let number = port.parse().map_err(|_| {
                    anyhow::anyhow!(
                        "the variable PORT is `{port}`, which is no port; set it to a number or pass --listen"
                    )
                })?;
                Ok(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), number))
            }
        }
    }
}

/// Runs the gateway until it is told to stop.
pub(super) async fn run(arguments: ServeArguments, screen: &mut Screen) -> Result<Exit, Failure> {
    let policy = load(&arguments.policy, screen)?;
    let shadow = arguments.shadow.as_deref();
    let shadow = shadow.map(|path| load(path, screen)).transpose()?;
    let revision = policy.permissions.revision();
    let has_viewers = !policy.permissions.viewers().is_empty();
    let port = environment().remove("PORT");
    let access = if arguments.open_dashboard {
        Access::Open
    } else {
        Access::Viewers
    };
    let signing_key = arguments.signing_key.as_deref().map(read_signing_key);
    let settings = settings(
        policy,
        &arguments.db,
        arguments
            .listener(port.as_deref())
            .map_err(Failure::usage)?,
        arguments.durability,
        access,
        Guard::new(
            arguments.allowed_hosts.clone(),
            arguments.allowed_origins.clone(),
        ),
    );
    let settings = Settings {
        shadow,
        source: Some(Source {
            policy: arguments.policy.clone(),
            shadow: arguments.shadow.clone(),
            commit: arguments.policy_revision.clone(),
        }),
        trusted_proxies: arguments.trusted_proxies.clone(),
        signing_key: signing_key.transpose()?,
        checkpoints: arguments.checkpoints.clone(),
        accept_mismatch: arguments.accept_mismatch,
        ..settings
    };
    let interrupted = interruption()?;
    let running = app::start(settings).await?;
    let address = running.address;
    screen.say(&format!(
        "rules      {} ({})",
        arguments.policy.display(),
        revision.short()
    ));
    if let Some(shadow) = &arguments.shadow {
        screen.say(&format!("shadow     {}", shadow.display()));
    }
    screen.say(&format!("database   {}", arguments.db.display()));
    screen.say(&format!(
        "log head   {} {}",
        running.head.seq,
        running.head.hex()
    ));
    screen.say(&match (arguments.open_dashboard, has_viewers) {
        (false, false) => {
            "dashboard  closed: add `viewers:` to the rules, or pass --open-dashboard".to_owned()
        }
        _ => format!("dashboard  http://{address}/audit"),
    });
    screen.say(&format!("listening on http://{address}"));
    stop_when(running, interrupted, screen).await
}

/// What a gateway of this process is started with.
pub(super) fn settings(
    policy: Loaded,
    db: &Path,
    listen: SocketAddr,
    durability: Durability,
    access: Access,
    guard: Guard,
) -> Settings {
    Settings {
        policy,
        shadow: None,
        source: None,
        db: db.into(),
        listen,
        durability,
        access,
        trusted_proxies: Vec::new(),
        guard,
        limits: Limits::default(),
        environment: environment(),
        clock: Arc::new(SystemClock::start()),
        signing_key: None,
        checkpoints: None,
        accept_mismatch: false,
    }
}

/// Reads the rules; says what someone should look at.
fn load(path: &Path, screen: &mut Screen) -> Result<Loaded, Failure> {
    let environment = environment();
    let value = |name: &str| environment.get(name).cloned();
    let loaded = review::load(path, &value, SystemClock::start().now());
    let loaded = loaded.map_err(|error| match error {
        LoadError::Invalid(problems) => {
            screen.note(&problems.render(screen.has_color()));
            let count = problems.diagnostics().len();
            Failure::policy(anyhow::anyhow!(
                "`{}` is not in order: {count} finding(s) above",
                path.display()
            ))
        }
        LoadError::Unreadable { .. } => Failure::from(error),
    })?;
    for warning in &loaded.warnings {
        screen.say(&warning.render(screen.has_color()));
    }
    Ok(loaded)
}

/// The variables of this process, as far as they are text.
pub(super) fn environment() -> BTreeMap<String, String> {
    let pairs = std::env::vars_os();
    pairs
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Resolves when the process is asked to end: SIGINT or SIGTERM.
pub(super) fn interruption() -> io::Result<Interruption> {
    Ok(Interruption {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
        hangup: signal(SignalKind::hangup())?,
    })
}

/// Hears the signals that ask the process to end, or to read its rules.
#[derive(Debug)]
pub(super) struct Interruption {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Interruption {
    /// Resolves when the process is to end. A hang-up asks for the rules to be read.
    async fn next(&mut self, hung_up: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hangup.recv() => hung_up(),
            }
        }
    }
}

/// Serves until the first signal, ends in good order, or at once at the second.
pub(super) async fn stop_when(
    running: Running,
    mut interrupted: Interruption,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let read_rules = || {
        if !running.ask_reload() {
            tracing::warn!("a hang-up signal changes nothing here: no file is followed");
        }
    };
    tokio::select! {
        () = interrupted.next(read_rules) => {}
        () = running.writer_gone() => {
            screen.note("the log's writer has failed; without it no call is let through, so the gateway ends");
            // What it says of its failure, and what is open, is told by the end and by the next start.
            running.stop().await?;
            return Ok(Exit::Environment);
        }
    }
    screen.say("stopping; calls in flight may finish (once more to stop at once)");
    tokio::select! {
        head = running.stop() => {
            let head = head?;
            screen.say(&format!("stopped    log head {} {}", head.seq, head.hex()));
            Ok(Exit::Yes)
        }
        // It is too late for other rules.
        () = interrupted.next(|| ()) => Ok(Exit::Interrupted),
    }
}

/// An address and a port; `localhost` is understood.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric
        .parse()
        .map_err(|_| "write an address and a port, such as 127.0.0.1:3100 or [::]:3100".into())
}

/// What can stand in a log line and an event as a name of a commit.
fn commit() -> impl TypedValueParser<Value = String> {
    clap::builder::StringValueParser::new().try_map(|text| {
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits {
            return Ok(text);
        }
        Err("write a commit: 1 to 64 visible ASCII characters")
    })
}

fn durability() -> impl TypedValueParser<Value = Durability> {
    let power =
        PossibleValue::new("power").help("A loss of power: every commit waits for the disk");
    let process =
        PossibleValue::new("process").help("A gateway that is killed, not a loss of power; faster");
    PossibleValuesParser::new([power, process]).map(|word| match word.as_str() {
        "process" => Durability::Process,
        _ => Durability::Power,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArguments,
    }

    fn parse(line: &str) -> ServeArguments {
        let words = std::iter::once("serve").chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap().serve
    }

    #[test]
    fn the_defaults_are_those_of_the_manual() {
        let arguments = parse("");
        assert_eq!(arguments.policy, PathBuf::from("./permissions.yaml"));
        assert_eq!(arguments.db, PathBuf::from("./hayward.db"));
        assert_eq!(arguments.durability, Durability::Power);
        assert!(!arguments.open_dashboard);
        assert!(arguments.allowed_hosts.is_empty() && arguments.allowed_origins.is_empty());
    }

    #[test]
    fn the_flag_decides_then_port_then_the_default() {
        for (line, port, wanted) in [
            ("", None, "127.0.0.1:3100"),
            ("", Some(""), "127.0.0.1:3100"),
            ("", Some("8080"), "0.0.0.0:8080"),
            ("--listen 127.0.0.1:0", Some("8080"), "127.0.0.1:0"),
            ("--listen [::1]:9", Some("nonsense"), "[::1]:9"),
            ("--listen localhost:9", None, "127.0.0.1:9"),
        ] {
            let found = parse(line).listener(port).unwrap();
            assert_eq!(found.to_string(), wanted, "{line} {port:?}");
        }
        let error = parse("").listener(Some("tcp://10.0.0.1:3100")).unwrap_err();
        assert!(error.to_string().contains("PORT is `tcp://"), "{error}");
    }

    #[test]
    fn trusted_proxies_are_networks() {
        let arguments =
            parse("--trusted-proxy 127.0.0.1 --trusted-proxy 10.20.0.0/16,2001:db8::/32");
        let networks = arguments.trusted_proxies.iter().map(ToString::to_string);
        let wanted = ["127.0.0.1/32", "10.20.0.0/16", "2001:db8::/32"];
        assert_eq!(networks.collect::<Vec<_>>(), wanted);
        let wrong = ["serve", "--trusted-proxy", "proxy.internal"];
        let error = Line::try_parse_from(wrong).unwrap_err().to_string();
        assert!(error.contains("write an address or a network"), "{error}");
    }

    #[test]
    fn flags_that_may_be_repeated_collect() {
        let arguments = parse(
            "--allowed-host a --allowed-host b,c --allowed-origin https://x --durability process --open-dashboard",
        );
        assert_eq!(arguments.allowed_hosts, ["a", "b", "c"]);
        assert_eq!(arguments.allowed_origins, ["https://x"]);
        assert_eq!(arguments.durability, Durability::Process);
        assert!(arguments.open_dashboard);
    }
}
