//! nginx as a plain proxy of the same bytes: what a gateway costs that neither reads nor records anything.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, geteuid, kill_process_group};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::child;

/// Where it may be: distributions keep it where only root looks for programs.
const PLACES: [&str; 2] = ["nginx", "/usr/sbin/nginx"];

/// The longest start and the longest end.
const PATIENCE: Duration = Duration::from_secs(10);

/// An nginx that serves.
#[derive(Debug)]
pub(super) struct Nginx {
    /// Where it listens.
    pub(super) address: SocketAddr,
    child: Child,
    /// Holds its configuration and what it writes.
    _folder: TempDir,
}

impl Nginx {
    /// Starts one before this server; none where nginx is not installed.
    pub(super) async fn start(server: SocketAddr) -> anyhow::Result<Option<Self>> {
        // It can only be told a port that is free now; nobody else takes one on this machine in between.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let folder = tempfile::tempdir()?;
        fs::write(
            folder.path().join("nginx.conf"),
            configuration(address, server),
        )?;
        let Some(child) = spawn(folder.path())? else {
            return Ok(None);
        };
        let mut nginx = Self {
            address,
            child,
            _folder: folder,
        };
        timeout(PATIENCE, nginx.listens()).await??;
        Ok(Some(nginx))
    }

    async fn listens(&mut self) -> anyhow::Result<()> {
        while TcpStream::connect(self.address).await.is_err() {
            if let Some(ended) = self.child.try_wait()? {
                bail!("nginx ended with {ended}");
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Processor time so far, of the master and its workers.
    pub(super) fn cpu(&self) -> Option<Duration> {
        let master = self.child.id()?;
        let workers = child::children(master);
        workers.into_iter().chain([master]).map(child::cpu).sum()
    }

    /// Ends it in order.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        child::ask_to_end(self.child.id().context("nginx ended by itself")?)?;
        timeout(PATIENCE, self.child.wait()).await??;
        Ok(())
    }
}

impl Drop for Nginx {
    /// Its workers outlive a master that is killed, so that all of its group is.
    fn drop(&mut self) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw) {
            // One that is gone already needs no end.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn spawn(folder: &Path) -> std::io::Result<Option<Child>> {
    for program in PLACES {
        let spawned = Command::new(program)
            .arg("-p")
            .arg(folder)
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        match spawned {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            spawned => return spawned.map(Some),
        }
    }
    Ok(None)
}

fn configuration(address: SocketAddr, server: SocketAddr) -> String {
    // Workers of root would be `nobody` else, who may not look into the folder.
    let user = if geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    format!(
        "{user}
daemon off;
pid nginx.pid;
error_log stderr warn;
worker_processes auto;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  keepalive_requests 1000000000;
  upstream server {{
    server {server};
    keepalive 256;
    keepalive_requests 1000000000;
  }}
  server {{
    listen {address};
    location / {{
      proxy_pass http://server;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
    }}
  }}
}}
"
    )
}
