//! One reader of a journal: its place, what came before it, and what is being read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tidings_proto::wire::batch::Batch;
use tidings_proto::{Origin, Topic};

use super::{Entry, Journal, QueueLimits, Slot};
use crate::delivery::{Delivery, Gap, GapReason, Message};

/// Reads a journal from some place on, after history of its own, if any.
#[derive(Debug)]
pub(crate) struct Reader {
    journal: Arc<Journal>,
    id: u64,
    place: u64,
    /// Tighter than those of the journal, if any.
    limits: Option<QueueLimits>,
    history: VecDeque<Slot>,
    history_messages: u64,
    /// Told before anything else.
    gaps: VecDeque<Gap>,
    /// The batch that is being read, and what is left of it.
    opened: Option<Arc<Batch>>,
    current: VecDeque<Message>,
    /// The retained message that it was given: it does not come again.
    retained: Option<(Origin, u64)>,
    /// How far it has streams from elsewhere that the journal does not continue exactly there.
    known: BTreeMap<Origin, u64>,
    /// The number of the next message.
    ordinal: u64,
    dropped: u64,
}

impl Reader {
    /// Reads what is pushed from now on.
    pub(crate) fn at_end(journal: &Arc<Journal>, limits: Option<QueueLimits>) -> Self {
        let mut inner = journal.lock();
        let (place, ordinal) = (inner.entries.end(), inner.entries.next_ordinal());
        inner.entries.enter(place);
        inner.readers += 1;
        inner.readers_made += 1;
        let id = inner.readers_made;
        drop(inner);
        Self {
            journal: Arc::clone(journal),
            id,
            place,
            limits,
            history: VecDeque::new(),
            history_messages: 0,
            gaps: VecDeque::new(),
            opened: None,
            current: VecDeque::new(),
            retained: None,
            known: BTreeMap::new(),
            ordinal,
            dropped: 0,
        }
    }

    /// The topic.
    pub(crate) fn topic(&self) -> &Topic {
        self.journal.topic()
    }

    /// The journal.
    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Of what is pushed it wants nothing of a stream up to `to`; what is missing after that is a
    /// gap.
    pub(crate) fn knows(&mut self, origin: Origin, to: u64) {
        self.known.insert(origin, to);
    }

    /// From now on what is pushed is kept on disk.
    pub(crate) fn keep(&self) {
        self.journal.set_kept(true);
    }

    /// History that was not read yet.
    pub(crate) fn history(&self) -> impl Iterator<Item = &Slot> {
        self.history.iter()
    }

    /// Puts history before everything that was not read yet. Its messages get the numbers right
    /// before the next message.
    pub(crate) fn prepend(&mut self, history: Vec<Entry>) {
        let messages: u64 = history.iter().map(Entry::messages).sum();
        let mut ordinal = self.ordinal.saturating_sub(messages);
        let number = |entry: Entry| {
            let slot = Slot { ordinal, entry };
            ordinal += slot.entry.messages();
            slot
        };
        let numbered = history.into_iter().map(number).collect();
        self.resume(numbered);
    }

    /// Puts the message that the topic retains before everything that was not read yet, unless it
    /// has come by now.
    pub(crate) fn begin_with(&mut self, batch: &Arc<Batch>) {
        let (origin, seq) = (batch.header().origin, batch.header().first_seq);
        let journal = Arc::clone(&self.journal);
        let came = journal.lock().entries.from(self.place).any(|slot| slot.entry.has(origin, seq));
        if !came && !self.history.iter().any(|slot| slot.entry.has(origin, seq)) {
            self.prepend(vec![Entry::Retained(Arc::clone(batch))]);
        }
    }

    /// Puts numbered history before everything that was not read yet.
    pub(crate) fn resume(&mut self, history: Vec<Slot>) {
        if let Some(first) = history.first() {
            self.ordinal = first.ordinal;
        }
        self.history_messages += history.iter().map(|slot| slot.entry.messages()).sum::<u64>();
        for slot in history.into_iter().rev() {
            self.history.push_front(slot);
        }
    }

    /// Takes over what a reader of a former topic of the same name has not read, to be read
    /// first.
    pub(crate) fn inherit(&mut self, former: &mut Self) {
        let mut unread = Vec::new();
        if let (Some(batch), Some(next)) = (former.opened.take(), former.current.front()) {
            let entry = Entry::Batch { batch, from_seq: next.seq };
            unread.push(Slot { entry, ordinal: former.ordinal });
        }
        former.current.clear();
        self.gaps.append(&mut former.gaps);
        while let Some(slot) = former.take() {
            unread.push(slot);
        }
        self.gaps.append(&mut former.gaps);
        self.resume(unread);
    }

    /// The next delivery; `Ready(None)` after the last one of a closed journal.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let journal = Arc::clone(&self.journal);
        let mut inner = loop {
            if let Some(delivery) = self.try_next() {
                return Poll::Ready(Some(delivery));
            }
            let inner = journal.lock();
            // Unless something came between the two looks.
            if inner.entries.end() <= self.place {
                break inner;
            }
        };
        if inner.closed {
            return Poll::Ready(None);
        }
        inner.park(self.id, cx.waker());
        Poll::Pending
    }

    /// The next delivery, if there is one. What was lost comes first, then what was being read,
    /// then history, then what is live.
    pub(crate) fn try_next(&mut self) -> Option<Delivery> {
        loop {
            if let Some(message) = self.current.pop_front() {
                self.ordinal += 1;
                return Some(Delivery::Message(message));
            }
            if let Some(gap) = self.gaps.pop_front() {
                return Some(Delivery::Gap(gap));
            }
            let Some(slot) = self.take() else {
                return self.gaps.pop_front().map(Delivery::Gap);
            };
            if let Some(gap) = self.gaps.pop_front() {
                // What was lost precedes what was taken.
                self.history_messages += slot.entry.messages();
                self.history.push_front(slot);
                return Some(Delivery::Gap(gap));
            }
            self.ordinal = slot.ordinal;
            match slot.entry {
                Entry::Batch { batch, from_seq } => self.open(batch, from_seq),
                Entry::Retained(batch) => {
                    let header = batch.header();
                    self.retained = Some((header.origin, header.first_seq));
                    let message = batch.messages().next();
                    let message = message.map(|(seq, m)| Message::new(batch.header(), seq, m));
                    self.current.extend(message.map(|m| Message { retained: true, ..m }));
                }
                Entry::Gap { origin, from, to, reason } => {
                    return Some(Delivery::Gap(self.gap(origin, (from, to), reason)));
                }
                Entry::TopicDeleted => return Some(Delivery::TopicDeleted(self.topic().clone())),
            }
        }
    }

    /// The next entry of history or of the journal. What was lost before it goes to `gaps`.
    fn take(&mut self) -> Option<Slot> {
        if let Some(slot) = self.history.pop_front() {
            self.history_messages -= slot.entry.messages();
            return Some(slot);
        }
        loop {
            let slot = self.take_pushed()?;
            if let Some(news) = self.news_of(slot) {
                return Some(news);
            }
        }
    }

    fn take_pushed(&mut self) -> Option<Slot> {
        let journal = Arc::clone(&self.journal);
        let mut inner = journal.lock();
        let entries = &mut inner.entries;
        let mut place = self.place;
        let trimmed = entries.lost(place);
        let mut lost = Vec::new();
        if let Some((what, next)) = trimmed {
            self.dropped += what.messages;
            lost.extend(what.ranges);
            place = next;
        }
        if let Some(limits) = self.limits {
            let (what, next) = entries.skip(place, limits);
            self.dropped += what.messages;
            journal.dropped_total.fetch_add(what.messages, Ordering::Relaxed);
            lost.extend(what.ranges);
            place = next;
        }
        let slot = entries.get(place).cloned();
        let next = place + u64::from(slot.is_some());
        if next != self.place {
            entries.advance(self.place, next);
            self.place = next;
        }
        drop(inner);
        lost.into_iter().for_each(|(origin, range)| self.lose(origin, range));
        slot
    }

    /// What of a pushed entry is not known from elsewhere.
    fn news_of(&mut self, mut slot: Slot) -> Option<Slot> {
        if self.known.is_empty() {
            return Some(slot);
        }
        let Slot { entry, ordinal } = &mut slot;
        match entry {
            Entry::Batch { batch, from_seq } => {
                let range = (*from_seq, batch.header().last_seq());
                let news = self.first_news(batch.header().origin, range)?;
                *ordinal += news - *from_seq;
                *from_seq = news;
            }
            Entry::Gap { origin, from, to, .. } => {
                *from = self.first_news(*origin, (*from, *to))?;
            }
            Entry::Retained(_) | Entry::TopicDeleted => {}
        }
        Some(slot)
    }

    /// The first number of a pushed range that is not known from elsewhere, if any is. What is
    /// missing before it goes to `gaps`.
    fn first_news(&mut self, origin: Origin, (from, to): (u64, u64)) -> Option<u64> {
        let Some(&known) = self.known.get(&origin) else { return Some(from) };
        if to <= known {
            return None;
        }
        self.known.remove(&origin);
        if from > known + 1 {
            let gap = self.gap(origin, (known + 1, from - 1), GapReason::Unavailable);
            self.gaps.push_back(gap);
        }
        Some(from.max(known + 1))
    }

    /// Two losses of a stream that follow each other are told as one.
    fn lose(&mut self, origin: Origin, (from, to): (u64, u64)) {
        let Some(from) = self.first_news(origin, (from, to)) else { return };
        let same = |gap: &&mut Gap| {
            gap.origin == origin.node && gap.incarnation == origin.incarnation && gap.to + 1 == from
        };
        if let Some(gap) = self.gaps.iter_mut().find(same) {
            gap.to = to;
        } else {
            let gap = self.gap(origin, (from, to), GapReason::SlowConsumer);
            self.gaps.push_back(gap);
        }
    }

    fn gap(&self, origin: Origin, (from, to): (u64, u64), reason: GapReason) -> Gap {
        Gap::new(self.topic().clone(), origin, from, to, reason)
    }

    fn open(&mut self, batch: Arc<Batch>, from_seq: u64) {
        if self.retained.is_some_and(|(origin, seq)| {
            let header = batch.header();
            header.origin == origin && header.first_seq == seq && header.last_seq() == seq
        }) {
            self.ordinal += 1;
            return;
        }
        let wanted = batch.messages().filter(|&(seq, _)| seq >= from_seq);
        self.current.extend(wanted.map(|(seq, m)| Message::new(batch.header(), seq, m)));
        self.opened = Some(batch);
    }

    /// The number of the next message that is not read.
    pub(crate) fn ordinal(&self) -> u64 {
        self.ordinal
    }

    /// Messages that wait to be read.
    pub(crate) fn len(&self) -> usize {
        let inner = self.journal.lock();
        let mut live = inner.entries.backlog(self.place).messages;
        if let Some(limits) = self.limits {
            live = live.min(limits.messages_max as u64);
        }
        let known = self.history_messages + self.current.len() as u64;
        usize::try_from(known + live).unwrap_or(usize::MAX)
    }

    /// Messages lost so far because they were not read in time.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether nothing follows what waits to be read.
    pub(crate) fn is_closed(&self) -> bool {
        self.journal.is_closed()
    }

    /// Whether everything was read and nothing follows.
    pub(crate) fn is_finished(&self) -> bool {
        let inner = self.journal.lock();
        inner.closed
            && inner.entries.end() == self.place
            && self.history.is_empty()
            && self.current.is_empty()
            && self.gaps.is_empty()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut inner = self.journal.lock();
        inner.entries.leave(self.place);
        inner.readers -= 1;
        inner.wakers.remove(&self.id);
    }
}
