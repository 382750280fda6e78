//! The socket beside the database: orders of an operator to the gateway that has the file. One connection is one
//! line of JSON in each direction, from users the file belongs to.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::gateway::{By, Gateway, Instruction, Order, Outcome};

/// The longest line of a request, in bytes.
const MAX_REQUEST: u64 = 64 * 1024;

/// The longest line of an answer, in bytes.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;

/// How long a request, or the reading of an answer, may take.
const LINE: Duration = Duration::from_secs(5);

/// How long whoever asks waits for the answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long the end of the gateway waits for orders under way.
const DRAIN: Duration = Duration::from_secs(5);

/// Connections at once; others wait to be accepted.
const CONNECTIONS: usize = 8;

/// The pause after a connection that could not be accepted: where no file descriptors are left, the next try fails too.
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// The longest path a socket address holds, in bytes (unix(7): 108 with the zero at its end).
const MAX_PATH: usize = 107;

/// The version of this program, which both sides say.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
struct Request<'a> {
    hayward: String,
    user: String,
    #[serde(borrow)]
    order: &'a RawValue,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
struct Reply {
    hayward: String,
    #[serde(flatten)]
    answer: Answer,
}

/// What became of an order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Done(Outcome),
    Refused(String),
}

/// Where orders for the file are taken. The path is that of the file itself, whatever links lead to it.
pub fn path_of(db: &Path) -> PathBuf {
    let real = fs::canonicalize(db).unwrap_or_else(|_| db.into());
    real.with_added_extension("sock")
}

/// A socket that takes orders; its file goes when this does.
#[derive(Debug)]
pub(super) struct OrderSocket {
    path: PathBuf,
    listener: UnixListener,
    /// The user of this process, who alone, with root, may give orders.
    owner: u32,
}

impl OrderSocket {
    /// Listens beside the file, whose lock the caller has: a socket that is there already is nobody's.
    pub(super) fn bind(db: &Path) -> io::Result<Self> {
        let path = path_of(db);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.file_type().is_socket() => fs::remove_file(&path)?,
            Ok(_) => {
                return Err(io::Error::other(
                    "there is a file of this name that is no socket",
                ));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let (address, _folder) = address(&path)?;
        let listener = UnixListener::bind(address)?;
        // Whoever came before this line is turned away by who they are.
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let owner = fs::symlink_metadata(&path)?.uid();
        Ok(Self {
            path,
            listener,
            owner,
        })
    }

    /// Takes orders until told to stop, and lets those under way finish.
    pub(super) async fn serve(self, gateway: Arc<Gateway>, stop: CancellationToken) {
        let (under_way, permits) = (TaskTracker::new(), Arc::new(Semaphore::new(CONNECTIONS)));
        let accepting = async {
            while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
                let stream = match self.listener.accept().await {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "an order could not be taken");
                        tokio::time::sleep(AFTER_FAILED_ACCEPT).await;
                        continue;
                    }
                };
                let (gateway, owner) = (Arc::clone(&gateway), self.owner);
                under_way.spawn(async move {
                    converse(stream, &gateway, owner).await;
                    drop(permit);
                });
            }
        };
        stop.run_until_cancelled(accepting).await;
        under_way.close();
        if timeout(DRAIN, under_way.wait()).await.is_err() {
            tracing::warn!("an operator's order was still under way at the end");
        }
    }
}

impl Drop for OrderSocket {
    fn drop(&mut self) {
        // Left behind it does no harm: the next gateway replaces it.
        drop(fs::remove_file(&self.path));
    }
}

/// An address for a path. One that is too long goes through its folder, which has to stay open meanwhile.
fn address(path: &Path) -> io::Result<(PathBuf, Option<File>)> {
    if path.as_os_str().len() <= MAX_PATH {
        return Ok((path.into(), None));
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other("the path has no folder"));
    };
    let folder = File::open(folder)?;
    let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string());
    Ok((short.join(name), Some(folder)))
}

async fn converse(mut stream: UnixStream, gateway: &Gateway, owner: u32) {
    let answer = match hear(&mut stream, owner).await {
        Ok(instruction) => match gateway.obey(instruction).await {
            Ok(outcome) => Answer::Done(outcome),
            Err(refused) => Answer::Refused(refused.to_string()),
        },
        Err(why) => Answer::Refused(why),
    };
    let hayward = VERSION.into();
    // Outcomes are texts and numbers, which can always be written.
    let line = serde_json::to_string(&Reply { hayward, answer }).unwrap_or_default();
    // Whoever asked may have gone; what was done is in the log.
    drop(timeout(LINE, say(&mut stream, &line)).await);
}

async fn say(stream: &mut UnixStream, line: &str) -> io::Result<()> {
    stream.write_all(format!("{line}\n").as_bytes()).await?;
    stream.shutdown().await
}

/// Reads a line, without its end; longer ones break off.
async fn line(stream: &mut UnixStream, most: u64) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream.take(most));
    reader.read_until(b'\n', &mut line).await?;
    if line.pop() == Some(b'\n') {
        Ok(line)
    } else {
        Err(io::Error::other("the line has no end, or is too long"))
    }
}

/// Reads an order, and who gives it.
async fn hear(stream: &mut UnixStream, owner: u32) -> Result<Instruction, String> {
    let uid = stream.peer_cred().map_err(|error| error.to_string())?.uid();
    if uid != owner && uid != 0 {
        return Err("only the user the gateway runs as, and root, give it orders".into());
    }
    let line = timeout(LINE, line(stream, MAX_REQUEST)).await;
    let line = line
        .map_err(|_| "no order came".to_owned())?
        .map_err(|error| error.to_string())?;
    let request: Request<'_> =
        serde_json::from_slice(&line).map_err(|error| format!("this is no order: {error}"))?;
    let order = serde_json::from_str::<Order>(request.order.get());
    let order = order.map_err(|error| {
        let asked = &request.hayward;
        format!(
            "the gateway is of version {VERSION} and does not know this order of version {asked}; \
             use the program that it was started from ({error})"
        )
    })?;
    let name = request.user;
    let by = By { name, uid };
    Ok(Instruction { order, by })
}

/// Asks the gateway that has the file; `None` when no gateway listens.
///
/// # Errors
/// When it cannot be asked or does not answer.
pub async fn ask(
    db: &Path,
    user: &str,
    order: &Order,
) -> anyhow::Result<Option<Result<Outcome, String>>> {
    let path = path_of(db);
    let Some(mut stream) = connect(&path).await? else {
        return Ok(None);
    };
    let order = serde_json::value::to_raw_value(order)?;
    let request = Request {
        hayward: VERSION.into(),
        user: user.into(),
        order: &order,
    };
    let request = serde_json::to_string(&request)?;
    stream.write_all(format!("{request}\n").as_bytes()).await?;
    let answered = timeout(PATIENCE, line(&mut stream, MAX_ANSWER)).await;
    let answered = answered
        .map_err(|_| {
            anyhow!(
                "the gateway does not answer within {} s",
                PATIENCE.as_secs()
            )
        })?
        .context("the gateway broke off; whether it did what was asked stands in its log")?;
    read(&answered).map(Some)
}

async fn connect(path: &Path) -> anyhow::Result<Option<UnixStream>> {
    let shown = path.display();
    let address = match address(path) {
        Ok(address) => address,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(format!("cannot reach `{shown}`")),
    };
    let error = match UnixStream::connect(&address.0).await {
        Ok(stream) => return Ok(Some(stream)),
        Err(error) => error,
    };
    // No file, or one that a gateway which was killed left behind.
    let is_nobody = [ErrorKind::NotFound, ErrorKind::ConnectionRefused].contains(&error.kind());
    if is_nobody {
        return Ok(None);
    }
    if error.kind() == ErrorKind::PermissionDenied {
        bail!(
            "no permission to give orders at `{shown}`: ask as the user the gateway runs as, or as root"
        );
    }
    Err(error).context(format!("cannot reach the gateway at `{shown}`"))
}

fn read(answered: &[u8]) -> anyhow::Result<Result<Outcome, String>> {
    let reply = serde_json::from_slice::<Reply>(answered);
    match reply {
        Ok(Reply { answer, .. }) => Ok(match answer {
            Answer::Done(outcome) => Ok(outcome),
            Answer::Refused(why) => Err(why),
        }),
        Err(_) => {
            #[derive(Deserialize)]
            struct Version {
                hayward: String,
            }
            let version = serde_json::from_slice::<Version>(answered);
            let version = version.map_or_else(|_| "another".into(), |said| said.hayward);
            bail!(
                "the gateway is of version {version} and answers in a way that version {VERSION} does not know; \
                 what it did stands in its log"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_path_that_is_too_long_for_an_address_goes_through_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a".repeat(90)).join("b".repeat(90));
        fs::create_dir_all(&deep).unwrap();
        let db = deep.join("hayward.db");
        fs::write(&db, "").unwrap();
        let path = path_of(&db);
        assert!(path.as_os_str().len() > MAX_PATH);
        assert!(
            connect(&path).await.unwrap().is_none(),
            "nobody listens yet"
        );
        let socket = OrderSocket::bind(&db).unwrap();
        assert!(connect(&path).await.unwrap().is_some());
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("hayward.db");
        fs::write(path_of(&db), "mine").unwrap();
        let error = OrderSocket::bind(&db).unwrap_err().to_string();
        assert!(error.contains("no socket"), "{error}");
        assert_eq!(fs::read_to_string(path_of(&db)).unwrap(), "mine");
    }

    #[tokio::test]
    async fn another_user_is_turned_away_whatever_the_permissions_say() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"{}\n").await.unwrap();
        let uid = ours.peer_cred().unwrap().uid();
        let heard = hear(&mut ours, uid.wrapping_add(1)).await;
        // Root may, as everywhere.
        let why = heard.unwrap_err();
        assert_eq!(why.contains("give it orders"), uid != 0, "{why}");
    }
}
