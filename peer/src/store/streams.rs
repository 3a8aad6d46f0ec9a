//! How far each stream was written, and what of it was not.

use std::ops::Range;

use rusqlite::params;
use tidings_proto::Origin;
use tidings_proto::wire::batch::Batch;

use super::write::{Row, Rows, none, signed, stream_sum};

impl Rows<'_> {
    /// Messages of a stream came and were not written: the disk was too slow, or full. What reads
    /// the file finds a hole between two rows by itself; one before the first row is noted.
    pub(super) fn note_missed(&self, batch: &Batch, missed: Range<u64>) -> rusqlite::Result<()> {
        let (origin, topic) = (batch.header().origin, &batch.header().topic);
        let begins = missed.start == 0;
        if begins || missed.is_empty() {
            return Ok(());
        }
        let unread = self.unread.get(topic);
        let follows = unread.is_some_and(|of| of.rows.iter().any(|row| row.origin == origin));
        if follows && !self.doubtful {
            return Ok(());
        }
        self.note_lost(topic.as_str(), origin, missed)
    }

    /// A row makes room.
    pub(super) fn lose(&self, name: &str, row: &Row) -> rusqlite::Result<()> {
        self.run(
            "DELETE FROM unread WHERE topic = ? AND ordinal = ?",
            params![name, signed(row.ordinal)],
        )?;
        self.note_lost(name, row.origin, row.from_seq..row.to_seq + 1)
    }

    /// The range is told to whoever reads next, in whatever life.
    fn note_lost(&self, name: &str, origin: Origin, lost: Range<u64>) -> rusqlite::Result<()> {
        let (node, life) = (&origin.node.0[..], signed(origin.incarnation.0));
        let first: Option<i64> = self
            .db
            .prepare_cached(
                "SELECT first FROM lost WHERE topic = ? AND origin = ? AND incarnation = ?",
            )?
            .query_row(params![name, node, life], |row| row.get(0))
            .map(Some)
            .or_else(none)?;
        let last = signed(lost.end - 1);
        let first = first.unwrap_or_else(|| signed(lost.start));
        let sum = stream_sum("lost", name, node, life, first, last);
        self.run(
            "INSERT OR REPLACE INTO lost VALUES (?, ?, ?, ?, ?, ?)",
            params![name, node, life, first, last, sum],
        )
    }

    pub(super) fn position(&self, batch: &Batch, now_us: i64) -> rusqlite::Result<()> {
        let header = batch.header();
        let (name, node) = (header.topic.as_str(), &header.origin.node.0[..]);
        let life = signed(header.origin.incarnation.0);
        let next = signed(header.last_seq()).saturating_add(1);
        let sum = stream_sum("position", name, node, life, next, now_us);
        // It never goes back: history may be written after what is live.
        self.run(
            "INSERT INTO position VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (topic, origin, incarnation) DO UPDATE
             SET next = excluded.next, seen_us = excluded.seen_us, sum = excluded.sum
             WHERE excluded.next > next",
            params![name, node, life, next, now_us, sum],
        )
    }

    /// The first number of a batch's stream that was not written; 0 when nothing was.
    pub(super) fn next_of(&self, batch: &Batch) -> rusqlite::Result<u64> {
        let header = batch.header();
        let (name, node) = (header.topic.as_str(), &header.origin.node.0[..]);
        let next: Option<i64> = self
            .db
            .prepare_cached(
                "SELECT next FROM position WHERE topic = ? AND origin = ? AND incarnation = ?",
            )?
            .query_row(params![name, node, signed(header.origin.incarnation.0)], |row| row.get(0))
            .map(Some)
            .or_else(none)?;
        Ok(next.and_then(|next| u64::try_from(next).ok()).unwrap_or(0))
    }
}
