//! The queue between the driver and one subscription: bounded, oldest dropped first, every drop
//! counted and reported.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tidings_proto::wire::batch::Batch;
use tidings_proto::{Origin, Topic};

use crate::delivery::{Delivery, Gap, GapReason, Message};

/// How much a subscription holds for an application that does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Messages. Default 65,536: a second of the fastest publisher we measured, with room.
    pub messages_max: usize,
    /// Bytes of encoded batches. Default 64 MiB, as much as a topic retains (design §4.15): the
    /// memory is mostly shared with retention.
    pub bytes_max: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { messages_max: 65_536, bytes_max: 64 << 20 }
    }
}

/// Streams for which dropped ranges are remembered until the application reads; what is dropped
/// of further streams is only counted. As many as a topic's streams (design §4.10).
const LOST_STREAMS_MAX: usize = 65_536;
/// Tasks that may wait on one queue; the longest waiting is woken to make room.
const WAKERS_MAX: usize = 64;

/// Shared by the driver, which pushes, and the subscription, which pops.
#[derive(Debug)]
pub(crate) struct Queue {
    topic: Topic,
    limits: QueueLimits,
    /// Messages that all queues of the peer have dropped.
    dropped_total: Arc<AtomicU64>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<Entry>,
    /// The batch that is being read.
    current: VecDeque<Message>,
    /// Ranges dropped since the application last read, per stream.
    lost: BTreeMap<Origin, (u64, u64)>,
    messages: usize,
    bytes: usize,
    dropped: u64,
    /// Until the retained batches are in, live ones are not taken: they are among them.
    holding: bool,
    closed: bool,
    wakers: Vec<Waker>,
}

#[derive(Debug)]
enum Entry {
    Batch { batch: Arc<Batch>, from_seq: u64 },
    Gap { origin: Origin, from: u64, to: u64 },
    TopicDeleted,
}

impl Queue {
    /// An empty queue. With `holding` it takes nothing before [`Self::replay`]. What it drops is
    /// added to `dropped_total`.
    pub(crate) fn new(
        topic: Topic,
        limits: QueueLimits,
        holding: bool,
        dropped_total: Arc<AtomicU64>,
    ) -> Self {
        let inner = Inner { holding, ..Inner::default() };
        Self { topic, limits, dropped_total, inner: Mutex::new(inner) }
    }

    pub(crate) fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Takes the messages of `batch` from `from_seq` on.
    pub(crate) fn push(&self, batch: &Arc<Batch>, from_seq: u64) {
        self.change(|inner, limits| {
            if !inner.holding {
                inner.push_batch(Arc::clone(batch), from_seq, limits);
            }
        });
    }

    /// Takes note of messages that nobody could supply.
    pub(crate) fn push_gap(&self, origin: Origin, from: u64, to: u64) {
        self.change(|inner, limits| {
            if !inner.holding {
                inner.entries.push_back(Entry::Gap { origin, from, to });
                inner.make_room(limits);
            }
        });
    }

    /// The topic is gone: what is queued can be read, then nothing follows.
    pub(crate) fn topic_deleted(&self) {
        self.change(|inner, _| {
            inner.entries.push_back(Entry::TopicDeleted);
            inner.closed = true;
        });
    }

    /// What is queued can be read, then nothing follows.
    pub(crate) fn close(&self) {
        self.change(|inner, _| inner.closed = true);
    }

    /// Fills the queue with what the peer retains and has delivered, and takes live batches from
    /// now on. Called in the driver's task, so nothing falls in between and nothing comes twice.
    pub(crate) fn replay(&self, batches: &[Arc<Batch>]) {
        self.change(|inner, limits| {
            inner.holding = false;
            let mut next = BTreeMap::new();
            for batch in in_stream_order(batches) {
                let (origin, first) = (batch.header().origin, batch.header().first_seq);
                let after = batch.header().last_seq().saturating_add(1);
                if let Some(from) = next.insert(origin, after).filter(|next| *next < first) {
                    inner.entries.push_back(Entry::Gap { origin, from, to: first - 1 });
                }
                inner.push_batch(Arc::clone(batch), first, limits);
            }
        });
    }

    /// The next delivery; `Ready(None)` after the last one of a closed queue.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let mut inner = self.lock();
        if let Some(delivery) = inner.pop(&self.topic) {
            return Poll::Ready(Some(delivery));
        }
        if inner.closed {
            return Poll::Ready(None);
        }
        inner.park(cx.waker());
        Poll::Pending
    }

    /// The next delivery, if there is one.
    pub(crate) fn try_next(&self) -> Option<Delivery> {
        self.lock().pop(&self.topic)
    }

    /// Messages that wait to be read.
    pub(crate) fn len(&self) -> usize {
        let inner = self.lock();
        inner.messages + inner.current.len()
    }

    /// Messages dropped so far because the queue was full.
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Whether everything was read and nothing follows.
    pub(crate) fn is_finished(&self) -> bool {
        let inner = self.lock();
        inner.closed
            && inner.entries.is_empty()
            && inner.current.is_empty()
            && inner.lost.is_empty()
    }

    /// Whether nothing follows what is queued.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Puts what a closed queue of the same topic still holds before what this one, of which
    /// nothing was read yet, holds.
    pub(crate) fn inherit(&self, former: &Self) {
        let mut unread = std::mem::take(&mut *former.lock());
        former.lock().closed = true;
        self.change(|inner, limits| {
            unread.entries.append(&mut inner.entries);
            unread.lost.append(&mut inner.lost);
            inner.entries = unread.entries;
            inner.lost = unread.lost;
            inner.current = unread.current;
            inner.messages += unread.messages;
            inner.bytes += unread.bytes;
            inner.make_room(limits);
        });
    }

    /// Changes the queue and wakes who waits for it, after the lock is released.
    fn change(&self, change: impl FnOnce(&mut Inner, QueueLimits)) {
        let mut inner = self.lock();
        if inner.closed {
            return;
        }
        let before = inner.dropped;
        change(&mut inner, self.limits);
        self.dropped_total.fetch_add(inner.dropped - before, Ordering::Relaxed);
        let wakers = std::mem::take(&mut inner.wakers);
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while holding the lock cannot leave the queue half changed in a way that
        // matters more than ending all subscriptions would.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn push_batch(&mut self, batch: Arc<Batch>, from_seq: u64, limits: QueueLimits) {
        let Some(messages) = messages_from(&batch, from_seq) else { return };
        self.messages += messages;
        self.bytes += batch.bytes().len();
        self.entries.push_back(Entry::Batch { batch, from_seq });
        self.make_room(limits);
    }

    /// The newest entry stays even when it alone is over the limits: a message of the largest
    /// legal size can always be received.
    fn make_room(&mut self, limits: QueueLimits) {
        let messages_max = limits.messages_max.saturating_sub(self.current.len());
        while self.entries.len() > 1
            && (self.messages > messages_max
                || self.bytes > limits.bytes_max
                || self.entries.len() > limits.messages_max)
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        match self.entries.pop_front() {
            Some(Entry::Batch { batch, from_seq }) => {
                let messages = messages_from(&batch, from_seq).unwrap_or(0);
                self.messages -= messages;
                self.bytes -= batch.bytes().len();
                self.dropped += messages as u64;
                self.lose(batch.header().origin, from_seq, batch.header().last_seq());
            }
            Some(Entry::Gap { origin, from, to }) => self.lose(origin, from, to),
            Some(Entry::TopicDeleted) | None => {}
        }
    }

    /// Streams are queued in order, so what is dropped of one is one range.
    fn lose(&mut self, origin: Origin, from: u64, to: u64) {
        if let Some((_, last)) = self.lost.get_mut(&origin) {
            *last = to;
        } else if self.lost.len() < LOST_STREAMS_MAX {
            self.lost.insert(origin, (from, to));
        }
    }

    /// What was being read comes first, then what was dropped, then what is queued.
    fn pop(&mut self, topic: &Topic) -> Option<Delivery> {
        loop {
            if let Some(message) = self.current.pop_front() {
                return Some(Delivery::Message(message));
            }
            if let Some((origin, (from, to))) = self.lost.pop_first() {
                let reason = GapReason::SlowConsumer;
                return Some(Delivery::Gap(Gap::new(topic.clone(), origin, from, to, reason)));
            }
            match self.entries.pop_front()? {
                Entry::Batch { batch, from_seq } => self.open(&batch, from_seq),
                Entry::Gap { origin, from, to } => {
                    let reason = GapReason::Unavailable;
                    return Some(Delivery::Gap(Gap::new(topic.clone(), origin, from, to, reason)));
                }
                Entry::TopicDeleted => return Some(Delivery::TopicDeleted(topic.clone())),
            }
        }
    }

    fn open(&mut self, batch: &Batch, from_seq: u64) {
        self.messages -= messages_from(batch, from_seq).unwrap_or(0);
        self.bytes -= batch.bytes().len();
        let wanted = batch.messages().filter(|&(seq, _)| seq >= from_seq);
        self.current.extend(wanted.map(|(seq, m)| Message::new(batch.header(), seq, m)));
    }

    fn park(&mut self, waker: &Waker) {
        if self.wakers.iter().any(|parked| parked.will_wake(waker)) {
            return;
        }
        if self.wakers.len() >= WAKERS_MAX {
            self.wakers.remove(0).wake();
        }
        self.wakers.push(waker.clone());
    }
}

/// The batches with each stream in order: where the list has one of a stream, the next one of
/// that stream comes.
fn in_stream_order(batches: &[Arc<Batch>]) -> impl Iterator<Item = &Arc<Batch>> {
    let key = |batch: &Batch| (batch.header().origin, batch.header().first_seq);
    let sorted: BTreeMap<_, _> = batches.iter().map(|batch| (key(batch), batch)).collect();
    let mut streams: BTreeMap<Origin, VecDeque<&Arc<Batch>>> = BTreeMap::new();
    for ((origin, _), batch) in sorted {
        streams.entry(origin).or_default().push_back(batch);
    }
    let next = move |batch: &Arc<Batch>| streams.get_mut(&batch.header().origin)?.pop_front();
    batches.iter().filter_map(next)
}

/// How many messages `batch` has from `from_seq` on; `None` for none.
fn messages_from(batch: &Batch, from_seq: u64) -> Option<usize> {
    let count = batch.header().last_seq().checked_sub(from_seq)?.saturating_add(1);
    usize::try_from(count.min(u64::from(batch.header().count))).ok()
}
