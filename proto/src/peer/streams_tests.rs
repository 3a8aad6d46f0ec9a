use proptest::prelude::*;

use super::*;
use crate::crypto::Signer;
use crate::id::{Incarnation, NodeId, Topic};
use crate::wire::batch::{BatchHeader, Message};

fn origin(n: u8) -> Origin {
    Origin { node: NodeId([n; 32]), incarnation: Incarnation(1) }
}

fn batch_of(n: u8, first_seq: u64, count: usize) -> Arc<Batch> {
    let header = BatchHeader {
        topic: Topic::new("t").expect("legal"),
        origin: origin(n),
        address: "127.0.0.1:1".parse().expect("address"),
        generation: 1,
        first_seq,
        published_at_us: 0,
        count: 0,
    };
    Batch::sign(header, &vec![Message::new("x"); count], &Signer::Checksum(origin(n).node))
}

fn batch(first_seq: u64, count: usize) -> Arc<Batch> {
    batch_of(1, first_seq, count)
}

fn missing(streams: &Streams) -> Vec<(u64, u64)> {
    let stream = streams.get(&origin(1)).expect("known");
    stream.missing(origin(1), 8).iter().map(|range| (range.from, range.to)).collect()
}

fn delivered(reception: Reception) -> Vec<u64> {
    let Reception::New(ready) = reception else { return vec![] };
    ready.iter().flat_map(|(b, from)| *from..=b.header().last_seq()).collect()
}

#[test]
fn a_stream_from_its_beginning_is_delivered_in_order() {
    let mut streams = Streams::new(10);
    assert_eq!(delivered(streams.receive(&batch(1, 2), true)), [1, 2]);
    assert_eq!(delivered(streams.receive(&batch(5, 1), true)), []);
    assert_eq!(streams.receive(&batch(1, 2), true), Reception::Duplicate);
    assert_eq!(streams.receive(&batch(5, 1), true), Reception::Duplicate);
    assert_eq!(delivered(streams.receive(&batch(3, 2), true)), [3, 4, 5]);
    assert!(streams.is_duplicate(&batch(3, 2)));
}

#[test]
fn what_follows_a_delivery_is_delivered_however_old_it_seems() {
    let mut streams = Streams::new(10);
    streams.enter(origin(1), Some(5));
    assert_eq!(delivered(streams.receive(&batch(5, 1), false)), []);
    assert_eq!(delivered(streams.receive(&batch(6, 1), true)), [6]);
    assert_eq!(delivered(streams.receive(&batch(9, 1), true)), []);
    assert_eq!(delivered(streams.receive(&batch(7, 1), false)), [7]);
    assert_eq!(delivered(streams.receive(&batch(8, 1), false)), [8, 9]);
}

#[test]
fn overlapping_batches_are_noticed() {
    let mut streams = Streams::new(10);
    streams.receive(&batch(1, 3), true);
    assert_eq!(streams.receive(&batch(2, 3), true), Reception::Overlap);
    streams.receive(&batch(10, 3), true);
    assert_eq!(streams.receive(&batch(9, 2), true), Reception::Overlap);
    assert_eq!(streams.receive(&batch(11, 5), true), Reception::Overlap);
    assert_eq!(streams.receive(&batch(10, 1), true), Reception::Overlap);
}

#[test]
fn an_old_stream_waits_until_its_beginning_is_known() {
    let mut streams = Streams::new(10);
    assert_eq!(delivered(streams.receive(&batch(7, 1), true)), []);
    assert_eq!(delivered(streams.receive(&batch(6, 1), true)), []);
    let stream = streams.get_mut(&origin(1)).expect("known");
    let ready = stream.open(None);
    assert_eq!(delivered(Reception::New(ready)), [6, 7]);
    assert_eq!(delivered(streams.receive(&batch(8, 1), true)), [8]);
    assert_eq!(streams.receive(&batch(2, 1), true), Reception::Duplicate);
}

#[test]
fn what_precedes_the_subscription_is_settled_but_not_delivered() {
    let mut streams = Streams::new(10);
    assert_eq!(streams.receive(&batch(4, 2), false), Reception::New(vec![]));
    assert_eq!(delivered(streams.receive(&batch(6, 1), true)), [6]);
}

#[test]
fn holes_are_named_and_skipped() {
    let mut streams = Streams::new(10);
    streams.receive(&batch(1, 1), true);
    streams.receive(&batch(4, 1), true);
    streams.receive(&batch(8, 1), true);
    let stream = streams.get_mut(&origin(1)).expect("known");
    stream.note_high(Instant::ZERO, 9);
    let bounds: Vec<_> = stream.missing(origin(1), 9).iter().map(|r| (r.from, r.to)).collect();
    assert_eq!(bounds, [(2, 3), (5, 7), (9, 9)]);
    let (from, to, ready) = stream.skip_hole(Instant::ZERO).expect("a hole");
    assert_eq!((from, to, delivered(Reception::New(ready))), (2, 3, vec![4]));
    stream.skip_hole(Instant::ZERO).expect("a hole");
    assert_eq!(stream.skip_hole(Instant::ZERO), None, "nothing shows that there is a 9");
    assert_eq!((stream.high(), stream.high_asked()), (8, 9));
}

#[test]
fn what_nobody_can_show_settles_nothing() {
    let mut streams = Streams::new(10);
    streams.receive(&batch(1, 1), true);
    let stream = streams.get_mut(&origin(1)).expect("known");
    stream.note_high(Instant::ZERO, u64::MAX);
    assert_eq!(stream.skip_hole(Instant::ZERO), None);
    assert!(stream.missing(origin(1), 9).is_empty());
    stream.note_high(Instant::ZERO, u64::MAX);
    assert!(stream.missing(origin(1), 9).is_empty(), "it was asked for in vain just now");
    stream.note_high(Instant::ZERO + CONCEDED_FOR, 3);
    assert_eq!(stream.missing(origin(1), 9).len(), 1, "again after a while");
    assert_eq!(delivered(streams.receive(&batch(2, 1), true)), [2]);
    assert_eq!(delivered(streams.receive(&batch(4, 1), true)), []);
    let skipped = streams.get_mut(&origin(1)).expect("known").skip_hole(Instant::ZERO);
    let (from, to, ready) = skipped.expect("4 shows that there is a 3");
    assert_eq!((from, to, delivered(Reception::New(ready))), (3, 3, vec![4]));
}

#[test]
fn where_a_stream_is_only_said_to_be_a_young_batch_opens_it_again() {
    for lie in [u64::MAX, 6] {
        let mut streams = Streams::new(10);
        streams.claim(origin(1), lie);
        assert_eq!(streams.receive(&batch(3, 1), false), Reception::Duplicate, "an old one");
        assert!(!streams.is_duplicate(&batch(5, 1)));
        assert_eq!(delivered(streams.receive(&batch(5, 1), true)), []);
        let stream = streams.get_mut(&origin(1)).expect("known");
        assert!(!stream.is_open(), "it is looked for where it begins");
        assert_eq!(delivered(Reception::New(stream.open(Some(5)))), [5]);
        assert_eq!(streams.receive(&batch(4, 1), true), Reception::Duplicate, "now it is shown");
    }
    let mut streams = Streams::new(10);
    streams.claim(origin(1), 6);
    assert_eq!(delivered(streams.receive(&batch(6, 1), true)), [6]);
    assert_eq!(streams.receive(&batch(5, 1), true), Reception::Duplicate);
    streams.claim(origin(1), 60);
    assert_eq!(delivered(streams.receive(&batch(7, 1), true)), [7], "a known stream is known");
}

#[test]
fn the_window_is_bounded() {
    let mut streams = Streams::new(10);
    streams.receive(&batch(1, 1), true);
    for i in 0..HELD_BATCHES_MAX as u64 {
        assert_eq!(missing(&streams).len(), if i == 0 { 0 } else { 2 }, "with {i} held");
        assert_eq!(streams.receive(&batch(3 + i, 1), true), Reception::New(vec![]));
        let stream = streams.get_mut(&origin(1)).expect("known");
        stream.note_high(Instant::ZERO, 9_999);
    }
    assert_eq!(streams.receive(&batch(9_999, 1), true), Reception::BeyondWindow);
    assert_eq!(missing(&streams), [(2, 2)], "what would not be held is not asked for");
    assert_eq!(delivered(streams.receive(&batch(2, 1), true)).len(), HELD_BATCHES_MAX + 1);
    assert_eq!(missing(&streams), [(HELD_BATCHES_MAX as u64 + 3, 9_999)], "there is room again");
}

#[test]
fn the_least_used_stream_is_forgotten() {
    let mut streams = Streams::new(3);
    for n in 1..=3 {
        streams.receive(&batch_of(n, 1, 1), true);
    }
    streams.receive(&batch_of(1, 2, 1), true);
    streams.receive(&batch_of(4, 1, 1), true);
    assert_eq!(streams.len(), 3);
    assert!(streams.contains(&origin(1)) && !streams.contains(&origin(2)));
}

proptest! {
    /// Against a naive model: any order, any repetition, each number once and in order.
    #[test]
    fn every_number_once_and_in_order(order in proptest::collection::vec(0usize..30, 1..200)) {
        let batches: Vec<_> = (0..30).map(|i| batch(1 + 3 * i, 3)).collect();
        let mut streams = Streams::new(10);
        let mut seen = std::collections::BTreeSet::new();
        let mut got = Vec::new();
        for i in order {
            let reception = streams.receive(&batches[i], true);
            prop_assert_eq!(reception == Reception::Duplicate, !seen.insert(i));
            got.extend(delivered(reception));
        }
        let contiguous = (0..30).take_while(|i| seen.contains(i)).count() as u64 * 3;
        prop_assert_eq!(got, (1..=contiguous).collect::<Vec<_>>());
    }
}
