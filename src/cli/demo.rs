//! `hayward demo`: the first minute with a gateway.

use std::net::SocketAddr;

use clap::Args;

use super::LogArguments;
use super::serve::listen_address;

/// Flags of `hayward demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArguments {
    /// Address and port to listen on; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", env = "HAYWARD_LISTEN", default_value = "127.0.0.1:3100", value_parser = listen_address)]
    pub listen: SocketAddr,
    /// What to log.
    #[command(flatten)]
    pub log: LogArguments,
}
