//! The file: its tables, its version, and whether it is ours.

use tidings_runtime::store::{Format, Safety};

/// Marks the file as ours: "tdng".
const APPLICATION_ID: i64 = 0x7464_6e67;

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

/// What version 2 added: retained messages, and filters.
const TABLES_2: &str = "
CREATE TABLE retained (
    topic TEXT PRIMARY KEY, ordinal INTEGER NOT NULL, batch BLOB NOT NULL, sum BLOB NOT NULL
);
CREATE TABLE value (
    topic TEXT PRIMARY KEY, came_us INTEGER NOT NULL, batch BLOB NOT NULL, sum BLOB NOT NULL
);
CREATE TABLE filter (
    filter TEXT PRIMARY KEY, newest INTEGER NOT NULL, durable INTEGER NOT NULL, sum BLOB NOT NULL
);
CREATE TABLE matching (topic TEXT PRIMARY KEY);
";

/// Writes are safe against the end of the process at once, and against the end of the power after
/// the next checkpoint, which follows within about a second.
pub(super) const FORMAT: Format = Format {
    application_id: APPLICATION_ID,
    steps: &[TABLES, TABLES_2],
    safety: Safety::Checkpoint,
};
