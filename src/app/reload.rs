//! Follows the policy files and puts what changes in force: whole, or not at all.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::{Followed, LoadError, Loaded, commit_of};
use crate::gateway::{Edition, Gateway, NotInForce, PolicyFile};
use crate::policy::{Permissions, ToolLock};
use crate::review;
use crate::types::{Network, Revision};

use super::findings::{refuse, say, warn_of_headers};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Requests to read the files that wait.
const ASKED: usize = 8;

/// Where the rules come from, so that changes of them are found.
#[derive(Debug, Clone)]
pub struct Source {
    /// The policy file.
    pub policy: PathBuf,
    /// The file with rules to compare with.
    pub shadow: Option<PathBuf>,
    /// The commit that what is in the policy file at the start is taken from, where somebody says so. Of anything else
    /// the repository around the file is asked.
    pub commit: Option<String>,
}

impl Source {
    /// The commit that a revision of the policy file is taken from, as far as that is known.
    pub(super) fn commit(&self, revision: Revision, first: Revision) -> Option<Arc<str>> {
        let said = self.commit.clone().filter(|_| revision == first);
        said.or_else(|| commit_of(&self.policy)).map(Arc::from)
    }

    /// Whether the policy file can be read again: what comes through a pipe cannot.
    pub(super) fn can_be_followed(&self) -> bool {
        let is_file = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|meta| meta.is_file());
        is_file(&self.policy) && self.shadow.as_ref().is_none_or(is_file)
    }
}

/// What came of reading the policy file anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reloaded {
    /// Its rules are in force now.
    Changed,
    /// They were.
    Unchanged,
    /// They are not; what was in force still is. Why, in words for people.
    Refused(String),
}

/// Asks for the files to be read.
#[derive(Debug)]
pub(super) struct Asker(mpsc::Sender<oneshot::Sender<Reloaded>>);

impl Asker {
    /// Resolves when they were, with what came of the policy file.
    pub(super) async fn ask(&self) -> Option<Reloaded> {
        let (reply, done) = oneshot::channel();
        self.0.send(reply).await.ok()?;
        done.await.ok()
    }

    /// Does not wait for it. With several that wait already, one of those does as well.
    pub(super) fn ask_and_go(&self) {
        drop(self.0.try_send(oneshot::channel().0));
    }
}

/// Follows the files.
#[derive(Debug)]
pub(super) struct Reloader {
    gateway: Arc<Gateway>,
    source: Arc<Source>,
    environment: Arc<BTreeMap<String, String>>,
    trusted_proxies: Arc<[Network]>,
    policy: Followed,
    shadow: Option<Followed>,
    /// What the policy file held at the start.
    first: Revision,
    asked: mpsc::Receiver<oneshot::Sender<Reloaded>>,
    began: Instant,
}

/// What a file holds that is to be used now.
struct Found {
    /// Nothing where it cannot be read.
    revision: Option<Revision>,
    loaded: Result<Loaded, LoadError>,
    commit: Option<Arc<str>>,
}

/// Why a file is looked at.
#[derive(Debug, Clone, Copy)]
enum Why {
    /// Somebody asked for it.
    Asked,
    /// It is time to, so long after the start.
    Due(Duration),
}

/// The revision of a policy file, and of the lock of tools beside it.
pub(super) type Version = (Revision, Option<Revision>);

/// Which version was loaded.
pub(super) fn version(permissions: &Permissions) -> Version {
    let lock = permissions.tool_lock().map(ToolLock::revision);
    (permissions.revision(), lock)
}

impl Reloader {
    /// Follows the files of which these versions were loaded.
    pub(super) fn new(
        gateway: Arc<Gateway>,
        source: Source,
        environment: BTreeMap<String, String>,
        trusted_proxies: Arc<[Network]>,
        (policy, shadow): (Version, Option<Version>),
    ) -> (Self, Asker) {
        let (asker, asked) = mpsc::channel(ASKED);
        let shadow = source.shadow.as_deref().zip(shadow);
        let reloader = Self {
            gateway,
            policy: Followed::new(&source.policy, policy.0, policy.1),
            shadow: shadow.map(|(path, version)| Followed::new(path, version.0, version.1)),
            source: Arc::new(source),
            first: policy.0,
            environment: Arc::new(environment),
            trusted_proxies,
            asked,
            began: Instant::now(),
        };
        (reloader, Asker(asker))
    }

    /// Goes on until the gateway stops; a disk that hangs does not hold that up.
    pub(super) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.follow()).await;
    }

    async fn follow(mut self) {
        let mut every = interval(LOOK);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Some(reply) = self.asked.recv() => {
                    let reloaded = self.reload(Why::Asked).await;
                    // Whoever asked may not want to know.
                    drop(reply.send(reloaded));
                }
                _ = every.tick() => {
                    self.reload(Why::Due(self.began.elapsed())).await;
                }
            }
        }
    }

    async fn reload(&mut self, why: Why) -> Reloaded {
        if let Some(shadow) = self.shadow.take() {
            let (shadow, found) = self.find(shadow, why).await;
            let shadow = self.shadow.insert(shadow);
            if let Some(found) = found
                && use_shadow(&self.gateway, found).await.is_err()
            {
                shadow.forget();
            }
        }
        let (policy, found) = self.find(self.policy.clone(), why).await;
        self.policy = policy;
        match found {
            None => Reloaded::Unchanged,
            Some(found) => self.use_policy(found).await,
        }
    }

    /// Looks at a file where that holds nobody up.
    async fn find(&self, followed: Followed, why: Why) -> (Followed, Option<Found>) {
        let (environment, source) = (Arc::clone(&self.environment), Arc::clone(&self.source));
        let (unlooked, first) = (followed.clone(), self.first);
        let now = self.gateway.now();
        let looking = spawn_blocking(move || {
            let mut followed = followed;
            let read = match why {
                Why::Asked => Some(followed.take()),
                Why::Due(now) => followed.look(now),
            };
            let found = read.map(|read| {
                let revision = read.as_ref().ok().map(|read| read.revision);
                let value = |name: &str| environment.get(name).cloned();
                Found {
                    revision,
                    loaded: read.and_then(|read| review::tried(read.parse(&value)?, now)),
                    commit: revision.and_then(|revision| source.commit(revision, first)),
                }
            });
            (followed, found)
        });
        // Should it fail, which only a mistake in it can bring about, it is looked at again.
        looking.await.unwrap_or((unlooked, None))
    }

    async fn use_policy(&mut self, found: Found) -> Reloaded {
        let loaded = match found.loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                let file = PolicyFile::Live;
                return refuse(&self.gateway, file, found.revision, &error).await;
            }
        };
        let edition = Edition {
            permissions: Arc::new(loaded.permissions),
            connections: loaded.connections,
            commit: found.commit,
            text: loaded.text,
        };
        let (revision, commit) = (edition.permissions.revision(), edition.commit.clone());
        match self.gateway.put_in_force(edition, &self.environment).await {
            Ok(changed) => {
                self.gateway.complain(PolicyFile::Live, None);
                if !changed {
                    tracing::info!(revision = %revision.short(), "the rules were read and have not changed");
                    return Reloaded::Unchanged;
                }
                let commit = commit.as_deref().unwrap_or("unknown");
                tracing::info!(revision = %revision.short(), commit, "new rules are in force");
                say(&loaded.warnings);
                warn_of_headers(&self.gateway.permissions(), &self.trusted_proxies);
                Reloaded::Changed
            }
            Err(error) => {
                if let NotInForce::Unrecorded = error {
                    self.policy.forget();
                }
                let complaint = format!("the rules as they are now are not in force: {error}");
                let is_new = self
                    .gateway
                    .complain(PolicyFile::Live, Some(complaint.clone()));
                if is_new {
                    tracing::error!("{complaint}");
                }
                Reloaded::Refused(complaint)
            }
        }
    }
}

/// Compares with what was found from now on.
///
/// # Errors
/// When that cannot be written down.
async fn use_shadow(gateway: &Gateway, found: Found) -> Result<(), NotInForce> {
    let file = PolicyFile::Shadow;
    let loaded = match found.loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            refuse(gateway, file, found.revision, &error).await;
            return Ok(());
        }
    };
    let revision = loaded.permissions.revision();
    let put = gateway.put_in_shadow(Arc::new(loaded.permissions)).await;
    let complaint = put.as_ref().err().map(ToString::to_string);
    gateway.complain(file, complaint);
    if put? {
        tracing::info!(revision = %revision.short(), "new rules are compared with");
        say(&loaded.warnings);
    }
    Ok(())
}
