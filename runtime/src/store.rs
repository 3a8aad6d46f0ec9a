//! SQLite files of nodes: how they are opened, versioned and checked. What is in them is said by
//! those who keep something: `peer` and `seed`.

mod error;
mod jobs;
mod sum;

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

pub use error::StoreError;
pub use jobs::{JobQueue, Jobs, jobs};
pub use sum::{SUM_BYTES, Sum};

/// The directory is locked, so nobody else has the file open but a person who looks at it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a file of one kind looks like.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// Marks the file as one of this kind.
    pub application_id: i64,
    /// The statements that make each version of the one before, from an empty file on. Never
    /// changed, only appended to.
    pub steps: &'static [&'static str],
    /// When a write is safe against the loss of power.
    pub safety: Safety,
}

/// When a write is safe against the loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safety {
    /// When its transaction has ended.
    Commit,
    /// When a checkpoint follows.
    Checkpoint,
}

impl Format {
    fn version(&self) -> i64 {
        i64::try_from(self.steps.len()).unwrap_or(i64::MAX)
    }

    /// Opens the file at `path` for writing, makes it when it is missing or empty, and brings it
    /// to the newest version.
    ///
    /// # Errors
    /// It is foreign, newer or damaged, or cannot be read or written.
    pub fn open(&self, path: &Path) -> Result<Connection, StoreError> {
        let at = |source| failed(path, source);
        let mut opened = Connection::open(path).map_err(at)?;
        opened.busy_timeout(BUSY_TIMEOUT).map_err(at)?;
        let version = self.version_of(&opened, path)?;
        let synchronous = match self.safety {
            Safety::Commit => "FULL",
            Safety::Checkpoint => "NORMAL",
        };
        let modes = format!("PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous};");
        opened.execute_batch(&modes).map_err(at)?;
        let missing = self.steps.get(usize::try_from(version).unwrap_or(usize::MAX)..);
        let missing = missing.unwrap_or_default();
        if !missing.is_empty() {
            let change = opened.transaction().map_err(at)?;
            for step in missing {
                change.execute_batch(step).map_err(at)?;
            }
            let (id, version) = (self.application_id, self.version());
            let mark = format!("PRAGMA application_id = {id}; PRAGMA user_version = {version};");
            change.execute_batch(&mark).map_err(at)?;
            change.commit().map_err(at)?;
        }
        quick_check(&opened, path)?;
        Ok(opened)
    }

    /// Opens the file at `path`, which another process may be writing, for reading.
    ///
    /// # Errors
    /// It is missing, foreign, of another version or damaged, or cannot be read.
    pub fn open_to_read(&self, path: &Path) -> Result<Connection, StoreError> {
        let at = |source| failed(path, source);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(path, flags).map_err(at)?;
        opened.busy_timeout(BUSY_TIMEOUT).map_err(at)?;
        if self.version_of(&opened, path)? == 0 {
            return Err(StoreError::Foreign { path: path.to_owned() });
        }
        quick_check(&opened, path)?;
        Ok(opened)
    }

    /// The version of the file, 0 of an empty one.
    fn version_of(&self, opened: &Connection, path: &Path) -> Result<i64, StoreError> {
        let number = |sql: &str| -> Result<i64, StoreError> {
            opened.query_row(sql, [], |row| row.get(0)).map_err(|source| failed(path, source))
        };
        let tables = number("SELECT count(*) FROM sqlite_schema")?;
        if tables > 0 && number("PRAGMA application_id")? != self.application_id {
            return Err(StoreError::Foreign { path: path.to_owned() });
        }
        let (found, known) = (number("PRAGMA user_version")?, self.version());
        if found > known {
            return Err(StoreError::Newer { path: path.to_owned(), found, known });
        }
        Ok(if tables == 0 { 0 } else { found })
    }
}

fn quick_check(opened: &Connection, path: &Path) -> Result<(), StoreError> {
    let check = opened.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    let what = check.map_err(|source| failed(path, source))?;
    if what == "ok" { Ok(()) } else { Err(StoreError::Damaged { path: path.to_owned(), what }) }
}

/// What an error of SQLite means for whoever starts the node.
pub fn failed(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            StoreError::Damaged { path, what: source.to_string() }
        }
        _ => StoreError::Io { path, source },
    }
}
