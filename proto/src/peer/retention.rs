//! Recent batches of one topic, kept to answer pulls.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use core::time::Duration;

use crate::config::RetentionConfig;
use crate::id::Origin;
use crate::time::Instant;
use crate::wire::batch::Batch;
use crate::wire::frame::Range;

/// Bounded by bytes and by age, whichever comes first.
///
/// Batches come and go at the ends of their streams, but for what is repaired or fetched from the
/// past: so each stream is a queue, sorted by number.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    streams: BTreeMap<Origin, VecDeque<(u64, Retained)>>,
    /// Which batches came when, in the order of leaving.
    order: VecDeque<(Instant, Origin, u64)>,
    bytes: usize,
}

/// A kept batch.
#[derive(Clone, Debug)]
pub(crate) struct Retained {
    /// The batch.
    pub(crate) batch: Arc<Batch>,
    /// When it was published, as well as known.
    pub(crate) published: Instant,
}

impl Retention {
    /// Keeps a batch that was published at `published`, unless the number is taken.
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        batch: &Arc<Batch>,
        published: Instant,
        config: &RetentionConfig,
    ) {
        let (origin, first) = (batch.header().origin, batch.header().first_seq);
        let stream = self.streams.entry(origin).or_default();
        let at = match stream.back() {
            Some((last, _)) if *last >= first => stream.binary_search_by_key(&first, first_seq),
            _ => Err(stream.len()),
        };
        if let Err(at) = at {
            stream.insert(at, (first, Retained { batch: Arc::clone(batch), published }));
            self.bytes += batch.bytes().len();
            self.order.push_back((now, origin, first));
        }
        self.trim(now, config);
    }

    /// How many messages are kept, and how many of them were published within `window`.
    pub(crate) fn count(&self, now: Instant, window: Duration) -> (u64, u64) {
        let (mut all, mut recent) = (0, 0);
        for (_, kept) in self.streams.values().flatten() {
            let count = u64::from(kept.batch.header().count);
            all += count;
            if now.since(kept.published) <= window {
                recent += count;
            }
        }
        (all, recent)
    }

    /// Drops what is over the limits.
    pub(crate) fn trim(&mut self, now: Instant, config: &RetentionConfig) {
        while let Some(&(arrived, origin, first)) = self.order.front() {
            if now.since(arrived) <= config.age_max && self.bytes <= config.bytes_max {
                return;
            }
            self.order.pop_front();
            let Some(stream) = self.streams.get_mut(&origin) else { continue };
            let at = match stream.front() {
                Some((lowest, _)) if *lowest == first => Ok(0),
                _ => stream.binary_search_by_key(&first, first_seq),
            };
            if let Ok(at) = at
                && let Some((_, kept)) = stream.remove(at)
            {
                self.bytes -= kept.batch.bytes().len();
            }
            if stream.is_empty() {
                self.streams.remove(&origin);
            }
        }
    }

    /// Kept batches that touch a range, oldest first.
    pub(crate) fn range(&self, range: &Range) -> impl Iterator<Item = &Retained> {
        let Range { origin, from, to } = *range;
        let stream = self.streams.get(&origin);
        let touched = stream.map(|stream| {
            let after = stream.partition_point(|(first, _)| *first <= from);
            // The batch that holds `from` may begin before it.
            let holds = |(_, kept): &&(u64, Retained)| kept.batch.header().last_seq() >= from;
            let before = after.checked_sub(1).and_then(|at| stream.get(at)).filter(holds);
            let start = after - usize::from(before.is_some());
            stream.range(start..).take_while(move |(first, _)| *first <= to)
        });
        touched.into_iter().flatten().map(|(_, kept)| kept)
    }

    /// The lowest retained number of a stream, and when its newest batch was published.
    pub(crate) fn bounds(&self, origin: Origin) -> Option<(u64, Instant)> {
        let stream = self.streams.get(&origin)?;
        Some((stream.front()?.0, stream.back()?.1.published))
    }

    /// The first number of a stream published at or after `horizon`; the one after the last when
    /// all is older. `None` when it may precede what is retained.
    pub(crate) fn begin(&self, origin: Origin, horizon: Instant) -> Option<u64> {
        let mut all = self.streams.get(&origin)?.iter().map(|(_, kept)| kept);
        let mut last = all.next()?;
        if last.published >= horizon {
            return (last.batch.header().first_seq == 1).then_some(1);
        }
        for kept in all {
            if kept.published >= horizon {
                return Some(kept.batch.header().first_seq);
            }
            last = kept;
        }
        Some(last.batch.header().last_seq().saturating_add(1))
    }

    /// All batches with their keys, by stream and number.
    pub(crate) fn by_stream(&self) -> impl Iterator<Item = ((Origin, u64), &Retained)> {
        self.streams.iter().flat_map(|(origin, stream)| {
            stream.iter().map(|(first, kept)| ((*origin, *first), kept))
        })
    }

    /// How many batches are kept.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// How many bytes are kept.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn first_seq((first, _): &(u64, Retained)) -> u64 {
    *first
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::crypto::Signer;
    use crate::id::{Incarnation, NodeId, Topic};
    use crate::wire::batch::{BatchHeader, Message};

    const ORIGIN: Origin = Origin { node: NodeId([1; 32]), incarnation: Incarnation(1) };

    fn batch(first_seq: u64, count: usize) -> Arc<Batch> {
        let header = BatchHeader {
            topic: Topic::new("t").expect("legal"),
            origin: ORIGIN,
            address: "127.0.0.1:1".parse().expect("address"),
            generation: 1,
            first_seq,
            published_at_us: 0,
            count: 0,
        };
        Batch::sign(header, &vec![Message::new("x"); count], &Signer::Checksum(ORIGIN.node))
    }

    fn firsts(retention: &Retention, from: u64, to: u64) -> Vec<u64> {
        let range = Range { origin: ORIGIN, from, to };
        retention.range(&range).map(|kept| kept.batch.header().first_seq).collect()
    }

    #[test]
    fn a_range_includes_the_batch_that_it_cuts() {
        let mut retention = Retention::default();
        for first in [1, 4, 7] {
            retention.insert(Instant::ZERO, &batch(first, 3), Instant::ZERO, &Default::default());
        }
        assert_eq!(firsts(&retention, 5, 7), [4, 7]);
        assert_eq!(firsts(&retention, 5, 5), [4]);
        assert_eq!(firsts(&retention, 10, 99), [0; 0]);
        assert_eq!(retention.bounds(ORIGIN), Some((1, Instant::ZERO)));
    }

    #[test]
    fn where_a_stream_begins_is_said_only_when_it_is_known() {
        let mut retention = Retention::default();
        let at = Instant::from_millis;
        assert_eq!(retention.begin(ORIGIN, at(0)), None);
        for first in [4, 5, 6] {
            let published = at(first * 1_000);
            retention.insert(published, &batch(first, 1), published, &Default::default());
        }
        assert_eq!(retention.begin(ORIGIN, at(4_000)), None, "3 may be as young");
        assert_eq!(retention.begin(ORIGIN, at(4_001)), Some(5));
        assert_eq!(retention.begin(ORIGIN, at(9_000)), Some(7));
        retention.insert(at(0), &batch(1, 3), at(3_000), &Default::default());
        assert_eq!(retention.begin(ORIGIN, at(0)), Some(1));
    }

    #[test]
    fn a_number_is_kept_once() {
        let (one, other) = (batch(1, 1), batch(1, 2));
        let mut retention = Retention::default();
        for batch in [&one, &other] {
            retention.insert(Instant::ZERO, batch, Instant::ZERO, &Default::default());
        }
        assert_eq!((retention.len(), retention.bytes()), (1, one.bytes().len()));
    }

    #[test]
    fn bytes_and_age_are_bounded() {
        let size = batch(1, 1).bytes().len();
        let config = RetentionConfig { bytes_max: 2 * size, age_max: Duration::from_secs(10) };
        let mut retention = Retention::default();
        for first in 1..=3 {
            let now = Instant::from_millis(first * 1_000);
            retention.insert(now, &batch(first, 1), now, &config);
        }
        assert_eq!((retention.len(), retention.bytes()), (2, 2 * size));
        assert_eq!(firsts(&retention, 1, 9), [2, 3]);
        retention.trim(Instant::from_millis(12_500), &config);
        assert_eq!(firsts(&retention, 1, 9), [3]);
    }
}

#[cfg(test)]
#[path = "retention_properties.rs"]
mod properties;
