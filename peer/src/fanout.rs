//! Which subscriptions get what: topic to queues.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidings_proto::wire::batch::Batch;
use tidings_proto::{Origin, Topic};

use crate::error::Error;
use crate::queue::{Queue, QueueLimits};

/// Subscriptions of one peer, all topics together. Ten sessions at their limit (design §9).
const SUBSCRIPTIONS_MAX: usize = 100_000;

/// The queues of all subscriptions of a peer. A batch is handed on whole, and its queues are
/// filled outside of the lock.
#[derive(Debug, Default)]
pub(crate) struct Fanout {
    inner: Mutex<Inner>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Inner {
    topics: HashMap<Topic, Arc<[Arc<Queue>]>>,
    subscriptions: usize,
    stopped: bool,
}

impl Fanout {
    /// Makes and adds a queue, see [`Queue::new`].
    pub(crate) fn add(
        &self,
        topic: Topic,
        limits: QueueLimits,
        holding: bool,
    ) -> Result<Arc<Queue>, Error> {
        let mut inner = self.lock();
        if inner.stopped {
            return Err(Error::Stopped);
        }
        if inner.subscriptions >= SUBSCRIPTIONS_MAX {
            return Err(Error::Busy("subscriptions"));
        }
        inner.subscriptions += 1;
        let dropped = Arc::clone(&self.dropped);
        let queue = Arc::new(Queue::new(topic.clone(), limits, holding, dropped));
        let queues = inner.topics.entry(topic).or_insert_with(|| Arc::new([]));
        *queues = queues.iter().chain([&queue]).cloned().collect();
        Ok(queue)
    }

    /// Removes a queue, if it is still there.
    pub(crate) fn remove(&self, queue: &Arc<Queue>) {
        let mut inner = self.lock();
        let Some(queues) = inner.topics.get_mut(queue.topic()) else { return };
        let before = queues.len();
        *queues = queues.iter().filter(|other| !Arc::ptr_eq(other, queue)).cloned().collect();
        let (after, removed) = (queues.len(), before - queues.len());
        inner.subscriptions -= removed;
        if after == 0 {
            inner.topics.remove(queue.topic());
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

    /// Hands the messages of `batch` from `from_seq` on to all that want its topic.
    pub(crate) fn deliver(&self, batch: &Arc<Batch>, from_seq: u64) {
        self.each(&batch.header().topic, |queue| queue.push(batch, from_seq));
    }

    /// Tells all that want `topic` of a hole.
    pub(crate) fn gap(&self, topic: &Topic, origin: Origin, from: u64, to: u64) {
        self.each(topic, |queue| queue.push_gap(origin, from, to));
    }

    /// Ends all subscriptions of `topic`.
    pub(crate) fn topic_deleted(&self, topic: &Topic) {
        let mut inner = self.lock();
        let queues = inner.topics.remove(topic).unwrap_or_else(|| Arc::new([]));
        inner.subscriptions -= queues.len();
        drop(inner);
        queues.iter().for_each(|queue| queue.topic_deleted());
    }

    /// Ends all subscriptions: the peer has stopped.
    pub(crate) fn stop(&self) {
        let mut inner = self.lock();
        inner.stopped = true;
        inner.subscriptions = 0;
        let topics = std::mem::take(&mut inner.topics);
        drop(inner);
        topics.into_values().for_each(|queues| queues.iter().for_each(|queue| queue.close()));
    }

    fn each(&self, topic: &Topic, action: impl Fn(&Queue)) {
        let queues = self.lock().topics.get(topic).cloned();
        for queue in queues.iter().flat_map(|queues| queues.iter()) {
            action(queue);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
