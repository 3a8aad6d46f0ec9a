//! Messages that topics retain: what the permanent session begins with and has not read, and the
//! values of durable topics, which stay when their log has grown over them.

use rusqlite::params;
use tidings_proto::wire::batch::Batch;
use tidings_runtime::store::Sum;

use super::write::{Rows, none, signed};

impl Rows<'_> {
    /// A subscription begins with a retained message.
    pub(super) fn begin_with(&self, ordinal: u64, batch: &Batch) -> rusqlite::Result<()> {
        let (name, ordinal) = (batch.header().topic.as_str(), signed(ordinal));
        let sum = retained_sum("retained", name, ordinal, batch.bytes());
        self.run(
            "INSERT OR REPLACE INTO retained VALUES (?, ?, ?, ?)",
            params![name, ordinal, &batch.bytes()[..], sum],
        )
    }

    /// Keeps the batch of a durable topic as its value, if it has a retained message that is
    /// newer.
    pub(super) fn keep_value(&self, batch: &Batch, came_us: i64) -> rusqlite::Result<()> {
        if batch.retained().is_none() {
            return Ok(());
        }
        let name = batch.header().topic.as_str();
        let known: Option<Vec<u8>> = self
            .db
            .prepare_cached("SELECT batch FROM value WHERE topic = ?")?
            .query_row([name], |row| row.get(0))
            .map(Some)
            .or_else(none)?;
        if known.is_some_and(|known| !is_newer(batch, known)) {
            return Ok(());
        }
        let sum = retained_sum("value", name, came_us, batch.bytes());
        self.run(
            "INSERT OR REPLACE INTO value VALUES (?, ?, ?, ?)",
            params![name, came_us, &batch.bytes()[..], sum],
        )
    }
}

/// By the number of one publisher, else by what they signed: what comes late is of the past.
fn is_newer(new: &Batch, known: Vec<u8>) -> bool {
    let Ok(known) = Batch::decode(known.into()) else { return true };
    let (new, old) = (new.header(), known.header());
    if new.origin == old.origin {
        new.first_seq > old.first_seq
    } else {
        new.published_at_us > old.published_at_us
    }
}

pub(super) fn retained_sum(table: &str, topic: &str, number: i64, batch: &[u8]) -> [u8; 8] {
    Sum::of(table).bytes(topic.as_bytes()).number(number).bytes(batch).end()
}
