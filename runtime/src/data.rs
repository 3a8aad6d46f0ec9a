//! A node's directory on disk: its key, its life number, the peers it knows, and the lock that
//! keeps a second process out.
//!
//! | file | content |
//! |---|---|
//! | `key` | the node's secret key, 64 hexadecimal digits, mode 0600 |
//! | `incarnation` | the number of the newest life |
//! | `peers` | known peers, a line each: node, incarnation, address |
//! | `topics` | records of the node's own topics, see [`topics`] |
//! | `seeds` | the seeds as they have changed, and those of the configuration at that time |
//! | `lock` | empty; locked while a process uses the directory |

mod topics;

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use thiserror::Error;
use tidings_proto::Incarnation;
use tidings_proto::peer::seed_set::KnownSeeds;
use tidings_proto::wire::frame::PeerEntry;

pub use topics::TopicsFile;

use crate::key::{KeyError, NodeKey};

/// An open data directory. It is locked until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    key: Arc<NodeKey>,
    incarnation: Incarnation,
    /// Locked as long as it is open.
    _lock: File,
}

impl DataDir {
    /// Opens the directory, creating it where necessary, locks it, loads or makes the key, and
    /// begins a new life: an incarnation above all before it, written to disk already.
    ///
    /// # Errors
    /// Another process uses it, or a file in it cannot be read or written.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))?;
        let lock = lock(path)?;
        let key = Arc::new(NodeKey::load_or_create(&path.join(KEY))?);
        let stored = match std::fs::read_to_string(path.join(INCARNATION)) {
            Ok(text) => text.trim_ascii().parse().unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(at(&path.join(INCARNATION))(error)),
        };
        let incarnation = Incarnation(stored).next().max(Incarnation(unix_millis()));
        let opened = Self { path: path.to_owned(), key, incarnation, _lock: lock };
        opened.save_incarnation(incarnation)?;
        Ok(opened)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The node's identity.
    pub fn key(&self) -> &Arc<NodeKey> {
        &self.key
    }

    /// The life that began when this was opened: one more than the last, and at least the
    /// milliseconds since 1970, so that a node that lost the file is newer than it was as well.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Keeps a higher incarnation, for a node that was declared dead and returned.
    ///
    /// # Errors
    /// The file cannot be written; the old content stands.
    pub fn save_incarnation(&self, incarnation: Incarnation) -> Result<(), DataError> {
        let path = self.path.join(INCARNATION);
        let text = format!("{}\n", incarnation.0);
        write_atomically(&path, text.as_bytes(), Sync::Yes).map_err(at(&path))
    }

    /// The peers known from a former life; none when there is no such file. Damaged lines are
    /// left out: there is more than one way to find peers.
    pub fn known_peers(&self) -> Vec<PeerEntry> {
        let text = std::fs::read(self.path.join(PEERS)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines().take(KNOWN_PEERS_MAX).filter_map(parse_peer).collect()
    }

    /// Replaces the known peers, atomically. They need not survive a power cut.
    ///
    /// # Errors
    /// The file cannot be written; the old content stands.
    pub fn save_known_peers(&self, peers: &[PeerEntry]) -> Result<(), DataError> {
        let lines = peers
            .iter()
            .take(KNOWN_PEERS_MAX)
            .map(|peer| format!("{} {} {}\n", peer.node, peer.incarnation.0, peer.address));
        let path = self.path.join(PEERS);
        let text: String = lines.collect();
        write_atomically(&path, text.as_bytes(), Sync::No).map_err(at(&path))
    }
}

impl DataDir {
    /// The seeds as a former life came to know them; none when there is no such file, or when the
    /// configuration names others than at that time: then it has the newer word.
    pub fn known_seeds(&self, configured: &[SocketAddr]) -> Option<KnownSeeds> {
        let text = std::fs::read_to_string(self.path.join(SEEDS)).ok()?;
        let mut lines = text.lines();
        let version = lines.next()?.strip_prefix("version ")?.parse().ok()?;
        let begun = addresses(lines.next()?.strip_prefix("configured")?)?;
        let seeds = addresses(lines.next()?.strip_prefix("seeds")?)?;
        let known = KnownSeeds { version, seeds };
        (begun == configured && !known.seeds.is_empty()).then_some(known)
    }

    /// Replaces the known seeds, atomically, on disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written; the old content stands.
    pub fn save_known_seeds(
        &self,
        configured: &[SocketAddr],
        known: &KnownSeeds,
    ) -> Result<(), DataError> {
        let list = |of: &[SocketAddr]| of.iter().map(|at| format!(" {at}")).collect::<String>();
        let (begun, seeds) = (list(configured), list(&known.seeds));
        let text = format!("version {}\nconfigured{begun}\nseeds{seeds}\n", known.version);
        let path = self.path.join(SEEDS);
        write_atomically(&path, text.as_bytes(), Sync::Yes).map_err(at(&path))
    }
}

fn addresses(words: &str) -> Option<Vec<SocketAddr>> {
    words.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
}

/// Why a data directory cannot be used.
#[derive(Debug, Error)]
pub enum DataError {
    /// Another process holds the lock.
    #[error("data directory {} is in use by another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The key is missing or bad.
    #[error(transparent)]
    Key(#[from] KeyError),
}

fn at(path: &Path) -> impl Fn(io::Error) -> DataError + '_ {
    |source| DataError::Io { path: path.to_owned(), source }
}

fn lock(directory: &Path) -> Result<File, DataError> {
    let path = directory.join(LOCK);
    let file = File::create(&path).map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DataError::InUse { path: directory.to_owned() }),
        Err(TryLockError::Error(error)) => Err(at(&path)(error)),
    }
}

fn parse_peer(line: &str) -> Option<PeerEntry> {
    let mut words = line.split_ascii_whitespace();
    let node = words.next()?.parse().ok()?;
    let incarnation = Incarnation(words.next()?.parse().ok()?);
    let address = words.next()?.parse().ok()?;
    Some(PeerEntry { node, incarnation, address })
}

fn unix_millis() -> u64 {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_1970.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// Whether a write must survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// It must.
    Yes,
    /// It may be lost.
    No,
}

/// Replaces `path` by way of a file beside it: a reader sees the old or the new content.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8], sync: Sync) -> io::Result<()> {
    use io::Write as _;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        if sync == Sync::Yes { file.sync_all() } else { Ok(()) }
    });
    written.and_then(|()| std::fs::rename(&beside, path)).inspect_err(|_| {
        // Best effort: the error that matters is the first one.
        let _ = std::fs::remove_file(&beside);
    })
}

/// The name of the file with the key.
pub const KEY: &str = "key";
const INCARNATION: &str = "incarnation";
const PEERS: &str = "peers";
const SEEDS: &str = "seeds";
const LOCK: &str = "lock";
/// More than the views of a peer hold.
const KNOWN_PEERS_MAX: usize = 1_024;

#[cfg(test)]
mod tests;
