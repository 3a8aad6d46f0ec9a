//! Streams against a naive model that knows a fate for each number.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::crypto::Signer;
use crate::id::{Incarnation, NodeId, Topic};
use crate::wire::batch::{BatchHeader, Message};

const ORIGIN: Origin = Origin { node: NodeId([1; 32]), incarnation: Incarnation(1) };
/// Numbers that occur.
const LAST: u64 = 60;

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

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A batch of so many numbers from this one on.
    Receive(u64, usize),
    /// Somebody has numbers up to this one.
    Note(u64),
    /// The first hole is given up, if something that is here follows it.
    Skip,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        // Batches of three from honest origins, and batches across their borders from liars.
        12 => (0..LAST / 3).prop_map(|third| Step::Receive(1 + 3 * third, 3)),
        2 => (1..=LAST, 1..5usize).prop_map(|(first, count)| Step::Receive(first, count)),
        1 => (1..=LAST).prop_map(Step::Note),
        1 => Just(Step::Skip),
    ]
}

/// Which batch holds a number, and what is settled.
#[derive(Default)]
struct Model {
    holder: BTreeMap<u64, (u64, u64)>,
    next: u64,
    high: u64,
    conceded: u64,
}

/// What the model expects of a reception, and what is delivered by it.
#[derive(Debug, PartialEq)]
enum Expected {
    Duplicate,
    Overlap,
    New(Vec<u64>),
}

impl Model {
    fn receive(&mut self, first: u64, last: u64) -> Expected {
        if last < self.next {
            return Expected::Duplicate;
        }
        if first < self.next {
            return Expected::Overlap;
        }
        let holders: Vec<_> = (first..=last).map(|seq| self.holder.get(&seq)).collect();
        if holders.iter().all(|holder| *holder == Some(&(first, last))) {
            return Expected::Duplicate;
        }
        if holders.iter().any(Option::is_some) {
            return Expected::Overlap;
        }
        self.holder.extend((first..=last).map(|seq| (seq, (first, last))));
        Expected::New(self.settle())
    }

    /// Delivers what follows what is settled.
    fn settle(&mut self) -> Vec<u64> {
        let from = self.next;
        while self.holder.contains_key(&self.next) {
            self.next += 1;
        }
        (from..self.next).collect()
    }

    /// The holes: numbers that nobody holds below the highest that is held or known.
    fn missing(&self) -> Vec<u64> {
        let held = self.holder.last_key_value().map_or(0, |(seq, _)| *seq);
        (self.next..=self.high.max(held)).filter(|seq| !self.holder.contains_key(seq)).collect()
    }

    fn note(&mut self, high: u64) {
        if high > self.conceded {
            self.high = self.high.max(high);
        }
    }

    fn skip(&mut self) -> Option<(u64, u64, Vec<u64>)> {
        if self.holder.range(self.next..).next().is_none() {
            self.conceded = std::mem::take(&mut self.high);
            return None;
        }
        let missing = self.missing();
        let from = *missing.first()?;
        let to = missing.iter().zip(from..).take_while(|(seq, n)| **seq == *n).last()?.1;
        self.next = to + 1;
        Some((from, to, self.settle()))
    }
}

fn numbers(ready: &Ready) -> Vec<u64> {
    ready.iter().flat_map(|(batch, from)| *from..=batch.header().last_seq()).collect()
}

fn received(reception: &Reception) -> Expected {
    match reception {
        Reception::Duplicate => Expected::Duplicate,
        Reception::Overlap => Expected::Overlap,
        Reception::New(ready) => Expected::New(numbers(ready)),
        Reception::BeyondWindow => panic!("the window holds all numbers that occur"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Any order, repetitions, overlaps and holes: each number is delivered once and in order, or
    /// is part of one explicit gap.
    #[test]
    fn each_number_is_delivered_once_or_given_up(
        begin in 1..10u64,
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut streams = Streams::new(4);
        streams.enter(ORIGIN, Some(begin));
        let mut model = Model { next: begin, ..Model::default() };
        let mut fates = Vec::new();
        for step in steps {
            match step {
                Step::Receive(first, count) => {
                    let batch = batch(first, count);
                    let last = batch.header().last_seq();
                    let known = streams.is_duplicate(&batch);
                    let reception = streams.receive(&batch, true);
                    let expected = model.receive(first, last);
                    prop_assert_eq!(&received(&reception), &expected, "{:?}", step);
                    prop_assert_eq!(known, expected == Expected::Duplicate);
                    if let Expected::New(delivered) = expected {
                        fates.extend(delivered);
                    }
                }
                Step::Note(high) => {
                    model.note(high);
                    streams.enter(ORIGIN, None).note_high(Instant::ZERO, high);
                }
                Step::Skip => {
                    let skipped = streams.enter(ORIGIN, None).skip_hole(Instant::ZERO);
                    let found = skipped.map(|(from, to, ready)| (from, to, numbers(&ready)));
                    let expected = model.skip();
                    prop_assert_eq!(&found, &expected);
                    if let Some((from, to, delivered)) = expected {
                        fates.extend(from..=to);
                        fates.extend(delivered);
                    }
                }
            }
            let stream = streams.get_mut(&ORIGIN).expect("known");
            prop_assert_eq!(stream.high() + 1, model.next);
            let missing: Vec<u64> = stream
                .missing(ORIGIN, usize::MAX)
                .iter()
                .flat_map(|range| range.from..=range.to)
                .collect();
            prop_assert_eq!(missing, model.missing());
        }
        prop_assert_eq!(fates, (begin..model.next).collect::<Vec<_>>());
    }
}
