//! The file: its tables, its version, and whether it is ours.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::error::StoreError;

/// Marks the file as ours: "tdng".
const APPLICATION_ID: i64 = 0x7464_6e67;
/// Raised with each change of the tables.
const VERSION: i64 = 2;
/// The directory is locked, so nobody else has the file open but a person who looks at it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// `next` numbers are those of [`crate::journal::Slot`]; times are microseconds since 1970 by
/// the peer's own clock; a batch is the bytes that its publisher signed.
const TABLES: &str = "
CREATE TABLE subscription (
    topic TEXT PRIMARY KEY, next INTEGER NOT NULL, newest INTEGER NOT NULL,
    durable INTEGER NOT NULL, sum BLOB NOT NULL
);
CREATE TABLE unread (
    topic TEXT NOT NULL, ordinal INTEGER NOT NULL, from_seq INTEGER NOT NULL,
    batch BLOB NOT NULL, sum BLOB NOT NULL, UNIQUE (topic, ordinal)
);
CREATE TABLE lost (
    topic TEXT NOT NULL, origin BLOB NOT NULL, incarnation INTEGER NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, sum BLOB NOT NULL,
    PRIMARY KEY (topic, origin, incarnation)
) WITHOUT ROWID;
CREATE TABLE position (
    topic TEXT NOT NULL, origin BLOB NOT NULL, incarnation INTEGER NOT NULL,
    next INTEGER NOT NULL, seen_us INTEGER NOT NULL, sum BLOB NOT NULL,
    PRIMARY KEY (topic, origin, incarnation)
) WITHOUT ROWID;
CREATE TABLE durable (
    topic TEXT PRIMARY KEY, hosted INTEGER NOT NULL, bytes_max INTEGER NOT NULL,
    age_max_us INTEGER NOT NULL, sum BLOB NOT NULL
);
CREATE TABLE log (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, came_us INTEGER NOT NULL,
    bytes INTEGER NOT NULL, batch BLOB NOT NULL, sum BLOB NOT NULL
);
CREATE INDEX log_topic ON log (topic, id);
CREATE TABLE alive (one INTEGER PRIMARY KEY CHECK (one = 1), now_us INTEGER NOT NULL);
";

/// Tables that version 2 added; an older file gets them when it is opened.
const TABLES_2: &str = "
CREATE TABLE IF NOT EXISTS retained (
    topic TEXT PRIMARY KEY, ordinal INTEGER NOT NULL, batch BLOB NOT NULL, sum BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS value (
    topic TEXT PRIMARY KEY, came_us INTEGER NOT NULL, batch BLOB NOT NULL, sum BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS filter (
    filter TEXT PRIMARY KEY, newest INTEGER NOT NULL, durable INTEGER NOT NULL, sum BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS matching (topic TEXT PRIMARY KEY);
";

/// Opens the file at `path`, and makes it when it is missing or empty.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let opened = Connection::open(path).map_err(|source| failed(path, source))?;
    let at = |source| failed(path, source);
    opened.busy_timeout(BUSY_TIMEOUT).map_err(at)?;
    let pragma = |name: &str| -> Result<i64, StoreError> {
        opened.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).map_err(at)
    };
    let tables: i64 =
        opened.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(at)?;
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    if tables > 0 && application != APPLICATION_ID {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    if version > VERSION {
        let path = path.to_owned();
        return Err(StoreError::Newer { path, found: version, known: VERSION });
    }
    // Writes are safe against the end of the process at once, and against the end of the power
    // after the next checkpoint, which follows within about a second.
    opened.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;").map_err(at)?;
    if tables == 0 {
        let mark = format!("BEGIN; {TABLES} PRAGMA application_id = {APPLICATION_ID}; COMMIT;");
        opened.execute_batch(&mark).map_err(at)?;
    }
    if tables == 0 || version < VERSION {
        let grow = format!("BEGIN; {TABLES_2} PRAGMA user_version = {VERSION}; COMMIT;");
        opened.execute_batch(&grow).map_err(at)?;
    }
    let check: String =
        opened.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(at)?;
    if check != "ok" {
        return Err(StoreError::Damaged { path: path.to_owned(), what: check });
    }
    Ok(opened)
}

/// What an error of SQLite means for whoever starts the peer.
pub(super) fn failed(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            StoreError::Damaged { path, what: source.to_string() }
        }
        _ => StoreError::Io { path, source },
    }
}
