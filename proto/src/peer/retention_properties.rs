//! Retention against a list of all that was ever kept.

use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::crypto::Signer;
use crate::id::{Incarnation, NodeId, Topic};
use crate::wire::batch::{BatchHeader, Message};

fn origin(n: u8) -> Origin {
    Origin { node: NodeId([n; 32]), incarnation: Incarnation(1) }
}

/// Three numbers from `3 * n + 1` on, of so many bytes.
fn batch(of: u8, n: u64, bytes: usize) -> Arc<Batch> {
    let header = BatchHeader {
        topic: Topic::new("t").expect("legal"),
        origin: origin(of),
        address: "127.0.0.1:1".parse().expect("address"),
        generation: 1,
        first_seq: 3 * n + 1,
        published_at_us: 0,
        count: 0,
    };
    let messages = [Message::new(vec![b'x'; bytes]), Message::new("y"), Message::new("z")];
    Batch::sign(header, &messages, &Signer::Checksum(origin(of).node))
}

fn key(batch: &Batch) -> (Origin, u64) {
    (batch.header().origin, batch.header().first_seq)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What is kept is the newest arrivals that fit: no older than allowed, no larger than
    /// allowed, in order of arrival, and every range is answered from exactly these.
    #[test]
    fn the_newest_that_fit_are_kept(
        arrivals in proptest::collection::vec((0..2u8, 0..8u64, 0..400usize, 0..4_000u64), 1..80),
        bytes_max in 0..4_000usize,
        age_max_ms in 1..20_000u64,
        range in (1..25u64, 0..12u64),
    ) {
        let age_max = Duration::from_millis(age_max_ms);
        let config = RetentionConfig { bytes_max, age_max };
        let mut retention = Retention::default();
        let mut model: VecDeque<(Instant, Arc<Batch>)> = VecDeque::new();
        let mut now = Instant::ZERO;
        for (of, n, bytes, after_ms) in arrivals {
            now = now + Duration::from_millis(after_ms);
            let batch = batch(of, n, bytes);
            // A batch is received once while it is kept; that is what streams are for.
            if !model.iter().any(|(_, kept)| key(kept) == key(&batch)) {
                retention.insert(now, &batch, now, &config);
                model.push_back((now, batch));
            } else {
                retention.trim(now, &config);
            }
            let size = |all: &VecDeque<(Instant, Arc<Batch>)>| -> usize {
                all.iter().map(|(_, kept)| kept.bytes().len()).sum()
            };
            while model.front().is_some_and(|(arrived, _)| {
                now.since(*arrived) > age_max || size(&model) > bytes_max
            }) {
                model.pop_front();
            }
            prop_assert_eq!(retention.bytes(), size(&model));
            prop_assert!(retention.bytes() <= bytes_max);
            let kept: Vec<_> = retention.by_stream().map(|(_, kept)| key(&kept.batch)).collect();
            let mut expected: Vec<_> = model.iter().map(|(_, kept)| key(kept)).collect();
            expected.sort_unstable();
            prop_assert_eq!(kept, expected);
        }
        let (from, length) = range;
        let asked = Range { origin: origin(0), from, to: from + length };
        let answered: Vec<_> = retention.range(&asked).map(|kept| key(&kept.batch)).collect();
        let mut expected: Vec<_> = model
            .iter()
            .map(|(_, kept)| kept)
            .filter(|kept| {
                let header = kept.header();
                header.origin == asked.origin
                    && header.first_seq <= asked.to
                    && header.last_seq() >= asked.from
            })
            .map(|kept| key(kept))
            .collect();
        expected.sort_unstable();
        prop_assert_eq!(answered, expected);
    }
}
