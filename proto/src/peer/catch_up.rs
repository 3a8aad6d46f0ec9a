//! What was missed: heads say how far a neighbour is, pulls fetch what it has and this peer has
//! not.

use core::time::Duration;

use super::Peer;
use super::event::Event;
use super::links::Phase;
use super::repair::Step;
use super::trees::NO_TREE;
use super::views::pick;
use crate::id::{LinkId, Origin, Topic};
use crate::machine::Class;
use crate::time::Instant;
use crate::wire::frame::{
    BatchFrame, Cause, Digest, Frame, HEADS_MAX, Head, Heads, PULL_BYTES_MAX, Pull, PullDone,
    RANGES_MAX, Range,
};

/// Batches this much older than a subscription are sent too.
const PULL_AGE_SLACK_MS: u32 = 1_000;
/// Where an unknown stream begins is asked this often before it begins with what is there.
const OPENING_TRIES: u32 = 3;

impl Peer {
    /// Tells a neighbour how far this peer is in the streams of a topic.
    pub(super) fn send_heads(&mut self, id: LinkId, topic: &Topic, answer: bool) {
        let heads = self.heads(topic, HEADS_MAX);
        if !heads.is_empty() || !answer {
            let heads = Heads { topic: topic.clone(), heads, answer };
            self.out.control(id, Frame::Heads(heads));
        }
    }

    /// How far this peer is in the streams of a topic: the newest, `count` at most. What it only
    /// heard it does not repeat.
    pub(super) fn heads(&self, topic: &Topic, count: usize) -> Vec<Head> {
        let Some(local) = self.topics.get(topic) else { return Vec::new() };
        let mut heads: Vec<_> = local
            .streams
            .iter()
            .filter(|(_, stream)| stream.is_proven())
            .map(|(&origin, stream)| {
                let high = stream.high();
                let bounds = local.retention.bounds(origin);
                let (low, published) = bounds.unwrap_or((high + 1, Instant::ZERO));
                Head { origin, low, high, age_ms: self.now.millis_since(published) }
            })
            .collect();
        heads.sort_by_key(|head| head.age_ms);
        heads.truncate(count);
        heads
    }

    /// Compares each topic with a random neighbour.
    pub(super) fn send_digests(&mut self) {
        let mut digests = Vec::new();
        for (topic, local) in self.topics.local() {
            if local.subscribed_at.is_none() || local.streams.len() == 0 {
                continue;
            }
            if let Some(to) = pick(&local.links, 1, &mut self.rng).first() {
                let hash = local.streams.digest();
                digests.push((to.link, Digest { topic: topic.clone(), hash }));
            }
        }
        for (link, digest) in digests {
            self.out.control(link, Frame::Digest(digest));
        }
        let topics: Vec<Topic> = self.topics.local().map(|(topic, _)| topic.clone()).collect();
        for topic in topics {
            let (now, retention) = (self.now, self.retention_of(&topic));
            if let Some(local) = self.topics.get_mut(&topic) {
                local.retention.trim(now, &retention);
            }
        }
    }

    pub(super) fn on_digest(&mut self, id: LinkId, digest: Digest) {
        let Some(local) = self.topics.get(&digest.topic) else { return };
        if self.is_neighbor(id) && local.streams.digest() != digest.hash {
            self.send_heads(id, &digest.topic, false);
        }
    }

    pub(super) fn on_heads(&mut self, id: LinkId, heads: Heads) {
        if !self.is_neighbor(id) {
            return;
        }
        let Heads { topic, heads, answer } = heads;
        let Some(local) = self.topics.get_mut(&topic).filter(|l| l.subscribed_at.is_some()) else {
            return;
        };
        let mut ahead = false;
        let mut behind = Vec::new();
        for head in &heads {
            let wanted = super::streams::is_after(local.horizon, self.now, head.age_ms);
            match local.streams.get_mut(&head.origin) {
                Some(stream) => {
                    ahead |= stream.is_proven() && stream.high() > head.high;
                    if !stream.is_open() || stream.high() < head.high {
                        behind.push((head.origin, head.high));
                    }
                }
                None if wanted && head.low <= head.high => {
                    local.streams.enter(head.origin, None);
                    behind.push((head.origin, head.high));
                }
                None if wanted => {}
                // All of it precedes the subscription, as it is said.
                None => {
                    local.streams.claim(head.origin, head.high.saturating_add(1));
                }
            }
        }
        ahead |= local.streams.len() > heads.len();
        for (origin, high) in behind {
            self.note_high(&topic, origin, high, id);
        }
        if !answer && ahead {
            self.send_heads(id, &topic, true);
        }
    }

    /// A neighbour has a stream up to `high`.
    pub(super) fn note_high(&mut self, topic: &Topic, origin: Origin, high: u64, source: LinkId) {
        let Some(local) = self.topics.get_mut(topic) else { return };
        let Some(stream) = local.streams.get_mut(&origin) else { return };
        stream.note_high(self.now, high);
        self.look_for_holes(topic, origin, source);
    }

    /// Notes or settles the hole of a stream after news of it from `source`.
    pub(super) fn look_for_holes(&mut self, topic: &Topic, origin: Origin, source: LinkId) {
        self.note_holes(topic, origin, Some(source));
    }

    /// As [`Self::look_for_holes`], where the news may be of nobody who is linked.
    pub(super) fn note_holes(&mut self, topic: &Topic, origin: Origin, source: Option<LinkId>) {
        let Some(local) = self.topics.get_mut(topic) else { return };
        let Some(stream) = local.streams.get_mut(&origin) else { return };
        let open = stream.is_open();
        if open && stream.missing(origin, 1).is_empty() {
            self.repair.settle(topic, origin);
            return;
        }
        // What is only late comes by itself; where a stream begins does not.
        let delay = if open { self.config.repair.delay } else { Duration::ZERO };
        let (due, high) = (self.now + delay, stream.high());
        self.repair.note(self.now, (topic, origin), high, source, due);
    }

    /// Pulls or gives up the holes whose time has come.
    pub(super) fn repair_due(&mut self) {
        while let Some((topic, origin)) = self.repair.pop_due(self.now) {
            let config = self.config.repair;
            let missing = self.missing(&topic, origin);
            if missing.is_none() {
                self.repair.settle(&topic, origin);
                continue;
            }
            let high = self.high(&topic, origin);
            match self.repair.advance(self.now, (&topic, origin), high, &config) {
                Some(Step::Pull(source)) => self.pull(&topic, origin, source),
                Some(Step::GiveUp) => self.give_up(&topic, origin),
                None => {}
            }
        }
    }

    /// Up to which number nothing of a stream is missing.
    fn high(&self, topic: &Topic, origin: Origin) -> u64 {
        self.topics.get(topic).map_or(0, |local| local.streams.high(&origin))
    }

    /// What is missing of a stream, with the age to ask for. `None` when nothing is.
    fn missing(&mut self, topic: &Topic, origin: Origin) -> Option<(Vec<Range>, u32)> {
        let now = self.now;
        let local = self.topics.get_mut(topic)?;
        let age_max_ms = match local.horizon {
            Instant::ZERO => u32::MAX,
            // The batches age while the request travels; what is too old is left out here too.
            horizon => now.millis_since(horizon).saturating_add(PULL_AGE_SLACK_MS),
        };
        let stream = local.streams.get_mut(&origin)?;
        if !stream.is_open() {
            let to = stream.last_unopened();
            return Some((vec![Range { origin, from: 1, to }], age_max_ms));
        }
        let ranges = stream.missing(origin, RANGES_MAX);
        (!ranges.is_empty()).then_some((ranges, u32::MAX))
    }

    fn pull(&mut self, topic: &Topic, origin: Origin, source: Option<LinkId>) {
        if self.opening_is_over(topic, origin) {
            self.open_stream(topic, origin, None);
        }
        let Some((mut ranges, age_max_ms)) = self.missing(topic, origin) else { return };
        let mut is_part = false;
        let stream = self.topics.get(topic).and_then(|local| local.streams.get(&origin));
        if let Some(stream) = stream.filter(|stream| stream.is_open()) {
            // What comes without all that is before it has to have a place.
            let numbers = self.repair.reach(topic, origin).max(stream.room() as u64);
            is_part = clip(&mut ranges, numbers);
        }
        let source = source.filter(|id| self.is_neighbor(*id));
        let Some(link) = source.or_else(|| self.anybody(topic, origin)) else { return };
        let request = self.requests.next_id();
        self.stats.pulls_sent += 1;
        if self.topics.get(topic).is_some_and(|local| local.streams.is_open(&origin)) {
            self.tell_hole(topic, origin, &ranges, link);
        }
        let asked_to = ranges.last().map_or(0, |range| range.to);
        self.repair.pulled((topic, origin), (request, link), asked_to, is_part);
        let pull = Pull { request, topic: topic.clone(), ranges, age_max_ms };
        self.out.control(link, Frame::Pull(pull));
    }

    /// Whom to ask of whom nothing is known: a neighbour that subscribes; after a few tries, or
    /// when there is none, the publisher itself, which keeps its own when all other subscribers
    /// have left.
    fn anybody(&mut self, topic: &Topic, origin: Origin) -> Option<LinkId> {
        let publisher = self.links.neighbor(&origin.node).filter(|id| self.is_neighbor(*id));
        if self.repair.tries(topic, origin) > OPENING_TRIES && publisher.is_some() {
            return publisher;
        }
        let links = &self.topics.get(topic)?.links;
        pick(links, 1, &mut self.rng).first().map(|link| link.link).or(publisher)
    }

    /// Whether nobody is asked any more where an unknown stream begins. Who has just subscribed
    /// waits for a few answers; who has subscribed for long has missed the beginning, and waits
    /// for it as for any other hole.
    fn opening_is_over(&self, topic: &Topic, origin: Origin) -> bool {
        let Some(since) = self.repair.since(topic, origin) else { return false };
        let subscribed = self.topics.get(topic).and_then(|local| local.subscribed_at);
        let established = since.since(subscribed.unwrap_or(since));
        let patience = established.min(self.config.repair.gap_after);
        self.repair.tries(topic, origin) > OPENING_TRIES && self.now.since(since) >= patience
    }

    /// A stream begins, at the latest with what is there.
    fn open_stream(&mut self, topic: &Topic, origin: Origin, begin: Option<u64>) {
        let Some(local) = self.topics.get_mut(topic) else { return };
        let Some(stream) = local.streams.get_mut(&origin) else { return };
        let ready = stream.open(begin);
        self.deliver(ready);
        self.retell(topic, origin);
    }

    fn give_up(&mut self, topic: &Topic, origin: Origin) {
        let Some(local) = self.topics.get_mut(topic) else { return };
        let Some(stream) = local.streams.get_mut(&origin) else { return };
        if !stream.is_open() {
            // As a hole, so that the application hears of it.
            let ready = stream.open(Some(1));
            self.deliver(ready);
        }
        let Some(local) = self.topics.get_mut(topic) else { return };
        let Some(stream) = local.streams.get_mut(&origin) else { return };
        if let Some((from, to, ready)) = stream.skip_hole(self.now) {
            self.stats.gaps += 1;
            if !topic.is_internal() {
                self.out.event(Event::Gap { topic: topic.clone(), origin, from, to });
            }
            self.deliver(ready);
        }
        self.retell(topic, origin);
    }

    pub(super) fn on_pull(&mut self, id: LinkId, pull: &Pull) {
        if !self.is_neighbor(id) {
            return;
        }
        let mut sent = 0;
        let mut more = false;
        let mut frames = Vec::new();
        if let Some(local) = self.topics.get(&pull.topic) {
            let kept = pull.ranges.iter().flat_map(|range| local.retention.range(range));
            for kept in kept {
                let age_ms = self.now.millis_since(kept.published);
                if age_ms > pull.age_max_ms {
                    continue;
                }
                if sent >= PULL_BYTES_MAX {
                    more = true;
                    break;
                }
                sent += kept.batch.bytes().len();
                let batch = kept.batch.clone();
                frames.push(BatchFrame {
                    cause: Cause::Pull,
                    hop: 0,
                    tree: NO_TREE,
                    age_ms,
                    batch,
                });
            }
        }
        frames.retain(|frame| self.may_pass_on(&frame.batch));
        self.stats.pulls_answered += 1;
        self.stats.batches_repaired += frames.len() as u64;
        self.stats.batch_bytes_sent += sent as u64;
        for frame in frames {
            self.out.send(id, Class::Repair, Frame::Batch(frame));
        }
        let begin = self.begin(pull);
        let done = PullDone { request: pull.request, topic: pull.topic.clone(), more, begin };
        self.out.send(id, Class::Repair, Frame::PullDone(done));
    }

    /// Where the first stream of a pull begins for the asker.
    fn begin(&self, pull: &Pull) -> Option<u64> {
        let local = self.topics.get(&pull.topic)?;
        let origin = pull.ranges.first()?.origin;
        local.retention.begin(origin, self.now.minus_millis(pull.age_max_ms))
    }

    pub(super) fn on_pull_done(&mut self, id: LinkId, done: &PullDone) {
        let Some(origin) = self.repair.answered(&done.topic, done.request) else { return };
        let streams = self.topics.get(&done.topic).map(|local| &local.streams);
        let is_open = streams.is_some_and(|streams| streams.is_open(&origin));
        // Who lacks the first that is missing would send the same again.
        if done.more && (!is_open || self.repair.tries(&done.topic, origin) == 0) {
            return self.repair.hasten(&done.topic, origin, self.now, Some(id));
        }
        if done.begin.is_some() {
            self.open_stream(&done.topic, origin, done.begin);
        }
        let Some((missing, _)) = self.missing(&done.topic, origin) else {
            self.repair.settle(&done.topic, origin);
            return;
        };
        let first = missing.first().map_or(0, |range| range.from);
        if self.repair.stretch(&done.topic, origin, first) {
            // All that was asked for has come, and more was missing then.
            return self.repair.hasten(&done.topic, origin, self.now, Some(id));
        }
        let due = match self.repair.tries(&done.topic, origin) {
            // It moved: what is missing now may be on its way.
            0 => self.now + self.config.repair.delay,
            // This neighbour has not got it: the next one.
            1..=OPENING_TRIES => self.now,
            _ => return,
        };
        self.repair.hasten(&done.topic, origin, due, None);
    }

    /// Whether a link is one with a neighbour. Others have no business with topics; what they
    /// send was under way when the link changed.
    fn is_neighbor(&self, id: LinkId) -> bool {
        self.links.get(id).is_some_and(|link| link.phase == Phase::Active)
    }
}

/// Leaves the first `numbers` of what ranges name. Returns whether there were more.
fn clip(ranges: &mut Vec<Range>, numbers: u64) -> bool {
    let last = ranges.last().copied();
    let mut left = numbers;
    ranges.retain_mut(|range| {
        let begins = left > 0;
        range.to = range.to.min(range.from.saturating_add(left.saturating_sub(1)));
        left = left.saturating_sub(range.to.saturating_sub(range.from).saturating_add(1));
        begins
    });
    ranges.last().copied() != last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_clipped_to_a_count_of_numbers() {
        let range = |from, to| Range { origin: Origin::default(), from, to };
        for (numbers, expected) in [
            (1, vec![range(3, 3)]),
            (4, vec![range(3, 6)]),
            (5, vec![range(3, 6), range(9, 9)]),
            (u64::MAX, vec![range(3, 6), range(9, u64::MAX)]),
        ] {
            let mut ranges = vec![range(3, 6), range(9, u64::MAX)];
            assert_eq!(clip(&mut ranges, numbers), numbers < u64::MAX);
            assert_eq!(ranges, expected, "{numbers}");
        }
    }
}
