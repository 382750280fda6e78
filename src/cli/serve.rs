//! `hayward serve`: run the gateway.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use clap::builder::{BoolishValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};

use super::LogArguments;
use crate::db::Durability;

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
