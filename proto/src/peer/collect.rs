//! Collecting the history of a topic: whom to ask, what was found, and what of it is the answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use core::time::Duration;

use crate::id::{LinkId, NodeId, Origin, RequestId, Topic};
use crate::peer::event::{From, Passage};
use crate::time::Instant;
use crate::wire::batch::Batch;
use crate::wire::frame::{RANGES_MAX, Range};

/// The most collections at once; one more is refused.
pub(crate) const COLLECTIONS_MAX: usize = 256;
/// The most bytes of batches in one collection, as much as a topic retains by default.
pub(crate) const COLLECTION_BYTES_MAX: usize = 64 << 20;
/// As many neighbours are asked. Each is told what is here already, so the second and the third
/// send what the first has missed.
pub(crate) const SOURCES: usize = 3;
/// No more than these are asked, whatever they answer: a peer's usual neighbours.
pub(crate) const ASKED_MAX: usize = 8;
/// A neighbour that says nothing for so long is passed over.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Who has just subscribed waits so long for neighbours to be linked: a dial with its handshake
/// takes a few round trips.
pub(crate) const LINKS_WITHIN: Duration = Duration::from_millis(1_500);
/// While it waits for neighbours it looks for them this often.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Batches by stream and first number, with the time of their publication.
pub(crate) type Found = BTreeMap<(Origin, u64), (Arc<Batch>, Instant)>;

/// A history that is being collected.
#[derive(Debug)]
pub(crate) struct Collection {
    /// The topic.
    pub(crate) topic: Topic,
    /// Where the history begins.
    pub(crate) from: From,
    /// How far streams were received already.
    pub(crate) received: BTreeMap<Origin, u64>,
    /// When the application asked.
    pub(crate) since: Instant,
    /// Neighbours that were asked.
    pub(crate) asked: Vec<NodeId>,
    /// How many of them take part in the topic, as far as they have answered. Who was just
    /// leaving it has nothing, and counts for nothing.
    pub(crate) answered: usize,
    /// The question that is open, and whom it went to.
    pub(crate) open: Option<(RequestId, LinkId)>,
    /// What neighbours sent.
    pub(crate) found: Found,
    bytes: usize,
    /// When to look at it again.
    pub(crate) due: Instant,
}

/// All collections that are under way, by the application's request.
#[derive(Debug, Default)]
pub(crate) struct Collections {
    open: BTreeMap<RequestId, Collection>,
}

impl Collection {
    /// Nothing was asked yet.
    pub(crate) fn new(
        topic: Topic,
        from: From,
        received: BTreeMap<Origin, u64>,
        now: Instant,
    ) -> Self {
        Self {
            topic,
            from,
            received,
            since: now,
            asked: Vec::new(),
            answered: 0,
            open: None,
            found: Found::new(),
            bytes: 0,
            due: now,
        }
    }

    /// Whether nothing is wanted but the message that the topic retains.
    pub(crate) fn wants_only_value(&self) -> bool {
        self.from == From::New && self.received.is_empty()
    }

    /// Keeps a batch. Returns whether there was room for it.
    pub(crate) fn offer(&mut self, batch: &Arc<Batch>, published: Instant) -> bool {
        if self.is_full() {
            return false;
        }
        let key = (batch.header().origin, batch.header().first_seq);
        if self.found.insert(key, (Arc::clone(batch), published)).is_none() {
            self.bytes += batch.bytes().len();
        }
        true
    }

    /// Whether nothing more is taken.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= COLLECTION_BYTES_MAX
    }
}

impl Collections {
    /// Whether one more finds room.
    pub(crate) fn has_room(&self) -> bool {
        self.open.len() < COLLECTIONS_MAX
    }

    /// Begins one.
    pub(crate) fn begin(&mut self, request: RequestId, collection: Collection) {
        self.open.insert(request, collection);
    }

    pub(crate) fn get_mut(&mut self, request: RequestId) -> Option<&mut Collection> {
        self.open.get_mut(&request)
    }

    /// Ends one.
    pub(crate) fn end(&mut self, request: RequestId) -> Option<Collection> {
        self.open.remove(&request)
    }

    /// The one that waits for an answer of `link` to `question`.
    pub(crate) fn answered(&self, question: RequestId, link: LinkId) -> Option<RequestId> {
        let waits = |collection: &Collection| collection.open == Some((question, link));
        self.open.iter().find(|(_, one)| waits(one)).map(|(&request, _)| request)
    }

    /// Those that wait for batches of a topic from `link`.
    pub(crate) fn asking(
        &mut self,
        topic: &Topic,
        link: LinkId,
    ) -> impl Iterator<Item = &mut Collection> {
        let asks = move |one: &&mut Collection| {
            one.topic == *topic && one.open.is_some_and(|(_, asked)| asked == link)
        };
        self.open.values_mut().filter(asks)
    }

    /// One whose time has come.
    pub(crate) fn pop_due(&self, now: Instant) -> Option<RequestId> {
        self.open.iter().find(|(_, one)| one.due <= now).map(|(&request, _)| request)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.open.values().map(|one| one.due).min()
    }
}

/// What of `found` belongs to a history that begins at `from`, in order of publication; each
/// stream stays in its own order whatever its publisher's clock did. Of streams that were
/// `received` it is what follows.
pub(crate) fn arrange(
    found: Found,
    from: From,
    received: &BTreeMap<Origin, u64>,
    now: Instant,
) -> Vec<Passage> {
    let newest = newest_life(&found, from);
    let mut latest: BTreeMap<Origin, Instant> = BTreeMap::new();
    let mut ordered = Vec::new();
    for ((origin, first), (batch, published)) in found {
        let last = batch.header().last_seq();
        let from_seq = match (received.get(&origin), from) {
            (Some(known), _) if last <= *known => continue,
            (Some(known), _) => first.max(known + 1),
            (None, From::New) => continue,
            (None, From::Since(age)) if now.since(published) > age => continue,
            (None, From::Stream { origin: node, seq, .. }) => {
                let wanted = origin.node == node && Some(origin) == newest;
                if !wanted || last < seq {
                    continue;
                }
                first.max(seq)
            }
            _ => first,
        };
        let latest = latest.entry(origin).or_insert(published);
        *latest = published.max(*latest);
        ordered.push((*latest, origin, from_seq, batch));
    }
    ordered.sort_by_key(|&(published, origin, from_seq, _)| (published, origin, from_seq));
    if let From::Last(count) = from {
        cut(&mut ordered, count, received);
    }
    let batches = ordered.into_iter().map(|(_, _, from_seq, batch)| (batch, from_seq));
    with_gaps(batches, received)
}

fn newest_life(found: &Found, from: From) -> Option<Origin> {
    let From::Stream { origin: node, incarnation, .. } = from else { return None };
    let lives = found.keys().map(|&(origin, _)| origin).filter(|origin| origin.node == node);
    match incarnation {
        Some(incarnation) => Some(Origin { node, incarnation }),
        None => lives.max_by_key(|origin| origin.incarnation),
    }
}

/// Leaves the last `count` messages, and all of streams that were `received`.
fn cut(
    ordered: &mut Vec<(Instant, Origin, u64, Arc<Batch>)>,
    count: u64,
    received: &BTreeMap<Origin, u64>,
) {
    let mut left = count;
    let mut kept = Vec::with_capacity(ordered.len());
    for (published, origin, from_seq, batch) in ordered.drain(..).rev() {
        let messages = batch.header().last_seq() + 1 - from_seq;
        if received.contains_key(&origin) {
            kept.push((published, origin, from_seq, batch));
        } else if left > 0 {
            let from_seq = from_seq + messages.saturating_sub(left);
            left = left.saturating_sub(messages);
            kept.push((published, origin, from_seq, batch));
        }
    }
    kept.reverse();
    *ordered = kept;
}

/// Batches in the order of the list, with what is missing between two of a stream, and after what
/// was `received` of it.
fn with_gaps(
    batches: impl Iterator<Item = (Arc<Batch>, u64)>,
    received: &BTreeMap<Origin, u64>,
) -> Vec<Passage> {
    let after = |(&origin, &seq): (&Origin, &u64)| (origin, seq.saturating_add(1));
    let mut next: BTreeMap<Origin, u64> = received.iter().map(after).collect();
    let mut passages = Vec::new();
    for (batch, from_seq) in batches {
        let (origin, after) = (batch.header().origin, batch.header().last_seq() + 1);
        let expected = next.insert(origin, after).unwrap_or(from_seq);
        if expected < from_seq {
            passages.push(Passage::Gap { origin, from: expected, to: from_seq - 1 });
        }
        passages.push(Passage::Batch { batch, from_seq: from_seq.max(expected) });
    }
    passages
}

/// What a set of batches and what was `received` cover, as ranges, the longest first.
pub(crate) fn ranges<'a>(
    batches: impl Iterator<Item = &'a Arc<Batch>>,
    received: &BTreeMap<Origin, u64>,
) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for batch in batches {
        let (origin, from) = (batch.header().origin, batch.header().first_seq);
        let to = batch.header().last_seq();
        match ranges.last_mut() {
            Some(last) if last.origin == origin && last.to + 1 == from => last.to = to,
            _ => ranges.push(Range { origin, from, to }),
        }
    }
    ranges.extend(received.iter().map(|(&origin, &to)| Range { origin, from: 1, to }));
    ranges.sort_by_key(|range| core::cmp::Reverse(range.to.saturating_sub(range.from)));
    ranges.truncate(RANGES_MAX);
    ranges
}

#[cfg(test)]
#[path = "collect_tests.rs"]
mod tests;
