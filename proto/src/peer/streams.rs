//! Positions in streams: what was received, what may be delivered, what is missing.
//!
//! Per stream a watermark, below which everything is settled, and the batches received beyond
//! it. The watermark never forgets while the stream is known, so no copy is delivered twice,
//! however late it comes.
//!
//! Only signed batches move it for good. What is merely said of a stream (a neighbour's heads, an
//! answer to a pull, what an application claims to have received) is a reason to ask; where it
//! says where a stream begins, a batch that proves otherwise is believed instead.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::id::Origin;
use crate::peer::flow::Flow;
use crate::peer::frontier::Frontier;
use crate::peer::lag::Lag;
use crate::peer::trees::short;
use crate::time::Instant;
use crate::wire::batch::Batch;
use crate::wire::frame::{PULL_BYTES_MAX, Range};

/// The most batches held back per stream while an earlier one is missing (design §4.9 speaks of
/// 1,024 messages; a batch holds up to 256).
pub(crate) const HELD_BATCHES_MAX: usize = 1_024;
/// The most bytes held back per stream. They are shared with retention.
pub(crate) const HELD_BYTES_MAX: usize = 8 << 20;

/// What nobody could supply is not asked for again for so long, unless more is said to exist.
/// Guess: by then who asks has other neighbours.
const CONCEDED_FOR: Duration = Duration::from_secs(120);

/// Batches that can be delivered, each from a sequence number on.
pub(crate) type Ready = Vec<(Arc<Batch>, u64)>;

/// What became of a received batch.
#[derive(Debug, PartialEq)]
pub(crate) enum Reception {
    /// It was here before.
    Duplicate,
    /// It is new. These batches can be delivered now, each from the given sequence number on.
    New(Ready),
    /// It is too far ahead to be remembered.
    BeyondWindow,
    /// It shares some, not all, of its numbers with another batch of its stream.
    Overlap,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Stream {
    /// The short name of its origin.
    name: u64,
    /// The first number that is not settled; `None` while it is not known where to begin.
    next: Option<u64>,
    /// `next` is only what somebody said: no batch has shown it yet.
    claimed: bool,
    /// Received beyond `next`, by first number.
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
    /// Something was delivered: all that follows is, for an application may see no silent hole.
    delivering: bool,
    /// The highest number that somebody says to have.
    known_high: u64,
    /// Up to which number something was said to exist that nobody could supply, and since when.
    conceded: (u64, Instant),
    /// How long its batches take to get here.
    pub(crate) lag: Lag,
    /// Whether more of it is on its way.
    pub(crate) flow: Flow,
    /// How far it is at those to whom it is pushed.
    pub(crate) frontier: Frontier,
    used: u64,
}

#[derive(Debug)]
struct Held {
    batch: Arc<Batch>,
    deliver: bool,
}

impl Stream {
    /// The highest number up to which nothing is missing.
    pub(crate) fn high(&self) -> u64 {
        self.next.map_or(0, |next| next - 1)
    }

    /// The highest number up to which nothing is asked for: it is here, or nobody had it.
    pub(crate) fn high_asked(&self) -> u64 {
        self.high().max(self.conceded.0)
    }

    /// Whether it is known where to begin, if only by hearsay.
    pub(crate) fn is_open(&self) -> bool {
        self.next.is_some()
    }

    /// Whether batches have shown how far it is.
    pub(crate) fn is_proven(&self) -> bool {
        self.is_open() && !self.claimed
    }

    /// Missing parts that there is room for, oldest first, at most `limit`. Beside a full window
    /// that is the first: all later ones would be thrown away, and asked for again.
    pub(crate) fn missing(&self, origin: Origin, limit: usize) -> Vec<Range> {
        let Some(mut from) = self.next else { return Vec::new() };
        let limit = if self.room() > 0 { limit } else { limit.min(1) };
        let mut ranges = Vec::new();
        for (&first, held) in &self.held {
            if ranges.len() == limit {
                return ranges;
            }
            if first > from {
                ranges.push(Range { origin, from, to: first - 1 });
            }
            from = held.batch.header().last_seq().saturating_add(1);
        }
        if ranges.len() < limit && self.known_high >= from {
            ranges.push(Range { origin, from, to: self.known_high });
        }
        ranges
    }

    /// How many batches may be asked for that cannot be delivered at once. None when what one
    /// answer may bring has no place.
    pub(crate) fn room(&self) -> usize {
        match self.held_bytes + PULL_BYTES_MAX <= HELD_BYTES_MAX {
            true => HELD_BATCHES_MAX.saturating_sub(self.held.len()),
            false => 0,
        }
    }

    /// The highest number that is known to exist.
    pub(crate) fn known_high(&self) -> u64 {
        let held = self.held.values().next_back().map_or(0, |held| held.batch.header().last_seq());
        self.known_high.max(held).max(self.high())
    }

    /// How many batches are held back, and their bytes.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.held.len(), self.held_bytes)
    }

    /// How many messages are known to exist and are not here. 0 while it is not known where the
    /// stream begins.
    pub(crate) fn missing_count(&self) -> u64 {
        let Some(next) = self.next else { return 0 };
        let beyond = self.known_high().saturating_add(1).saturating_sub(next);
        let count = |held: &Held| u64::from(held.batch.header().count);
        beyond.saturating_sub(self.held.values().map(count).sum())
    }

    /// The last number that may precede what is held, while it is not known where to begin.
    pub(crate) fn last_unopened(&self) -> u64 {
        self.held.keys().next().map_or(self.known_high, |first| first - 1)
    }

    /// Somebody says to have numbers up to `high`.
    pub(crate) fn note_high(&mut self, now: Instant, high: u64) {
        let (conceded, since) = self.conceded;
        if high > conceded || now.since(since) >= CONCEDED_FOR {
            self.known_high = self.known_high.max(high);
        }
    }

    /// Settles everything below `next`. Returns what can be delivered.
    fn open_at(&mut self, next: u64) -> Ready {
        self.next = Some(next);
        self.drain()
    }

    /// The stream begins with `begin`, or earlier if something earlier is held. Without either it
    /// begins after what is known to exist.
    pub(crate) fn open(&mut self, begin: Option<u64>) -> Ready {
        if self.is_open() {
            return Vec::new();
        }
        let held = self.held.keys().next().copied();
        let begin = begin.into_iter().chain(held).min();
        self.claimed = true;
        self.open_at(begin.unwrap_or_else(|| self.known_high.saturating_add(1)))
    }

    /// Gives up the first hole. Returns its bounds and what can be delivered after it. Where
    /// nothing that is here shows that there is more, it is only asked for no more: when a batch
    /// comes that does, it is a hole again.
    pub(crate) fn skip_hole(&mut self, now: Instant) -> Option<(u64, u64, Ready)> {
        let from = self.next?;
        let Some(first) = self.held.keys().next() else {
            self.conceded = (self.known_high, now);
            self.known_high = 0;
            return None;
        };
        let to = first - 1;
        if to < from {
            return None;
        }
        let ready = self.open_at(to.saturating_add(1));
        Some((from, to, ready))
    }

    /// A batch shows that the stream was not yet where it was said to be.
    fn reopen(&mut self, batch: &Batch, deliver: bool) {
        let (first, last) = (batch.header().first_seq, batch.header().last_seq());
        if self.claimed && self.next.is_some_and(|next| first < next && (deliver || last >= next)) {
            self.next = None;
            self.claimed = false;
        }
    }

    fn receive(&mut self, batch: &Arc<Batch>, deliver: bool) -> Reception {
        let header = batch.header();
        let (first, last) = (header.first_seq, header.last_seq());
        if let Some(next) = self.next
            && first < next
        {
            return if last < next { Reception::Duplicate } else { Reception::Overlap };
        }
        if let Some((&before, held)) = self.held.range(..=last).next_back() {
            let exact = before == first && held.batch.header().last_seq() == last;
            if exact {
                return Reception::Duplicate;
            }
            if held.batch.header().last_seq() >= first {
                return Reception::Overlap;
            }
        }
        if self.next == Some(first) && self.held.is_empty() {
            self.next = Some(last.saturating_add(1));
            self.claimed = false;
            self.delivering |= deliver;
            let ready = if self.delivering { vec![(Arc::clone(batch), first)] } else { Vec::new() };
            return Reception::New(ready);
        }
        let size = batch.bytes().len();
        if !self.has_room(size) && self.next != Some(first) {
            return Reception::BeyondWindow;
        }
        self.held_bytes += size;
        self.held.insert(first, Held { batch: Arc::clone(batch), deliver });
        Reception::New(self.drain())
    }

    /// Whether another batch of so many bytes can be held back.
    fn has_room(&self, bytes: usize) -> bool {
        self.held.len() < HELD_BATCHES_MAX && self.held_bytes + bytes <= HELD_BYTES_MAX
    }

    fn drain(&mut self) -> Ready {
        let mut ready = Vec::new();
        while let (Some(next), Some(entry)) = (self.next, self.held.first_entry()) {
            let (first, last) = (*entry.key(), entry.get().batch.header().last_seq());
            if first > next {
                break;
            }
            let held = entry.remove();
            self.held_bytes -= held.batch.bytes().len();
            if last < next {
                continue;
            }
            self.delivering |= held.deliver;
            if self.delivering {
                ready.push((held.batch, next));
            }
            self.next = Some(last.saturating_add(1));
            self.claimed = false;
        }
        ready
    }
}

/// All streams of one topic.
#[derive(Debug)]
pub(crate) struct Streams {
    streams: BTreeMap<Origin, Stream>,
    /// Origins by the short names that announcements use.
    names: BTreeMap<u64, Origin>,
    /// Eviction order, oldest use first; entries are renewed lazily.
    order: VecDeque<(Origin, u64)>,
    uses: u64,
    streams_max: usize,
}

impl Streams {
    /// No stream yet; at most `streams_max` are remembered.
    pub(crate) fn new(streams_max: usize) -> Self {
        Self {
            streams: BTreeMap::new(),
            names: BTreeMap::new(),
            order: VecDeque::new(),
            uses: 0,
            streams_max,
        }
    }

    /// A stream, if known.
    pub(crate) fn get(&self, origin: &Origin) -> Option<&Stream> {
        self.streams.get(origin)
    }

    /// A stream, if known, to be changed.
    pub(crate) fn get_mut(&mut self, origin: &Origin) -> Option<&mut Stream> {
        self.streams.get_mut(origin)
    }

    /// Whether the stream is known by more than hearsay.
    pub(crate) fn contains(&self, origin: &Origin) -> bool {
        self.streams.get(origin).is_some_and(|stream| !stream.claimed)
    }

    /// Up to which number nothing is missing; 0 for an unknown stream.
    pub(crate) fn high(&self, origin: &Origin) -> u64 {
        self.streams.get(origin).map_or(0, Stream::high)
    }

    /// Whether it is known where the stream begins.
    pub(crate) fn is_open(&self, origin: &Origin) -> bool {
        self.streams.get(origin).is_some_and(Stream::is_open)
    }

    /// How far the stream is, if batches have shown it.
    pub(crate) fn proven_high(&self, origin: &Origin) -> Option<u64> {
        self.streams.get(origin).filter(|stream| stream.is_proven()).map(Stream::high)
    }

    /// Whether nothing of this batch is delivered any more: it was, was given up, or is of a
    /// stream that has not begun.
    pub(crate) fn is_settled(&self, batch: &Batch) -> bool {
        let stream = self.streams.get(&batch.header().origin);
        let next = stream.and_then(|stream| stream.next);
        next.is_none_or(|next| batch.header().last_seq() < next)
    }

    /// All streams, by origin.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Origin, &Stream)> {
        self.streams.iter()
    }

    /// How many streams are known.
    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }

    /// The origin with a short name.
    pub(crate) fn named(&self, name: u64) -> Option<Origin> {
        self.names.get(&name).copied()
    }

    /// The short name of an origin.
    pub(crate) fn name(&self, origin: &Origin) -> u64 {
        self.streams.get(origin).map_or_else(|| short(origin), |stream| stream.name)
    }

    /// Whether the batch that begins with this number was received, of the origin with this short
    /// name.
    pub(crate) fn has(&self, name: u64, first_seq: u64) -> bool {
        let stream = self.names.get(&name).and_then(|origin| self.streams.get(origin));
        stream.is_some_and(|stream| {
            stream.next.is_some_and(|next| first_seq < next) || stream.held.contains_key(&first_seq)
        })
    }

    /// Whether this batch was received before. Cheap: asked before the signature is checked.
    pub(crate) fn is_duplicate(&self, batch: &Batch) -> bool {
        let header = batch.header();
        self.streams.get(&header.origin).is_some_and(|stream| {
            !stream.claimed && stream.next.is_some_and(|next| header.last_seq() < next)
                || stream
                    .held
                    .get(&header.first_seq)
                    .is_some_and(|held| held.batch.header().last_seq() == header.last_seq())
        })
    }

    /// Takes in a batch. An unknown stream begins with number 1, or stays closed until it is
    /// known where to begin. `deliver` is false for what precedes the subscription.
    pub(crate) fn receive(&mut self, batch: &Arc<Batch>, deliver: bool) -> Reception {
        let origin = batch.header().origin;
        let first = batch.header().first_seq;
        let begin = (first == 1 || !deliver).then_some(first);
        let stream = self.enter(origin, begin);
        stream.reopen(batch, deliver);
        if first == 1 && !stream.is_open() {
            let mut ready = stream.open_at(1);
            let mut reception = stream.receive(batch, deliver);
            if let Reception::New(more) = &mut reception {
                ready.append(more);
                *more = ready;
            }
            return reception;
        }
        stream.receive(batch, deliver)
    }

    /// The stream, made if unknown: open at `begin`, or closed.
    pub(crate) fn enter(&mut self, origin: Origin, begin: Option<u64>) -> &mut Stream {
        if !self.streams.contains_key(&origin) {
            self.make_room();
            self.names.insert(short(&origin), origin);
            self.order.push_back((origin, self.uses));
        }
        self.uses += 1;
        let used = self.uses;
        let stream = self.streams.entry(origin).or_insert_with(|| Stream {
            name: short(&origin),
            next: begin,
            claimed: false,
            held: BTreeMap::new(),
            held_bytes: 0,
            delivering: false,
            known_high: 0,
            conceded: (0, Instant::ZERO),
            lag: Lag::default(),
            flow: Flow::default(),
            frontier: Frontier::default(),
            used,
        });
        stream.used = used;
        stream
    }

    /// An unknown stream is said to have nothing before `next` that is wanted here.
    pub(crate) fn claim(&mut self, origin: Origin, next: u64) {
        let is_new = !self.streams.contains_key(&origin);
        self.enter(origin, Some(next)).claimed |= is_new;
    }

    /// The only application says that it received all of a stream up to `end`. Where nothing that
    /// is here says otherwise, what follows is looked for. Returns what can be delivered by that.
    pub(crate) fn claim_received(&mut self, origin: Origin, end: u64) -> Ready {
        let next = end.saturating_add(1);
        let stream = self.enter(origin, None);
        stream.delivering = true;
        if stream.is_open() || stream.held.keys().next().is_some_and(|first| *first < next) {
            return Vec::new();
        }
        stream.claimed = true;
        stream.open_at(next)
    }

    /// Everything of a stream up to `end` was delivered in another way, as batches show, and all
    /// that follows is wanted. Returns what can be delivered by that. A stream that is further
    /// already stays.
    pub(crate) fn continue_after(&mut self, origin: Origin, end: u64) -> Ready {
        let next = end.saturating_add(1);
        let stream = self.enter(origin, Some(next));
        stream.delivering = true;
        if stream.claimed || stream.next.is_none_or(|known| known < next) {
            stream.claimed = false;
            stream.open_at(next)
        } else {
            Vec::new()
        }
    }

    /// Forgets the stream whose last use is longest ago, when there are too many.
    fn make_room(&mut self) {
        while self.streams.len() >= self.streams_max {
            let Some((origin, stamp)) = self.order.pop_front() else { return };
            match self.streams.get(&origin) {
                Some(stream) if stream.used > stamp + 1 => {
                    self.order.push_back((origin, stream.used));
                }
                _ => {
                    self.names.remove(&short(&origin));
                    self.streams.remove(&origin);
                }
            }
        }
    }

    /// A hash over how far every stream is; equal for equal positions.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for (origin, stream) in &self.streams {
            hasher.update(&origin.node.0);
            hasher.update(&origin.incarnation.0.to_be_bytes());
            hasher.update(&stream.high_asked().to_be_bytes());
        }
        *hasher.finalize().as_bytes()
    }
}

/// Whether a batch of this age was published after `horizon`, where a subscription begins.
pub(crate) fn is_after(horizon: Instant, now: Instant, age_ms: u32) -> bool {
    now.minus_millis(age_ms) >= horizon
}

#[cfg(test)]
#[path = "streams_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "streams_properties.rs"]
mod properties;
