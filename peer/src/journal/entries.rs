//! The unread messages of one topic, held once for all who read them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tidings_proto::Origin;
use tidings_proto::wire::batch::Batch;

use super::QueueLimits;
use crate::delivery::GapReason;

/// Streams for which lost ranges are remembered per place where somebody reads; what is lost of
/// further streams is only counted. As many as a topic's streams (design §4.10).
const LOST_STREAMS_MAX: usize = 65_536;

/// Something that happened in a topic.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// Messages of `batch` from a sequence number on.
    Batch {
        /// All of the batch.
        batch: Arc<Batch>,
        /// The first message that counts.
        from_seq: u64,
    },
    /// The message that the topic retains, alone in its batch. Only in the history of a reader.
    Retained(Arc<Batch>),
    /// Messages that nobody could supply.
    Gap {
        /// The stream.
        origin: Origin,
        /// First missing number.
        from: u64,
        /// Last missing number.
        to: u64,
        /// Why.
        reason: GapReason,
    },
    /// The host deleted the topic.
    TopicDeleted,
}

/// An entry and the numbers of its messages.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// What happened.
    pub(crate) entry: Entry,
    /// The number of its first message among all messages of the topic at this peer.
    pub(crate) ordinal: u64,
}

/// What somebody lost: ranges by stream, and how many messages that is.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    /// First and last missing number.
    pub(crate) ranges: BTreeMap<Origin, (u64, u64)>,
    /// Messages.
    pub(crate) messages: u64,
}

/// What everybody who reads at one place shares.
#[derive(Debug, Default)]
struct Mark {
    readers: u64,
    lost: Lost,
}

#[derive(Debug)]
struct Kept {
    slot: Slot,
    /// Bytes of all entries before this one.
    offset: u64,
}

/// Entries that somebody has not read yet, in order. A place is the count of all entries before
/// it since the journal began.
///
/// What is trimmed though somebody has not read it is remembered between the places at which
/// somebody reads, so the memory does not grow with what is lost.
#[derive(Debug)]
pub(crate) struct Entries {
    kept: VecDeque<Kept>,
    /// The place of the first kept entry.
    base: u64,
    next_ordinal: u64,
    next_offset: u64,
    marks: BTreeMap<u64, Mark>,
}

impl Entry {
    /// How many messages it has.
    pub(crate) fn messages(&self) -> u64 {
        match self {
            Self::Batch { batch, from_seq } => {
                (batch.header().last_seq() + 1).saturating_sub(*from_seq)
            }
            Self::Retained(_) => 1,
            _ => 0,
        }
    }

    /// Whether it has a message of a stream.
    pub(crate) fn has(&self, origin: Origin, seq: u64) -> bool {
        match self {
            Self::Batch { batch, from_seq } => {
                let header = batch.header();
                header.origin == origin && (*from_seq..=header.last_seq()).contains(&seq)
            }
            _ => false,
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Batch { batch, .. } => batch.bytes().len() as u64,
            _ => 0,
        }
    }
}

impl Lost {
    fn add(&mut self, entry: &Entry) {
        self.messages += entry.messages();
        match entry {
            Entry::Batch { batch, from_seq } => {
                self.range(batch.header().origin, *from_seq, batch.header().last_seq());
            }
            Entry::Gap { origin, from, to, .. } => self.range(*origin, *from, *to),
            Entry::Retained(_) | Entry::TopicDeleted => {}
        }
    }

    /// Streams are kept in order, so what is lost of one is one range.
    fn range(&mut self, origin: Origin, from: u64, to: u64) {
        if let Some((_, last)) = self.ranges.get_mut(&origin) {
            *last = to.max(*last);
        } else if self.ranges.len() < LOST_STREAMS_MAX {
            self.ranges.insert(origin, (from, to));
        }
    }

    /// Adds what was lost after this.
    fn append(&mut self, later: &Self) {
        self.messages += later.messages;
        for (origin, (from, to)) in &later.ranges {
            self.range(*origin, *from, *to);
        }
    }
}

impl Entries {
    /// Nothing yet; the first message gets the number `ordinal`.
    pub(crate) fn new(ordinal: u64) -> Self {
        Self {
            kept: VecDeque::new(),
            base: 0,
            next_ordinal: ordinal,
            next_offset: 0,
            marks: BTreeMap::new(),
        }
    }

    /// Adds an entry. Returns the number of its first message, and how many messages somebody
    /// lost for want of room, each counted once for everybody who lost it.
    pub(crate) fn push(&mut self, entry: Entry, limits: QueueLimits) -> (u64, u64) {
        let ordinal = self.next_ordinal;
        self.next_ordinal += entry.messages();
        if self.marks.is_empty() {
            self.base += 1;
            return (ordinal, 0);
        }
        let offset = self.next_offset;
        self.next_offset += entry.bytes();
        self.kept.push_back(Kept { slot: Slot { entry, ordinal }, offset });
        (ordinal, self.make_room(limits))
    }

    /// The newest entry stays even when it alone is over the limits: a message of the largest
    /// legal size can always be received.
    fn make_room(&mut self, limits: QueueLimits) -> u64 {
        let mut lost = 0;
        while self.kept.len() > 1
            && (self.backlog(self.base).over(limits) || self.kept.len() > limits.messages_max)
        {
            let Some(oldest) = self.kept.pop_front() else { break };
            let entry = &oldest.slot.entry;
            let readers: u64 = self.marks.range(..=self.base).map(|(_, mark)| mark.readers).sum();
            lost += entry.messages() * readers;
            if let Some((_, mark)) = self.marks.range_mut(..=self.base).next_back() {
                mark.lost.add(entry);
            }
            self.base += 1;
        }
        lost
    }

    /// The place after the last entry.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.kept.len() as u64
    }

    /// The number that the next message gets.
    pub(crate) fn next_ordinal(&self) -> u64 {
        self.next_ordinal
    }

    /// Somebody reads from `place` on.
    pub(crate) fn enter(&mut self, place: u64) {
        self.marks.entry(place).or_default().readers += 1;
    }

    /// Somebody who read from `place` on does so no more. Entries that nobody waits for go.
    pub(crate) fn leave(&mut self, place: u64) {
        let Some(mark) = self.marks.get_mut(&place) else { return };
        mark.readers -= 1;
        if mark.readers == 0 {
            let gone = self.marks.remove(&place).unwrap_or_default();
            // Who reads from further back has lost that as well.
            if let Some((_, before)) = self.marks.range_mut(..place).next_back() {
                before.lost.append(&gone.lost);
            }
        }
        let wanted = self.marks.keys().next().copied().unwrap_or_else(|| self.end());
        while self.base < wanted && self.kept.pop_front().is_some() {
            self.base += 1;
        }
    }

    /// Moves somebody from one place to another.
    pub(crate) fn advance(&mut self, from: u64, to: u64) {
        self.enter(to);
        self.leave(from);
    }

    /// The entry at a place.
    pub(crate) fn get(&self, place: u64) -> Option<&Slot> {
        let index = usize::try_from(place.checked_sub(self.base)?).ok()?;
        self.kept.get(index).map(|kept| &kept.slot)
    }

    /// The entries from a place on.
    pub(crate) fn from(&self, place: u64) -> impl Iterator<Item = &Slot> {
        let index = usize::try_from(place.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.kept.iter().skip(index).map(|kept| &kept.slot)
    }

    /// What somebody who reads from `place` on has lost, and where the next entry is.
    pub(crate) fn lost(&self, place: u64) -> Option<(Lost, u64)> {
        if place >= self.base {
            return None;
        }
        let mut lost = Lost::default();
        for (_, mark) in self.marks.range(place..self.base) {
            lost.append(&mark.lost);
        }
        Some((lost, self.base))
    }

    /// Where somebody with limits of their own goes on, and what they lose by that.
    pub(crate) fn skip(&self, place: u64, limits: QueueLimits) -> (Lost, u64) {
        let mut lost = Lost::default();
        let mut at = place.max(self.base);
        while at + 1 < self.end() && self.backlog(at).over(limits) {
            if let Some(slot) = self.get(at) {
                lost.add(&slot.entry);
            }
            at += 1;
        }
        (lost, at)
    }

    /// How much there is from `place` on.
    pub(crate) fn backlog(&self, place: u64) -> Backlog {
        let index = usize::try_from(place.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let Some(first) = self.kept.get(index) else { return Backlog::default() };
        Backlog {
            messages: self.next_ordinal - first.slot.ordinal,
            bytes: self.next_offset - first.offset,
        }
    }
}

/// What waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// Messages.
    pub(crate) messages: u64,
    /// Bytes of their batches.
    pub(crate) bytes: u64,
}

impl Backlog {
    fn over(self, limits: QueueLimits) -> bool {
        self.messages > limits.messages_max as u64 || self.bytes > limits.bytes_max as u64
    }
}
