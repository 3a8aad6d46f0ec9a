//! Which journal gets what: topics to journals.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidings_proto::wire::batch::Batch;
use tidings_proto::{Origin, Topic};

use crate::error::Error;
use crate::journal::{Hold, Journal, Pushed, QueueLimits, Reader};

/// Subscriptions of one peer, all topics together. A hundred sessions at their limit (design §9).
const SUBSCRIPTIONS_MAX: usize = 1_000_000;

/// The journals of all topics that somebody in this process reads.
#[derive(Debug)]
pub(crate) struct Fanout {
    inner: Mutex<Inner>,
    limits: QueueLimits,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Inner {
    topics: HashMap<Topic, Arc<Journal>>,
    subscriptions: usize,
    stopped: bool,
}

impl Fanout {
    /// Nobody reads anything yet; each journal keeps as much as `limits` say.
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Self { inner: Mutex::default(), limits, dropped: Arc::default() }
    }

    /// Reads `topic` from now on. The messages of a journal that begins with this are numbered
    /// from `ordinal` on.
    pub(crate) fn read(
        &self,
        topic: &Topic,
        limits: Option<QueueLimits>,
        ordinal: u64,
    ) -> Result<Reader, Error> {
        let mut inner = self.lock();
        if inner.stopped {
            return Err(Error::Stopped);
        }
        if inner.subscriptions >= SUBSCRIPTIONS_MAX {
            return Err(Error::Busy("subscriptions"));
        }
        inner.subscriptions += 1;
        let make = || {
            let dropped = Arc::clone(&self.dropped);
            Arc::new(Journal::new(topic.clone(), self.limits, ordinal, dropped))
        };
        let journal = inner.topics.entry(topic.clone()).or_insert_with(make);
        Ok(Reader::at_end(journal, limits))
    }

    /// Receives `topic` without reading it; see [`Self::read`].
    pub(crate) fn hold(&self, topic: &Topic, ordinal: u64) -> Result<Hold, Error> {
        let reader = self.read(topic, None, ordinal)?;
        Ok(Hold::new(reader.journal()))
    }

    /// Receives a topic no more.
    pub(crate) fn release(&self, hold: Hold) {
        let journal = Arc::clone(hold.journal());
        drop(hold);
        self.forget(&journal);
    }

    /// One subscription less, whose reader is gone already.
    pub(crate) fn forget(&self, journal: &Arc<Journal>) {
        let mut inner = self.lock();
        inner.subscriptions = inner.subscriptions.saturating_sub(1);
        let current = inner.topics.get(journal.topic());
        if current.is_some_and(|current| Arc::ptr_eq(current, journal)) && !journal.has_readers() {
            inner.topics.remove(journal.topic());
        }
    }

    /// How many subscriptions there are, and how many messages all that ever were have dropped.
    pub(crate) fn count(&self) -> (usize, u64) {
        (self.lock().subscriptions, self.dropped.load(Ordering::Relaxed))
    }

    /// Whether any subscription wants the topic.
    pub(crate) fn wants(&self, topic: &Topic) -> bool {
        self.lock().topics.contains_key(topic)
    }

    /// Hands the messages of `batch` from `from_seq` on to all that want its topic. Returns where
    /// they are kept, if somebody does.
    pub(crate) fn deliver(&self, batch: &Arc<Batch>, from_seq: u64) -> Option<Pushed> {
        Some(self.journal(&batch.header().topic)?.push(batch, from_seq))
    }

    /// Tells all that want `topic` of a hole.
    pub(crate) fn gap(&self, topic: &Topic, origin: Origin, from: u64, to: u64) {
        if let Some(journal) = self.journal(topic) {
            journal.push_gap(origin, from, to);
        }
    }

    /// Ends all subscriptions of `topic`.
    pub(crate) fn topic_deleted(&self, topic: &Topic) {
        let journal = self.lock().topics.remove(topic);
        if let Some(journal) = journal {
            journal.topic_deleted();
        }
    }

    /// Ends all subscriptions: the peer has stopped.
    pub(crate) fn stop(&self) {
        let mut inner = self.lock();
        inner.stopped = true;
        let topics = std::mem::take(&mut inner.topics);
        drop(inner);
        topics.into_values().for_each(|journal| journal.close());
    }

    fn journal(&self, topic: &Topic) -> Option<Arc<Journal>> {
        self.lock().topics.get(topic).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
