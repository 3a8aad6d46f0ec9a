//! Why a store cannot be used.

use std::path::PathBuf;

use thiserror::Error;

/// Why a file with what a node keeps cannot be used. The node does not start then, rather than
/// to forget what it was told to keep: move the file away to start without it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It is not a database, or parts of it changed.
    #[error("{} is damaged: {what}; move it away to start without what it keeps", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It is a database of another program.
    #[error("{} is not a file of this program; move it away", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It was written by a later version.
    #[error("{} has version {found}, this program knows {known}: use a newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// It belongs to another node or cluster.
    #[error("{} belongs to {found}, not to {wanted}", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who wants to use it.
        wanted: String,
    },
    /// It cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// There is no thread for it.
    #[error("no thread for the store: {source}")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
}
