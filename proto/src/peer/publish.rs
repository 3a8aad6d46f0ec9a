//! Publications that wait to be signed.
//!
//! The driver hands over all commands that are ready before it drains the machine. What came
//! together leaves together: one message when idle, full batches under load.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::id::{RequestId, Topic};
use crate::time::Instant;
use crate::wire::batch::{BATCH_BYTES_TARGET, BATCH_MESSAGES_MAX, Batch, BatchHeader, Message};
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

/// A batch that was signed, and has not been sent.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// The batch.
    pub(crate) batch: Arc<Batch>,
    /// The commands to answer, one for each message.
    pub(crate) requests: Vec<RequestId>,
    /// What its messages take in a batch.
    pub(crate) bytes: usize,
}

/// Publications by topic.
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    /// Ready to be signed when the window of their stream is open.
    ready: BTreeMap<Topic, VecDeque<Publication>>,
    /// Signed already, and ahead of those: batches that wait for the window.
    sealed: BTreeMap<Topic, VecDeque<Sealed>>,
    /// Of both.
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

    /// Takes back all that waits of a topic and is not signed, for whatever reason, in order.
    pub(crate) fn take_back(&mut self, topic: &Topic) -> Vec<Publication> {
        let ready = self.ready.remove(topic).unwrap_or_default();
        self.ready_count -= ready.len();
        self.ready_bytes -= ready.iter().map(|p| p.message.encoded_len()).sum::<usize>();
        ready.into_iter().chain(self.release(topic)).collect()
    }

    /// Gives up all that waits, for whatever reason.
    pub(crate) fn clear(&mut self) -> Vec<Publication> {
        let Self { sealed, ready, waiting, .. } = core::mem::take(self);
        let sealed = sealed.into_values().flatten().flat_map(Sealed::open);
        let waiting = waiting.into_values().flat_map(|waiting| waiting.publications);
        sealed.chain(ready.into_values().flatten()).chain(waiting).collect()
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

    /// Topics with publications to sign, whose window is open and of which nothing is signed.
    pub(crate) fn unsealed(&self, is_open: impl Fn(&Topic) -> bool) -> Vec<Topic> {
        let topics = self.ready.keys();
        let next = topics.filter(|topic| !self.sealed.contains_key(*topic) && is_open(topic));
        next.cloned().collect()
    }

    /// The next batch to sign of a topic, and its bytes; only if it is full, unless it is to go out
    /// `now`.
    pub(crate) fn cut(&mut self, topic: &Topic, now: bool) -> Option<(Vec<Publication>, usize)> {
        let queue = self.ready.get_mut(topic)?;
        let (count, bytes, is_full) = measure(queue);
        // Of what a topic retains the newest stands, by when it was signed: that is when it goes.
        if !now && (!is_full || queue.front().is_some_and(is_retained)) {
            return None;
        }
        let batch = queue.drain(..count).collect();
        if queue.is_empty() {
            self.ready.remove(topic);
        }
        Some((batch, bytes))
    }

    /// A batch was signed. It counts as waiting until it is sent.
    pub(crate) fn seal(&mut self, sealed: Sealed) {
        let topic = &sealed.batch.header().topic;
        match self.sealed.get_mut(topic) {
            Some(queue) => queue.push_back(sealed),
            None => {
                self.sealed.insert(topic.clone(), VecDeque::from([sealed]));
            }
        }
    }

    /// The next batch to send, of a topic whose window is open.
    pub(crate) fn next_sealed(&self, is_open: impl Fn(&Topic) -> bool) -> Option<&Arc<Batch>> {
        let (_, queue) = self.sealed.iter().find(|(topic, _)| is_open(topic))?;
        queue.front().map(|next| &next.batch)
    }

    /// The next batch of a topic is sent.
    pub(crate) fn pop_sealed(&mut self, topic: &Topic) -> Option<Sealed> {
        let queue = self.sealed.get_mut(topic)?;
        let next = queue.pop_front()?;
        if queue.is_empty() {
            self.sealed.remove(topic);
        }
        self.ready_count -= next.requests.len();
        self.ready_bytes -= next.bytes;
        Some(next)
    }

    /// Takes apart the batches of a topic that were signed: what they hold is to be signed again.
    /// Returns what was said of the first.
    pub(crate) fn unseal(&mut self, topic: &Topic) -> Option<BatchHeader> {
        let sealed = self.sealed.remove(topic)?;
        let first = sealed.front()?.batch.header().clone();
        let ready = self.ready.remove(topic).unwrap_or_default();
        let unsealed = sealed.into_iter().flat_map(Sealed::open);
        self.ready.insert(topic.clone(), unsealed.chain(ready).collect());
        Some(first)
    }
}

impl Sealed {
    fn open(self) -> Vec<Publication> {
        let messages = self.batch.messages().map(|(_, message)| message);
        let publication = |(request, message)| Publication { request, message };
        self.requests.into_iter().zip(messages).map(publication).collect()
    }
}

fn is_retained(publication: &Publication) -> bool {
    publication.message.headers.get(RETAIN).is_some()
}

/// How many publications make the next batch, their bytes, and whether no more would find room.
fn measure(queue: &VecDeque<Publication>) -> (usize, usize, bool) {
    let (mut count, mut bytes) = (0, 0);
    for publication in queue {
        let size = publication.message.encoded_len();
        // A message that its topic retains is alone in its batch.
        let alone = is_retained(publication);
        let fits = count < BATCH_MESSAGES_MAX && bytes + size <= BATCH_BYTES_TARGET && !alone;
        if count > 0 && !fits {
            return (count, bytes, true);
        }
        count += 1;
        bytes += size;
        if alone {
            return (count, bytes, true);
        }
    }
    (count, bytes, count >= BATCH_MESSAGES_MAX || bytes >= BATCH_BYTES_TARGET)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Signer;
    use crate::id::{Incarnation, Origin};

    fn publication(size: usize) -> Publication {
        Publication { request: RequestId(0), message: Message::new(vec![0; size]) }
    }

    fn retained() -> Publication {
        let mut publication = publication(1);
        let headers = publication.message.headers.with(RETAIN, "true");
        publication.message.headers = headers.expect("legal");
        publication
    }

    fn topic() -> Topic {
        Topic::new("t").expect("legal")
    }

    fn sizes(publisher: &mut Publisher) -> Vec<usize> {
        let batches = core::iter::from_fn(|| publisher.cut(&topic(), true));
        batches.map(|(batch, _)| batch.len()).collect()
    }

    /// Signs the next batch of a topic.
    fn seal(publisher: &mut Publisher, topic: &Topic, first_seq: u64) {
        let signer = Signer::ed25519(&[7; 32]);
        let (publications, bytes) = publisher.cut(topic, true).expect("there is one");
        let (requests, messages): (Vec<_>, Vec<_>) =
            publications.into_iter().map(|p| (p.request, p.message)).unzip();
        let header = BatchHeader {
            topic: topic.clone(),
            origin: Origin { node: signer.node(), incarnation: Incarnation(1) },
            address: ([127, 0, 0, 1], 1).into(),
            generation: 1,
            first_seq,
            published_at_us: 0,
            count: 0,
        };
        let batch = Batch::sign(header, &messages, &signer);
        publisher.seal(Sealed { batch, requests, bytes });
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
            publisher.ready(&topic(), if retain { retained() } else { publication(1) });
        }
        assert_eq!(sizes(&mut publisher), [1, 1, 1, 2]);
    }

    #[test]
    fn only_full_batches_are_signed_ahead() {
        let mut publisher = Publisher::default();
        let size = BATCH_BYTES_TARGET / 4;
        (0..9).for_each(|_| publisher.ready(&topic(), publication(size - 6)));
        let ahead = core::iter::from_fn(|| publisher.cut(&topic(), false));
        assert_eq!(ahead.map(|(batch, _)| batch.len()).collect::<Vec<_>>(), [4, 4]);
        assert_eq!(publisher.cut(&topic(), true).map(|(_, bytes)| bytes), Some(size));
        publisher.ready(&topic(), publication(BATCH_BYTES_TARGET));
        assert!(publisher.cut(&topic(), false).is_some(), "larger than a batch");
        (0..BATCH_MESSAGES_MAX).for_each(|_| publisher.ready(&topic(), publication(0)));
        assert!(publisher.cut(&topic(), false).is_some(), "as many as there may be");
        publisher.ready(&topic(), retained());
        (0..2).for_each(|_| publisher.ready(&topic(), publication(BATCH_BYTES_TARGET)));
        assert!(publisher.cut(&topic(), false).is_none(), "signed when it goes");
        assert_eq!(publisher.cut(&topic(), true).map(|(batch, _)| batch.len()), Some(1));
        assert!(publisher.cut(&topic(), false).is_some());
    }

    #[test]
    fn closed_windows_fill_the_queue_and_hold_up_no_other_topic() {
        let other = Topic::new("a").expect("legal");
        let mut publisher = Publisher::default();
        publisher.ready(&topic(), publication(FULL_BYTES));
        publisher.ready(&other, publication(1));
        assert_eq!(publisher.unsealed(|topic| *topic == other), std::slice::from_ref(&other));
        for topic in [topic(), other.clone()] {
            seal(&mut publisher, &topic, 1);
        }
        assert!(publisher.is_full() && !publisher.is_overfull(), "what is signed waits");
        assert_eq!(publisher.unsealed(|_| true), [], "one of each is signed");
        let next = publisher.next_sealed(|topic| *topic == other).expect("open");
        assert_eq!(next.header().topic, other);
        assert!(publisher.pop_sealed(&other).is_some() && publisher.pop_sealed(&other).is_none());
        assert!(publisher.next_sealed(|topic| *topic == other).is_none() && publisher.is_full());
        assert!(publisher.pop_sealed(&topic()).is_some() && !publisher.is_full());
        (0..FULL).for_each(|_| publisher.ready(&topic(), publication(0)));
        assert!(publisher.is_full());
        assert_eq!(publisher.waiting(), FULL);
        publisher.wait(&topic(), publication(9), Instant::ZERO).expect("room");
        assert_eq!(publisher.take_back(&topic()).last().map(|p| p.message.body.len()), Some(9));
        assert!(publisher.waiting() == 0 && !publisher.is_full());
    }

    #[test]
    fn what_was_signed_is_taken_apart_in_order() {
        let mut publisher = Publisher::default();
        for number in 0..600_u64 {
            let message = Message::new(number.to_be_bytes().to_vec());
            publisher.ready(&topic(), Publication { request: RequestId(number), message });
        }
        seal(&mut publisher, &topic(), 7);
        seal(&mut publisher, &topic(), 7 + BATCH_MESSAGES_MAX as u64);
        assert_eq!(publisher.unseal(&topic()).map(|first| first.first_seq), Some(7));
        assert!(publisher.unseal(&topic()).is_none());
        assert_eq!(publisher.waiting(), 600);
        seal(&mut publisher, &topic(), 7);
        let all = publisher.clear();
        assert!(publisher.waiting() == 0 && publisher.clear().is_empty());
        assert_eq!(all.len(), 600);
        for (number, publication) in (0..).zip(all) {
            assert_eq!(publication.request, RequestId(number));
            assert_eq!(publication.message.body[..], number.to_be_bytes());
        }
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
