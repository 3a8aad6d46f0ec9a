//! A node's Ed25519 key and the file that keeps it.

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rand::TryRng as _;
use thiserror::Error;
use tidings_proto::NodeId;
use tidings_proto::crypto::Signer;

/// A node's identity: an Ed25519 key.
pub struct NodeKey {
    secret: [u8; 32],
    node: NodeId,
}

impl NodeKey {
    /// The key in `path`, made there (mode 0600) when there is none.
    ///
    /// # Errors
    /// The file cannot be read or written, holds no key, or others may read it.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        match Self::load(path) {
            Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Self::create(path)
            }
            result => result,
        }
    }

    /// A new random key that is kept nowhere.
    ///
    /// # Errors
    /// The operating system has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let mut secret = [0; 32];
        rand::rngs::SysRng.try_fill_bytes(&mut secret).map_err(|_| KeyError::Randomness)?;
        Ok(Self::from_secret(secret))
    }

    /// The key of these secret bytes.
    pub fn from_secret(secret: [u8; 32]) -> Self {
        let node = Signer::ed25519(&secret).node();
        Self { secret, node }
    }

    /// The secret bytes.
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// The public key, which is the node's identity.
    pub fn node_id(&self) -> NodeId {
        self.node
    }

    /// What signs records and batches for this node.
    pub fn signer(&self) -> Signer {
        Signer::ed25519(&self.secret)
    }

    /// The key in `path`.
    ///
    /// # Errors
    /// The file cannot be read, holds no key, or others may read it.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Io { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
        // The secret is written like an id: 64 hexadecimal digits.
        match text.trim_ascii().parse::<NodeId>() {
            Ok(NodeId(secret)) => Ok(Self::from_secret(secret)),
            Err(_) => Err(KeyError::Malformed { path: path.to_owned() }),
        }
    }

    /// Written beside and then linked to its name, so that a crash leaves no half key and two
    /// processes agree on one.
    fn create(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Io { path: path.to_owned(), source };
        let key = Self::generate()?;
        let beside = path.with_extension(format!("{}.tmp", std::process::id()));
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&beside).map_err(failed)?;
        writeln!(file, "{}", NodeId(key.secret)).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        let linked = std::fs::hard_link(&beside, path);
        std::fs::remove_file(&beside).map_err(failed)?;
        match linked {
            Ok(()) => Ok(key),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::load(path),
            Err(error) => Err(failed(error)),
        }
    }
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeKey({:?})", self.node)
    }
}

/// Why there is no key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("key file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("key file {} is damaged: it should hold 64 hexadecimal digits", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// Other users of the host may read the file.
    #[error("key file {} has mode {mode:03o}, and must be 600: chmod 600 it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// No randomness for a new key.
    #[error("the operating system has no randomness for a new key")]
    Randomness,
}

/// More than a key file ever holds.
const KEY_FILE_BYTES_MAX: u64 = 1_024;
