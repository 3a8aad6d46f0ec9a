use super::*;
use crate::crypto::Signer;
use crate::id::Incarnation;
use crate::wire::batch::{BatchHeader, Message};

fn origin(n: u8, life: u64) -> Origin {
    Origin { node: NodeId([n; 32]), incarnation: Incarnation(life) }
}

fn batch(origin: Origin, first_seq: u64, count: usize) -> Arc<Batch> {
    let header = BatchHeader {
        topic: Topic::new("t").expect("legal"),
        origin,
        address: "127.0.0.1:1".parse().expect("address"),
        generation: 1,
        first_seq,
        published_at_us: 0,
        count: 0,
    };
    Batch::sign(header, &vec![Message::new("x"); count], &Signer::Checksum(origin.node))
}

/// Batches of (publisher, first number, messages, second of publication).
fn found(batches: &[(Origin, u64, usize, u64)]) -> Found {
    let make = |&(origin, first, count, second): &(Origin, u64, usize, u64)| {
        let published = Instant::from_millis(1_000 * second);
        ((origin, first), (batch(origin, first, count), published))
    };
    batches.iter().map(make).collect()
}

/// In short: `1:4+2` for two messages from number 4 on of publisher 1, `1:4-5?` for a gap.
fn show(passages: &[Passage]) -> Vec<String> {
    let show = |passage: &Passage| match passage {
        Passage::Batch { batch, from_seq } => {
            let count = batch.header().last_seq() + 1 - from_seq;
            format!("{}:{from_seq}+{count}", batch.header().origin.node.0[0])
        }
        Passage::Retained(batch) => format!("={}", batch.header().first_seq),
        Passage::Known { .. } => panic!("nothing is known"),
        Passage::Gap { origin, from, to } => format!("{}:{from}-{to}?", origin.node.0[0]),
    };
    passages.iter().map(show).collect()
}

const NOW: Instant = Instant::from_millis(100_000);
const NONE: BTreeMap<Origin, u64> = BTreeMap::new();

#[test]
fn streams_are_mixed_by_time_and_keep_their_own_order() {
    let (a, b) = (origin(1, 1), origin(2, 1));
    let all = found(&[(a, 1, 2, 10), (a, 3, 1, 9), (b, 5, 1, 8), (b, 6, 1, 11), (a, 4, 1, 12)]);
    let expected = ["2:5+1", "1:1+2", "1:3+1", "2:6+1", "1:4+1"];
    assert_eq!(show(&arrange(all, From::All, &NONE, NOW)), expected);
}

#[test]
fn the_last_messages_are_cut_exactly() {
    let (a, b) = (origin(1, 1), origin(2, 1));
    let all = || found(&[(a, 1, 3, 1), (b, 1, 4, 2), (a, 4, 1, 3)]);
    let last = |count| show(&arrange(all(), From::Last(count), &NONE, NOW));
    assert_eq!(last(0), [""; 0]);
    assert_eq!(last(1), ["1:4+1"]);
    assert_eq!(last(3), ["2:3+2", "1:4+1"]);
    assert_eq!(last(6), ["1:3+1", "2:1+4", "1:4+1"]);
    assert_eq!(last(99).len(), 3);
}

#[test]
fn a_time_and_a_number_are_beginnings() {
    let (old, new, other) = (origin(1, 1), origin(1, 2), origin(2, 1));
    let all = || found(&[(old, 1, 9, 70), (new, 1, 2, 80), (new, 3, 2, 90), (other, 1, 1, 95)]);
    let since = From::Since(Duration::from_secs(20));
    assert_eq!(show(&arrange(all(), since, &NONE, NOW)), ["1:1+2", "1:3+2", "2:1+1"]);
    let stream = |incarnation, seq| From::Stream { origin: NodeId([1; 32]), incarnation, seq };
    assert_eq!(show(&arrange(all(), stream(None, 2), &NONE, NOW)), ["1:2+1", "1:3+2"]);
    let former = stream(Some(Incarnation(1)), 8);
    assert_eq!(show(&arrange(all(), former, &NONE, NOW)), ["1:8+2"]);
}

#[test]
fn what_nobody_has_is_a_gap() {
    let a = origin(1, 1);
    let all = found(&[(a, 3, 1, 1), (a, 6, 2, 2)]);
    assert_eq!(show(&arrange(all, From::All, &NONE, NOW)), ["1:3+1", "1:4-5?", "1:6+2"]);
}

#[test]
fn ranges_join_what_follows_each_other() {
    let (a, b) = (origin(1, 1), origin(2, 1));
    let batches = [batch(a, 1, 2), batch(a, 3, 2), batch(a, 9, 1), batch(b, 1, 3)];
    let ranges = ranges(batches.iter(), &NONE);
    let expected = [(a, 1, 4), (b, 1, 3), (a, 9, 9)];
    assert_eq!(ranges, expected.map(|(origin, from, to)| Range { origin, from, to }));
}

#[test]
fn a_collection_is_bounded() {
    let topic = Topic::new("t").expect("legal");
    let mut one = Collection::new(topic, From::All, NONE, NOW);
    one.bytes = COLLECTION_BYTES_MAX - 1;
    assert!(one.offer(&batch(origin(1, 1), 1, 1), NOW));
    assert!(!one.offer(&batch(origin(1, 1), 2, 1), NOW));
    assert_eq!(one.found.len(), 1);
}
