//! How far streams are, as peers say: what tells a peer that all its neighbours keep news from it.
//!
//! A hint and no more: a peer may lie, and a seed passes no publication. Who is behind compares
//! with its neighbours, and looks for others.

use std::collections::BTreeMap;

use core::time::Duration;

use crate::id::{Origin, Topic};
use crate::time::Instant;
use crate::wire::frame::Head;

/// Streams remembered, of all topics: about 100 bytes each. Guess: ten origins for each of the
/// topics of a large cluster.
const STREAMS_MAX: usize = 100_000;
/// A stream of which nobody spoke for this long is forgotten: as long as peers retain it
/// (design §4.15).
const KEPT: Duration = Duration::from_secs(600);
/// What is forgotten makes room at most this often.
const SWEPT_EVERY: Duration = Duration::from_secs(60);
/// Heads in an answer: one is enough to know that one is behind.
const ANSWER_MAX: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Known {
    high: u64,
    /// When the last batch was published, as well as known.
    published: Instant,
    told: Instant,
}

/// How far streams are.
#[derive(Debug)]
pub(super) struct KnownHeads {
    topics: BTreeMap<Topic, BTreeMap<Origin, Known>>,
    streams: usize,
    swept: Instant,
    streams_max: usize,
}

impl KnownHeads {
    pub(super) fn new() -> Self {
        Self { topics: BTreeMap::new(), streams: 0, swept: Instant::ZERO, streams_max: STREAMS_MAX }
    }

    /// A peer says how far it is. Returns the streams that others know more of, and how many
    /// streams found no room.
    pub(super) fn compare(
        &mut self,
        now: Instant,
        topic: &Topic,
        heads: &[Head],
    ) -> (Vec<Head>, u64) {
        let mut shed = 0;
        for head in heads {
            shed += u64::from(!self.take(now, topic, head));
        }
        let Some(known) = self.topics.get(topic) else { return (Vec::new(), shed) };
        let told: BTreeMap<Origin, u64> =
            heads.iter().map(|head| (head.origin, head.high)).collect();
        let ahead = known
            .iter()
            .filter(|(_, known)| now.since(known.told) < KEPT)
            .filter(|(origin, known)| told.get(origin).is_none_or(|high| *high < known.high))
            .map(|(origin, known)| Head {
                origin: *origin,
                low: known.high,
                high: known.high,
                age_ms: now.millis_since(known.published),
            });
        (ahead.take(ANSWER_MAX).collect(), shed)
    }

    fn take(&mut self, now: Instant, topic: &Topic, head: &Head) -> bool {
        let published = now.minus_millis(head.age_ms);
        if let Some(known) = self.topics.get_mut(topic).and_then(|t| t.get_mut(&head.origin)) {
            if head.high >= known.high {
                *known = Known { high: head.high, published, told: now };
            }
            return true;
        }
        if self.streams >= self.streams_max {
            self.sweep(now);
        }
        if self.streams >= self.streams_max {
            return false;
        }
        let known = Known { high: head.high, published, told: now };
        self.topics.entry(topic.clone()).or_default().insert(head.origin, known);
        self.streams += 1;
        true
    }

    fn sweep(&mut self, now: Instant) {
        if now.since(self.swept) < SWEPT_EVERY {
            return;
        }
        self.swept = now;
        for streams in self.topics.values_mut() {
            streams.retain(|_, known| now.since(known.told) < KEPT);
        }
        self.topics.retain(|_, streams| !streams.is_empty());
        self.streams = self.topics.values().map(BTreeMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Incarnation, NodeId};

    fn head(node: u8, high: u64) -> Head {
        let origin = Origin { node: NodeId([node; 32]), incarnation: Incarnation(1) };
        Head { origin, low: 1, high, age_ms: 1_000 }
    }

    fn highs(heads: &[Head]) -> Vec<(u8, u64)> {
        heads.iter().map(|head| (head.origin.node.0[0], head.high)).collect()
    }

    #[test]
    fn who_is_behind_is_told_of_what() {
        let (mut known, topic) = (KnownHeads::new(), Topic::new("t").expect("legal"));
        let at = Instant::from_millis(10_000);
        assert_eq!(known.compare(at, &topic, &[head(1, 5), head(2, 9)]), (Vec::new(), 0));
        let (ahead, _) = known.compare(at, &topic, &[head(1, 4)]);
        assert_eq!(highs(&ahead), [(1, 5), (2, 9)]);
        let later = at + Duration::from_secs(2);
        let (ahead, _) = known.compare(later, &topic, &[head(1, 6)]);
        assert_eq!((highs(&ahead), ahead[0].age_ms), (vec![(2, 9)], 3_000));
        let (ahead, _) = known.compare(at + KEPT + KEPT, &topic, &[head(1, 6)]);
        assert_eq!(highs(&ahead), []);
    }

    #[test]
    fn streams_are_bounded_and_the_forgotten_make_room() {
        let topic = Topic::new("t").expect("legal");
        let mut known = KnownHeads { streams_max: 2, ..KnownHeads::new() };
        let heads = [head(1, 1), head(2, 1), head(3, 1)];
        assert_eq!(known.compare(Instant::ZERO, &topic, &heads).1, 1);
        let later = Instant::ZERO + KEPT;
        assert_eq!(known.compare(later, &topic, &heads[2..]).1, 0);
        assert_eq!(known.streams, 1);
    }
}
