//! Publications that wait to be signed.
//!
//! The driver hands over all commands that are ready before it drains the machine. What came
//! together leaves together: one message when idle, full batches under load.

use std::collections::{BTreeMap, VecDeque};

use crate::id::{RequestId, Topic};
use crate::time::Instant;
use crate::wire::batch::{BATCH_BYTES_TARGET, BATCH_MESSAGES_MAX, Message};
use crate::wire::headers::RETAIN;

/// The most publications that wait for their topic to be looked up or for a first neighbour.
pub(crate) const WAITING_MAX: usize = 4_096;
/// The most bytes that wait.
pub(crate) const WAITING_BYTES_MAX: usize = 16 << 20;

/// With so many bytes or publications that wait for a window no more are taken from applications,
/// which wait instead. Four full batches: those of the next window. Measured with 64 peers: p50 of
/// a full load 135 to 145 ms with 1 MiB, 94 to 105 ms with this, and 4 to 20% more deliveries.
const FULL_BYTES: usize = 256 << 10;
const FULL: usize = 4_096;

/// A publication.
#[derive(Debug)]
pub(crate) struct Publication {
    /// The command to answer.
    pub(crate) request: RequestId,
    /// What to publish.
    pub(crate) message: Message,
}

/// Publications by topic.
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    /// Ready to be signed when the window of their stream is open.
    ready: BTreeMap<Topic, VecDeque<Publication>>,
    ready_count: usize,
    ready_bytes: usize,
    /// Some of them wait for a window.
    held: bool,
    /// Waiting until their topic is known and somebody can be reached.
    waiting: BTreeMap<Topic, Waiting>,
    waiting_count: usize,
    waiting_bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    publications: VecDeque<Publication>,
    until: Instant,
}

impl Publisher {
    /// A publication that can go out as soon as the window of its stream is open.
    pub(crate) fn ready(&mut self, topic: &Topic, publication: Publication) {
        self.ready_count += 1;
        self.ready_bytes += publication.message.encoded_len();
        match self.ready.get_mut(topic) {
            Some(queue) => queue.push_back(publication),
            None => {
                self.ready.insert(topic.clone(), VecDeque::from([publication]));
            }
        }
    }

    /// How many publications wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting_count + self.ready_count
    }

    /// Takes back all that waits of a topic, for whatever reason, in order.
    pub(crate) fn take_back(&mut self, topic: &Topic) -> Vec<Publication> {
        let ready = self.ready.remove(topic).unwrap_or_default();
        self.ready_count -= ready.len();
        self.ready_bytes -= ready.iter().map(|p| p.message.encoded_len()).sum::<usize>();
        ready.into_iter().chain(self.release(topic)).collect()
    }

    /// Gives up all that waits, for whatever reason.
    pub(crate) fn clear(&mut self) -> Vec<Publication> {
        let Self { ready, waiting, .. } = core::mem::take(self);
        let waiting = waiting.into_values().flat_map(|waiting| waiting.publications);
        ready.into_values().flatten().chain(waiting).collect()
    }

    /// Takes note that all open windows are used. Returns whether publications wait, and did not
    /// before.
    pub(crate) fn hold(&mut self) -> bool {
        !core::mem::replace(&mut self.held, self.ready_count > 0) && self.held
    }

    /// Whether no more are to be taken from applications for now.
    pub(crate) fn is_full(&self) -> bool {
        self.ready_count >= FULL || self.ready_bytes >= FULL_BYTES
    }

    /// Whether there is no room for more, whoever hands them over in spite of that.
    pub(crate) fn is_overfull(&self) -> bool {
        self.ready_count >= WAITING_MAX * 2 || self.ready_bytes >= WAITING_BYTES_MAX
    }

    /// Whether earlier publications to the topic wait, so that later ones must.
    pub(crate) fn is_waiting(&self, topic: &Topic) -> bool {
        self.waiting.contains_key(topic)
    }

    /// Lets a publication wait, until `until` when it is the first of its topic. Gives it back
    /// when there is no room.
    pub(crate) fn wait(
        &mut self,
        topic: &Topic,
        publication: Publication,
        until: Instant,
    ) -> Result<(), Publication> {
        let size = publication.message.encoded_len();
        if self.waiting_count >= WAITING_MAX || self.waiting_bytes + size > WAITING_BYTES_MAX {
            return Err(publication);
        }
        self.waiting_count += 1;
        self.waiting_bytes += size;
        let waiting = self
            .waiting
            .entry(topic.clone())
            .or_insert_with(|| Waiting { publications: VecDeque::new(), until });
        waiting.publications.push_back(publication);
        Ok(())
    }

    /// Ends the waiting of a topic. Returns what waited, in order.
    pub(crate) fn release(&mut self, topic: &Topic) -> VecDeque<Publication> {
        let Some(waiting) = self.waiting.remove(topic) else { return VecDeque::new() };
        self.waiting_count -= waiting.publications.len();
        let bytes: usize = waiting.publications.iter().map(|p| p.message.encoded_len()).sum();
        self.waiting_bytes -= bytes;
        waiting.publications
    }

    /// Topics whose waiting is over.
    pub(crate) fn expired(&self, now: Instant) -> Vec<Topic> {
        let over = self.waiting.iter().filter(|(_, waiting)| waiting.until <= now);
        over.map(|(topic, _)| topic.clone()).collect()
    }

    /// When the next waiting is over.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.until).min()
    }

    /// The next batch to sign, of a topic whose window is open: the topic, what goes into the
    /// batch, and its bytes.
    pub(crate) fn next_batch(
        &mut self,
        is_open: impl Fn(&Topic) -> bool,
    ) -> Option<(Topic, Vec<Publication>, usize)> {
        let (topic, queue) = self.ready.iter_mut().find(|(topic, _)| is_open(topic))?;
        let topic = topic.clone();
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(publication) = queue.front() {
            let size = publication.message.encoded_len();
            // A message that its topic retains is alone in its batch.
            let alone = publication.message.headers.get(RETAIN).is_some();
            let full =
                batch.len() == BATCH_MESSAGES_MAX || bytes + size > BATCH_BYTES_TARGET || alone;
            if full && !batch.is_empty() {
                break;
            }
            bytes += size;
            batch.extend(queue.pop_front());
            if alone {
                break;
            }
        }
        if queue.is_empty() {
            self.ready.remove(&topic);
        }
        self.ready_count -= batch.len();
        self.ready_bytes -= bytes;
        Some((topic, batch, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(size: usize) -> Publication {
        Publication { request: RequestId(0), message: Message::new(vec![0; size]) }
    }

    fn topic() -> Topic {
        Topic::new("t").expect("legal")
    }

    fn sizes(publisher: &mut Publisher) -> Vec<usize> {
        let batches = core::iter::from_fn(|| publisher.next_batch(|_| true));
        batches.map(|(_, batch, _)| batch.len()).collect()
    }

    #[test]
    fn what_came_together_leaves_in_full_batches() {
        let mut publisher = Publisher::default();
        (0..300).for_each(|_| publisher.ready(&topic(), publication(1)));
        publisher.ready(&topic(), publication(1 << 20));
        publisher.ready(&topic(), publication(60 << 10));
        publisher.ready(&topic(), publication(10 << 10));
        assert_eq!(sizes(&mut publisher), [256, 44, 1, 1, 1]);
    }

    #[test]
    fn what_is_retained_is_alone_in_its_batch() {
        let mut publisher = Publisher::default();
        for retain in [false, true, true, false, false] {
            let mut publication = publication(1);
            if retain {
                let headers = publication.message.headers.with(RETAIN, "true");
                publication.message.headers = headers.expect("legal");
            }
            publisher.ready(&topic(), publication);
        }
        assert_eq!(sizes(&mut publisher), [1, 1, 1, 2]);
    }

    #[test]
    fn closed_windows_fill_the_queue_and_hold_up_no_other_topic() {
        let other = Topic::new("a").expect("legal");
        let mut publisher = Publisher::default();
        publisher.ready(&topic(), publication(FULL_BYTES));
        assert!(publisher.is_full() && !publisher.is_overfull());
        publisher.ready(&other, publication(1));
        let next = publisher.next_batch(|topic| *topic == other).expect("open");
        assert_eq!((next.0, next.1.len()), (other, 1));
        assert!(publisher.next_batch(|topic| topic.as_str() == "a").is_none());
        assert_eq!(sizes(&mut publisher), [1]);
        assert!(!publisher.is_full());
        (0..FULL).for_each(|_| publisher.ready(&topic(), publication(0)));
        assert!(publisher.is_full());
        assert_eq!(publisher.waiting(), FULL);
        publisher.wait(&topic(), publication(9), Instant::ZERO).expect("room");
        assert_eq!(publisher.take_back(&topic()).last().map(|p| p.message.body.len()), Some(9));
        assert!(publisher.waiting() == 0 && !publisher.is_full());
    }

    #[test]
    fn waiting_is_bounded_and_ordered() {
        let mut publisher = Publisher::default();
        for _ in 0..WAITING_MAX {
            publisher.wait(&topic(), publication(1), Instant::ZERO).expect("room");
        }
        assert!(publisher.wait(&topic(), publication(1), Instant::ZERO).is_err());
        assert_eq!(publisher.expired(Instant::ZERO), [topic()]);
        assert_eq!(publisher.release(&topic()).len(), WAITING_MAX);
        assert!(publisher.wait(&topic(), publication(17 << 20), Instant::ZERO).is_err());
        assert_eq!(publisher.waiting(), 0);
    }
}
