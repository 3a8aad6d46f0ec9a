//! A topic's unread messages, shared by everybody who reads them: the driver pushes each batch
//! once, and each reader has a place of its own.
//!
//! A reader that does not read costs its place, not a copy. An entry goes when all readers have
//! passed it, or when there is too much; what a reader loses by that it is told exactly.

mod entries;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tidings_proto::wire::batch::Batch;
use tidings_proto::{Origin, Topic};

pub(crate) use entries::{Entry, Slot};
pub(crate) use reader::Reader;

use crate::delivery::GapReason;
use entries::Entries;

/// How much waits for an application that does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueLimits {
    /// Messages.
    pub(crate) messages_max: usize,
    /// Bytes of encoded batches, which are mostly shared with retention.
    pub(crate) bytes_max: usize,
}

/// Tasks that may wait on one reader; the longest waiting is woken to make room.
const WAKERS_MAX: usize = 64;

/// The journal of a topic.
#[derive(Debug)]
pub(crate) struct Journal {
    topic: Topic,
    limits: QueueLimits,
    /// Messages that all readers of the peer have lost.
    dropped_total: Arc<AtomicU64>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    entries: Entries,
    readers: u64,
    readers_made: u64,
    /// Who waits, by reader.
    wakers: BTreeMap<u64, Vec<Waker>>,
    closed: bool,
    kept: bool,
    logged: bool,
}

/// Messages that were pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pushed {
    /// The number of the first among all messages of the topic at this peer.
    pub(crate) ordinal: u64,
    /// They are unread messages of a session that survives a restart.
    pub(crate) kept: bool,
    /// They belong to the log of a durable topic.
    pub(crate) logged: bool,
}

/// Keeps a topic without reading it.
#[derive(Debug)]
pub(crate) struct Hold(Arc<Journal>);

impl Hold {
    /// Holds a journal.
    pub(crate) fn new(journal: &Arc<Journal>) -> Self {
        journal.lock().readers += 1;
        Self(Arc::clone(journal))
    }

    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.lock().readers -= 1;
    }
}

impl Journal {
    /// An empty journal whose first message gets the number `ordinal`. What its readers lose is
    /// added to `dropped_total`.
    pub(crate) fn new(
        topic: Topic,
        limits: QueueLimits,
        ordinal: u64,
        dropped_total: Arc<AtomicU64>,
    ) -> Self {
        let entries = Entries::new(ordinal);
        let inner = Inner {
            entries,
            readers: 0,
            readers_made: 0,
            wakers: BTreeMap::new(),
            closed: false,
            kept: false,
            logged: false,
        };
        Self { topic, limits, dropped_total, inner: Mutex::new(inner) }
    }

    pub(crate) fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Takes the messages of `batch` from `from_seq` on. Returns the number of the first, and
    /// where else they are kept.
    pub(crate) fn push(&self, batch: &Arc<Batch>, from_seq: u64) -> Pushed {
        self.add(Entry::Batch { batch: Arc::clone(batch), from_seq })
    }

    /// Takes note of messages that nobody could supply.
    pub(crate) fn push_gap(&self, origin: Origin, from: u64, to: u64) {
        let reason = GapReason::Unavailable;
        self.add(Entry::Gap { origin, from, to, reason });
    }

    /// The topic is gone: what waits can be read, then nothing follows.
    pub(crate) fn topic_deleted(&self) {
        self.add(Entry::TopicDeleted);
        self.close();
    }

    /// What waits can be read, then nothing follows.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        wake(inner);
    }

    /// Whether nothing follows what waits.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Whether somebody reads this.
    pub(crate) fn has_readers(&self) -> bool {
        self.lock().readers > 0
    }

    /// Whether unread messages are kept on disk as well.
    pub(crate) fn set_kept(&self, kept: bool) {
        self.lock().kept = kept;
    }

    /// Whether the topic's log is kept on disk.
    pub(crate) fn set_logged(&self, logged: bool) {
        self.lock().logged = logged;
    }

    fn add(&self, entry: Entry) -> Pushed {
        let mut inner = self.lock();
        if inner.closed {
            return Pushed { ordinal: inner.entries.next_ordinal(), kept: false, logged: false };
        }
        let (ordinal, dropped) = inner.entries.push(entry, self.limits);
        self.dropped_total.fetch_add(dropped, Ordering::Relaxed);
        let pushed = Pushed { ordinal, kept: inner.kept, logged: inner.logged };
        wake(inner);
        pushed
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while holding the lock cannot leave the journal half changed in a way that
        // matters more than ending all subscriptions would.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes who waits, after the lock is released.
fn wake(mut inner: MutexGuard<'_, Inner>) {
    let wakers = std::mem::take(&mut inner.wakers);
    drop(inner);
    wakers.into_values().flatten().for_each(Waker::wake);
}

impl Inner {
    fn park(&mut self, reader: u64, waker: &Waker) {
        let parked = self.wakers.entry(reader).or_default();
        if parked.iter().any(|parked| parked.will_wake(waker)) {
            return;
        }
        if parked.len() >= WAKERS_MAX {
            parked.remove(0).wake();
        }
        parked.push(waker.clone());
    }
}
