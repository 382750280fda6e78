//! Orders of an operator: given to the gateway that has the file, or carried out here when none has it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use tokio::net::UnixStream;

use super::audit::read_signing_key;
use super::serve::environment;
use super::{Exit, Failure};
use crate::app::socket;
use crate::clock::SystemClock;
use crate::db::{self, DbError, Durability};
use crate::gateway::{Alone, By, Instruction, Order, Outcome};

/// Variables that name the user, the one behind `sudo` first.
const USERS: [&str; 3] = ["SUDO_USER", "USER", "LOGNAME"];

/// Where an order is carried out.
#[derive(Debug, Clone, Args)]
pub struct OperateArguments {
    /// The database. A gateway that has it is asked; otherwise it is opened here
    #[arg(
        long,
        value_name = "FILE",
        env = "HAYWARD_DB",
        default_value = "./hayward.db"
    )]
    pub db: PathBuf,
    /// The file that checkpoints are appended to, as for `serve`; needed when no gateway runs
    #[arg(long, value_name = "FILE", env = "HAYWARD_CHECKPOINTS")]
    pub checkpoints: Option<PathBuf>,
    /// The key that signs checkpoints, as for `serve`; needed when no gateway runs and the log is signed
    #[arg(long, value_name = "FILE", env = "HAYWARD_SIGNING_KEY")]
    pub signing_key: Option<PathBuf>,
}

/// Has an order carried out; returns when it is durable.
pub(super) async fn order(at: &OperateArguments, order: Order) -> Result<Outcome, Failure> {
    if !at.db.exists() {
        return Err(DbError::Missing(at.db.clone()).into());
    }
    let name = user()?;
    let done = match socket::ask(&at.db, &name, &order).await? {
        Some(done) => done,
        None if matches!(order, Order::AcceptTime { .. }) => {
            return Err(anyhow!(
                "no gateway has `{}`; one that starts follows the clock as it is",
                at.db.display()
            )
            .into());
        }
        None => alone(at, name, order).await?,
    };
    done.map_err(|why| Failure {
        exit: Exit::No,
        error: anyhow!(why),
    })
}

async fn alone(
    at: &OperateArguments,
    name: String,
    order: Order,
) -> anyhow::Result<Result<Outcome, String>> {
    let database = match db::open(&at.db, Durability::Power).await {
        Err(DbError::InUse(_)) => bail!(
            "another program has `{}` and takes no orders at `{}`: stop it, or run this where it runs",
            at.db.display(),
            socket::path_of(&at.db).display()
        ),
        opened => opened?,
    };
    let signing_key = at.signing_key.as_deref().map(read_signing_key);
    let alone = Alone {
        database,
        clock: Arc::new(SystemClock::start()),
        signing_key: signing_key.transpose()?,
        checkpoints: at.checkpoints.clone(),
    };
    let (own, _) = UnixStream::pair()?;
    let uid = own.peer_cred()?.uid();
    let by = By { name, uid };
    let done = alone.obey(Instruction { order, by }).await;
    let done = done.with_context(|| format!("cannot work on `{}`", at.db.display()))?;
    Ok(done.map_err(|refused| refused.to_string()))
}

/// The name of whoever sits at the terminal; without one, only the number of the user is known.
fn user() -> anyhow::Result<String> {
    let mut variables = environment();
    let names = USERS.into_iter().filter_map(|name| variables.remove(name));
    let mut names = names.filter(|name| !name.is_empty());
    Ok(names.next().unwrap_or_default())
}
