use super::rig::{Rig, topic};
use crate::id::RequestId;
use crate::seed::event::Notice;
use crate::wire::frame::{Found, Frame, Lookup, SampleRequest};
use crate::wire::record::SignedRecord;

fn refused(rig: &mut Rig, n: usize) -> Vec<SignedRecord> {
    let mut done = rig.inbox(n).into_iter().filter_map(|frame| match frame {
        Frame::PutDone(done) => Some(done),
        _ => None,
    });
    let done = done.next_back().expect("an answer");
    assert_eq!(done.request, RequestId(7));
    done.refused
}

fn found(rig: &mut Rig, n: usize, seed: usize, name: &str) -> Found {
    rig.send(n, seed, Frame::Lookup(Lookup { request: RequestId(1), topic: topic(name) }));
    rig.run(5);
    let frames = rig.inbox(n).into_iter();
    let mut found = frames.filter_map(|f| if let Frame::Found(f) = f { Some(*f) } else { None });
    found.next_back().expect("an answer")
}

#[test]
fn a_topic_has_one_host_until_it_is_deleted() {
    let mut rig = Rig::new(3, 2);
    rig.join(0, 0);
    rig.join(1, 1);
    let mine = rig.topic_record(0, "news", (1, 1), false);
    rig.put(0, 0, vec![mine.clone()]);
    assert_eq!(refused(&mut rig, 0), []);
    for theirs in [(1, 1), (2, 1)] {
        let theirs = rig.topic_record(1, "news", theirs, false);
        rig.put(1, 1, vec![theirs]);
        assert_eq!(refused(&mut rig, 1), std::slice::from_ref(&mine));
    }
    let foreign = rig.topic_record(1, "news", (1, 2), true);
    rig.put(1, 1, vec![foreign]);
    assert_eq!(refused(&mut rig, 1), std::slice::from_ref(&mine), "only the host deletes");
    // Repeating is fine; a higher version replaces; a lower one is refused.
    let newer = rig.topic_record(0, "news", (1, 2), false);
    rig.put(0, 0, vec![mine.clone(), newer.clone(), newer.clone()]);
    assert_eq!(refused(&mut rig, 0), []);
    rig.put(0, 0, vec![mine]);
    assert_eq!(refused(&mut rig, 0), [newer]);
    let deleted = rig.topic_record(0, "news", (1, 3), true);
    rig.put(0, 0, vec![deleted.clone()]);
    assert_eq!(found(&mut rig, 1, 1, "news").record, Some(deleted.clone()));
    assert!((0..3).all(|n| rig.seed(n).status().topics == 0));
    assert!((0..3).all(|n| rig.noticed(n, |n| matches!(n, Notice::TopicDeleted { .. })).is_some()));
    for late in
        [rig.topic_record(1, "news", (1, 9), false), rig.topic_record(0, "news", (1, 9), false)]
    {
        let n = usize::from(late.record.owner() == rig.peers[1].node());
        rig.put(n, n, vec![late]);
        let standing = std::slice::from_ref(&deleted);
        assert_eq!(refused(&mut rig, n), standing, "nothing of that generation returns");
    }
    let next = rig.topic_record(1, "news", (2, 1), false);
    rig.put(1, 1, vec![next.clone()]);
    assert_eq!(refused(&mut rig, 1), []);
    assert_eq!(found(&mut rig, 0, 0, "news").record, Some(next));
    rig.assert_same_tables();
}

#[test]
fn of_two_hosts_that_create_a_topic_at_once_all_seeds_keep_the_same() {
    let mut rig = Rig::new(3, 2);
    rig.join(0, 0);
    rig.join(1, 1);
    for n in [1, 0] {
        let record = rig.topic_record(n, "news", (1, 1), false);
        rig.send(
            n,
            n,
            Frame::Put(crate::wire::frame::Put { request: RequestId(7), records: vec![record] }),
        );
    }
    rig.run(10_000);
    rig.assert_same_tables();
    let smaller = rig.peers[0].node().min(rig.peers[1].node());
    for n in 0..3 {
        assert_eq!(rig.seed(n).topics("news", 0, 9).items[0].host, smaller);
    }
}

#[test]
fn subscriptions_are_indexed_counted_and_sampled() {
    let mut rig = Rig::new(1, 100);
    for n in 0..100 {
        rig.join(n, 0);
        let record = rig.subscription(n, "news", 1, true);
        rig.put(n, 0, vec![record]);
    }
    let answer = found(&mut rig, 5, 0, "news");
    assert_eq!((answer.total, answer.subscribers.len(), answer.record), (100, 64, None));
    assert!(answer.subscribers.iter().all(|peer| peer.node != rig.peers[5].node()));
    for (name, total) in [("news", 100), ("nothing", 0)] {
        let request = SampleRequest { request: RequestId(2), topic: topic(name) };
        rig.send(5, 0, Frame::SampleRequest(request));
        rig.run(5);
        let frames = rig.inbox(5);
        let Frame::Sample(sample) = &frames[0] else { panic!("{frames:?}") };
        assert_eq!((sample.total, sample.peers.len()), (total, 64.min(total as usize)));
    }
    let overlay = SampleRequest { request: RequestId(3), topic: crate::id::Topic::overlay() };
    rig.send(5, 0, Frame::SampleRequest(overlay));
    rig.run(5);
    assert!(matches!(&rig.inbox(5)[0], Frame::Sample(sample) if sample.total == 100));
    let off = rig.subscription(7, "news", 2, false);
    let stale = rig.subscription(7, "news", 1, true);
    rig.put(7, 0, vec![off, stale]);
    assert_eq!(found(&mut rig, 5, 0, "news").total, 99);
    assert!(
        rig.noticed(0, |n| matches!(n, Notice::Unsubscribed { subscribers: 99, .. })).is_some()
    );
}

#[test]
fn what_an_unlisted_peer_puts_is_refused_and_it_is_told_to_register() {
    let mut rig = Rig::new(1, 1);
    rig.join(0, 0);
    let left = rig.record(0, 2, true);
    rig.put(0, 0, vec![left]);
    rig.inbox(0);
    let record = rig.subscription(0, "news", 1, true);
    rig.put(0, 0, vec![record.clone()]);
    let frames = rig.inbox(0);
    assert!(matches!(&frames[0], Frame::Renewed(renewed) if renewed.lease_ms == 0), "{frames:?}");
    assert!(matches!(&frames[1], Frame::PutDone(done) if done.refused == [record]));
}

#[test]
fn a_topic_outlives_its_host() {
    let mut rig = Rig::new(3, 2);
    for n in 0..2 {
        rig.join(n, 0);
        rig.join(n, 1);
    }
    let record = rig.topic_record(0, "news", (1, 1), false);
    rig.put(0, 0, vec![record.clone()]);
    rig.crash(0);
    rig.run(4_000);
    assert_eq!(rig.seed(2).status().dead, 1);
    assert_eq!(found(&mut rig, 1, 1, "news").record, Some(record));
}
