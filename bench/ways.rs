//! The ways a call can go, side by side in front of one server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::gateway::{Gateway, Plan};
use super::load::Load;
use super::nginx::Nginx;
use super::table::{Row, Way};
use super::target::{Call, Target};

/// What holds for the whole run.
#[derive(Debug)]
pub(super) struct Setting {
    /// The gateway's program.
    pub(super) binary: PathBuf,
    /// A database that holds years of use.
    pub(super) filled: Option<PathBuf>,
    /// How often everything is measured.
    pub(super) rounds: usize,
    /// Time for one figure.
    pub(super) time: Duration,
    /// How many callers press.
    pub(super) pressed: usize,
}

impl Setting {
    /// A gateway with a new database.
    pub(super) fn plan<'a>(&'a self, rules: &'a str) -> Plan<'a> {
        Plan {
            binary: &self.binary,
            rules,
            durability: "process",
            file: None,
        }
    }
}

/// Everything that leads to one server.
#[derive(Debug)]
pub(super) struct Ways {
    server: Option<SocketAddr>,
    nginx: Option<Nginx>,
    gateways: Vec<(Way, Gateway)>,
}

impl Ways {
    /// Starts gateways with these rules; before a server with an address there is the direct way and nginx, too.
    pub(super) async fn start(
        setting: &Setting,
        server: Option<SocketAddr>,
        rules: &str,
    ) -> anyhow::Result<Self> {
        let nginx = match server {
            Some(server) => Nginx::start(server).await?,
            None => None,
        };
        let plan = setting.plan(rules);
        let mut gateways = vec![(Way::Process, Gateway::start(plan).await?)];
        if let Some(file) = &setting.filled {
            let file = Some(file.as_path());
            gateways.push((Way::Filled, Gateway::start(Plan { file, ..plan }).await?));
        }
        let durability = "power";
        gateways.push((
            Way::Power,
            Gateway::start(Plan { durability, ..plan }).await?,
        ));
        Ok(Self {
            server,
            nginx,
            gateways,
        })
    }

    /// Goes every way once in each round.
    pub(super) async fn measure(
        &self,
        setting: &Setting,
        call: Call,
        connections: usize,
    ) -> anyhow::Result<Row> {
        let mut row = Row::new(connections);
        let load = Load {
            connections,
            time: setting.time,
        };
        let to = |address, path| Target {
            address,
            path,
            call,
        };
        for _ in 0..setting.rounds {
            if let Some(server) = self.server {
                row.add(Way::Direct, load.run(to(server, "/mcp"), || None).await?);
            }
            if let Some(nginx) = &self.nginx {
                let target = to(nginx.address, "/mcp");
                row.add(Way::Nginx, load.run(target, || nginx.cpu()).await?);
            }
            for (way, gateway) in &self.gateways {
                let target = to(gateway.address, "/mcp/bench");
                row.add(*way, load.run(target, || gateway.cpu()).await?);
            }
        }
        Ok(row)
    }

    /// Ends all of them.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        if let Some(nginx) = self.nginx {
            nginx.stop().await?;
        }
        for (_, gateway) in self.gateways {
            gateway.stop().await?;
        }
        Ok(())
    }
}
