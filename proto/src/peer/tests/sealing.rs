//! Batches that are signed ahead of the window of their stream.

use super::pacing::{BODY, answered, rig};
use super::rig::{Rig, topic};
use crate::id::{Incarnation, RequestId};
use crate::machine::{Input, Machine as _};
use crate::peer::event::{Answer, Command, CommandError, From};
use crate::peer::notice::Notice;
use crate::wire::batch::{BatchHeader, Message};
use crate::wire::record::{Record, SignedRecord, TopicRecord};

/// What an application hands over that does not heed a full queue.
const HANDED: usize = 40;

/// A publisher of whose batches some are signed and not sent.
fn sealed(subscribers: usize, publisher_subscribes: bool) -> Rig {
    let mut rig = rig(subscribers);
    if publisher_subscribes {
        rig.subscribe(0, From::New);
    }
    for number in 0..HANDED as u64 {
        let request = RequestId(1_000_000 + number);
        let message = Message::new(vec![b'x'; BODY]);
        rig.feed(0, Input::Command(Command::Publish { request, topic: topic(), message }));
    }
    let is_sealed = |rig: &Rig| rig.peers[0].publisher.next_sealed(|_| true).is_some();
    while !is_sealed(&rig) {
        assert!(answered(&rig) < HANDED, "nothing was signed ahead");
        rig.run(1);
    }
    rig
}

/// What was sent, in order.
fn sent(rig: &Rig) -> Vec<BatchHeader> {
    let sent = rig.notices[0].iter().filter_map(|notice| match notice {
        Notice::Published { batch } => Some(batch.header().clone()),
        _ => None,
    });
    sent.collect()
}

fn assert_consecutive(sent: &[BatchHeader], first: u64) {
    let numbers: Vec<_> = sent.iter().map(|header| header.first_seq).collect();
    assert_eq!(numbers, (first..first + sent.len() as u64).collect::<Vec<_>>());
}

#[test]
fn a_signature_is_for_all_that_waits() {
    let mut rig = sealed(4, false);
    let before = sent(&rig).len();
    let checked = rig.peers[1].stats().signatures_checked;
    assert!(before < HANDED / 2);
    rig.run(2_000);
    assert_eq!((answered(&rig), sent(&rig).len()), (HANDED, HANDED + 1));
    assert_consecutive(&sent(&rig), 1);
    // That of the batches which were signed ahead, and that of the last, which was not full.
    assert!((1..3).contains(&(rig.peers[1].stats().signatures_checked - checked)));
    assert_eq!(rig.delivered[1].len(), HANDED + 1);
}

#[test]
fn what_is_signed_for_a_topic_that_is_deleted_is_refused() {
    let mut rig = sealed(3, false);
    rig.ask(0, |request| Command::DeleteTopic { request, topic: topic() }).expect("deleted");
    rig.run(100);
    assert_eq!(answered(&rig), HANDED);
    let refused = |answer: &&Result<_, _>| matches!(answer, Err(CommandError::TopicNotFound(_)));
    let refused = rig.answers.values().filter(refused).count();
    assert_eq!(refused, HANDED + 1 - sent(&rig).len());
    assert!(refused > 0 && rig.peers[0].takes_traffic());
    // The numbers that were not used are those of the topic's next life.
    let after = sent(&rig).len();
    rig.create(0).expect("created");
    rig.publish(0, "again").expect("published");
    assert_eq!(sent(&rig).len(), after + 1);
    assert_consecutive(&sent(&rig), 1);
}

#[test]
fn what_is_signed_is_published_though_its_publisher_unsubscribes() {
    let mut rig = sealed(3, true);
    rig.ask(0, |request| Command::Unsubscribe { request, topic: topic() }).expect("unsubscribed");
    rig.run(5_000);
    assert_eq!(answered(&rig), HANDED);
    assert_consecutive(&sent(&rig), 1);
    (1..=3).for_each(|n| assert_eq!(rig.delivered[n].len(), HANDED + 1));
}

#[test]
fn what_is_signed_when_a_peer_leaves_is_refused() {
    let mut rig = sealed(2, false);
    let before = sent(&rig).len();
    rig.ask(0, |request| Command::Leave { request }).expect("left");
    assert_eq!((answered(&rig), sent(&rig).len()), (HANDED, before));
    let refused = |answer: &&Result<_, _>| matches!(answer, Err(CommandError::Leaving));
    assert_eq!(rig.answers.values().filter(refused).count(), HANDED + 1 - before);
}

#[test]
fn what_was_signed_in_a_former_life_is_signed_again() {
    let mut rig = sealed(3, false);
    let before = sent(&rig).len();
    assert!(before < HANDED);
    rig.peers[0].return_to_life(Incarnation(1));
    rig.run(5_000);
    let sent = sent(&rig);
    assert_eq!((answered(&rig), sent.len()), (HANDED, HANDED + 1));
    assert!(sent[before..].iter().all(|header| header.origin.incarnation == Incarnation(2)));
    assert_consecutive(&sent[..before], 1);
    assert_consecutive(&sent[before..], 1);
}

#[test]
fn what_was_signed_for_a_former_generation_is_signed_again() {
    let mut rig = sealed(3, false);
    let before = sent(&rig).len();
    let peer = &mut rig.peers[0];
    let known = peer.topics.directory.record(&topic()).expect("known").clone();
    let former = known.generation;
    let record = TopicRecord { generation: former + 1, ..known };
    let signed = SignedRecord::sign(Record::Topic(record), &peer.signer);
    peer.on_topic_record(&signed, None);
    rig.run(5_000);
    let sent = sent(&rig);
    assert_eq!((answered(&rig), sent.len()), (HANDED, HANDED + 1));
    assert_consecutive(&sent, 1);
    assert!(sent[..before].iter().all(|header| header.generation == former));
    assert!(sent[before..].iter().all(|header| header.generation == former + 1));
}

#[test]
fn answers_tell_the_numbers_under_which_messages_were_sent() {
    let mut rig = sealed(2, false);
    rig.run(2_000);
    let seq = |n: usize| match rig.answers.get(&RequestId(1_000_000 + n as u64)) {
        Some(Ok(Answer::Published { seq, .. })) => *seq,
        other => panic!("{n}: {other:?}"),
    };
    (0..HANDED).for_each(|n| assert_eq!(seq(n), n as u64 + 2, "the first came before"));
}
