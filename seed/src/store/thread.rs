//! The thread that writes: what came together is committed together, and synced once.

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tidings_proto::seed::memory::Change;
use tidings_runtime::store::JobQueue;
use tokio::sync::mpsc::Sender;

use super::News;
use super::file::{self, Read};
use super::table::ALL;

type Job = (u64, Vec<Change>);

/// Jobs of one transaction.
const GROUP_MAX: usize = 4_096;
/// All rows are read once in this time (design §6.22).
const SCRUB_EVERY: Duration = Duration::from_secs(24 * 3_600);
/// While all rows are read, so many of them at a time ...
const SCRUB_PART: usize = 1_000;
/// ... with pauses, in which others write.
const SCRUB_PAUSE: Duration = Duration::from_millis(20);

/// Where the reading of all rows is: the number of the table, and the last row.
type Place = (usize, i64);

/// The connection, and whom to tell.
#[derive(Debug)]
pub(super) struct Writer {
    file: Connection,
    synced: Sender<u64>,
    news: Sender<News>,
    scrub_at: Instant,
    scrubbing: Option<Place>,
    damaged: Vec<(&'static str, i64)>,
    /// What was damaged when all rows were read the last time.
    damaged_before: Vec<(&'static str, i64)>,
}

impl Writer {
    pub(super) fn new(file: Connection, synced: Sender<u64>, news: Sender<News>) -> Self {
        let scrub_at = Instant::now() + SCRUB_EVERY;
        Self {
            file,
            synced,
            news,
            scrub_at,
            scrubbing: None,
            damaged: Vec::new(),
            damaged_before: Vec::new(),
        }
    }

    /// Writes until the last sender is gone, or until something could not be written: then
    /// nothing is, and nobody is told that anything was.
    pub(super) fn run(mut self, queue: &JobQueue<Job>) {
        loop {
            let wait = self.scrub_at.saturating_duration_since(Instant::now());
            let done = match queue.recv_timeout(wait) {
                Ok(first) => self.commit(first, queue).and_then(|()| self.scrub_if_due()),
                Err(RecvTimeoutError::Timeout) => self.scrub(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let Err(error) = done {
                // Whoever listens is ending.
                let _ = self.news.try_send(News::Failed(error.to_string()));
                return;
            }
        }
    }

    /// Nothing is waited for: while one transaction is synced, the next gathers.
    fn commit(&mut self, first: Job, queue: &JobQueue<Job>) -> rusqlite::Result<()> {
        let mut group = vec![first];
        group.extend(std::iter::from_fn(|| queue.try_recv()).take(GROUP_MAX - 1));
        file::write(&mut self.file, group.iter().flat_map(|(_, changes)| changes))?;
        if let Some((token, _)) = group.last() {
            // A driver that is gone waits for nothing. There is room: it takes notice after each
            // change that it hands in, and no more changes than there is room for wait here.
            let _ = self.synced.try_send(*token);
        }
        Ok(())
    }

    fn scrub_if_due(&mut self) -> rusqlite::Result<()> {
        if Instant::now() < self.scrub_at { Ok(()) } else { self.scrub() }
    }

    /// Reads some more rows, and looks whether they are what was written.
    pub(super) fn scrub(&mut self) -> rusqlite::Result<()> {
        let (number, last) = self.scrubbing.unwrap_or((0, i64::MIN));
        let Some(table) = ALL.get(number) else {
            return self.end_scrub();
        };
        let part = file::rows(&self.file, table, last, SCRUB_PART)?;
        let next = part.last().map_or((number + 1, i64::MIN), |read| (number, read.rowid));
        let damaged = part.iter().filter(|Read { row, .. }| row.is_none());
        self.damaged.extend(damaged.map(|read| (table.name, read.rowid)));
        self.scrubbing = Some(next);
        self.scrub_at = Instant::now() + SCRUB_PAUSE;
        Ok(())
    }

    fn end_scrub(&mut self) -> rusqlite::Result<()> {
        self.scrubbing = None;
        self.scrub_at = Instant::now() + SCRUB_EVERY;
        let damaged = std::mem::take(&mut self.damaged);
        // All rows are written anew, over those that are damaged: until then a start finds these,
        // and learns. What no writing has mended has lost its key, and stands for nothing.
        let (useless, fresh): (Vec<_>, Vec<_>) =
            damaged.into_iter().partition(|row| self.damaged_before.contains(row));
        if !useless.is_empty() {
            file::drop_damaged(&mut self.file, &useless)?;
        }
        let found = useless.len() + fresh.len();
        self.damaged_before = fresh;
        if found > 0 {
            // A seed that is ending takes no news.
            let _ = self.news.try_send(News::Damaged(found));
        }
        Ok(())
    }
}
