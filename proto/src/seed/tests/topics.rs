use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::rig::{End, Mood, Rig, seed_node, topic};
use crate::filter::TopicFilter;
use crate::id::{Incarnation, Origin, RequestId};
use crate::seed::event::Notice;
use crate::wire::frame::{
    Found, Frame, Head, Heads, Hosting, KnownTopic, Lookup, Outcome, Propose, SampleRequest, Watch,
};
use crate::wire::record::SignedRecord;

fn outcome(rig: &mut Rig, n: usize) -> Outcome {
    let mut done = rig.inbox(n).into_iter().filter_map(|frame| match frame {
        Frame::Proposed(done) => Some(done),
        _ => None,
    });
    let done = done.next_back().expect("an answer");
    assert_eq!(done.request, RequestId(7));
    done.outcome
}

fn propose(rig: &mut Rig, n: usize, record: &SignedRecord) -> Outcome {
    rig.put(n, n, vec![record.clone()]);
    outcome(rig, n)
}

fn against(record: &SignedRecord) -> Outcome {
    Outcome::Against(Box::new(record.clone()))
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
    assert_eq!(propose(&mut rig, 0, &mine), Outcome::Kept);
    for theirs in [(1, 1), (1, 2), (2, 1)] {
        let theirs = rig.topic_record(1, "news", theirs, false);
        assert_eq!(propose(&mut rig, 1, &theirs), against(&mine));
    }
    let foreign = rig.topic_record(1, "news", (1, 2), true);
    assert_eq!(propose(&mut rig, 1, &foreign), against(&mine), "only the host deletes");
    // Repeating is fine; a higher version replaces; a lower one is refused.
    let newer = rig.topic_record(0, "news", (1, 2), false);
    for record in [&mine, &newer, &newer] {
        assert_eq!(propose(&mut rig, 0, record), Outcome::Kept);
    }
    assert_eq!(propose(&mut rig, 0, &mine), against(&newer));
    let deleted = rig.topic_record(0, "news", (1, 3), true);
    assert_eq!(propose(&mut rig, 0, &deleted), Outcome::Kept);
    assert_eq!(found(&mut rig, 1, 1, "news").record, Some(deleted.clone()));
    assert!((0..3).all(|n| rig.seed(n).status().topics == 0));
    assert!((0..3).all(|n| rig.noticed(n, |n| matches!(n, Notice::TopicDeleted { .. })).is_some()));
    for n in [0, 1] {
        let late = rig.topic_record(n, "news", (1, 9), false);
        let outcome = propose(&mut rig, n, &late);
        assert_eq!(outcome, against(&deleted), "nothing of that generation returns");
    }
    let next = rig.topic_record(1, "news", (2, 1), false);
    assert_eq!(propose(&mut rig, 1, &next), Outcome::Kept);
    assert_eq!(found(&mut rig, 0, 0, "news").record, Some(next));
    rig.assert_same_tables();
}

#[test]
fn of_two_hosts_that_create_a_topic_at_once_one_wins() {
    for delay in [0, 1, 2, 3, 4, 5] {
        let mut rig = Rig::new(5, 2);
        rig.join(0, 0);
        rig.join(1, 1);
        let records = [0, 1].map(|n| rig.topic_record(n, "news", (1, 1), false));
        for n in [1, 0] {
            let (request, record) = (RequestId(7), records[n].clone());
            rig.send(n, n, Frame::Propose(Box::new(Propose { request, record })));
            rig.run(delay);
        }
        rig.run(2_500);
        let outcomes = [0, 1].map(|n| outcome(&mut rig, n));
        let winner = outcomes.iter().position(|o| *o == Outcome::Kept).expect("a winner");
        assert_eq!(outcomes[1 - winner], against(&records[winner]), "after {delay} ms");
        for n in 0..5 {
            assert_eq!(rig.seed(n).topics("news", 0, 9).items[0].host, rig.peers[winner].node());
        }
        rig.assert_same_tables();
    }
}

#[test]
fn without_a_majority_nothing_is_agreed_and_nobody_is_told_what_may_not_be() {
    let mut rig = Rig::new(3, 2);
    rig.join(0, 0);
    rig.join(1, 2);
    rig.kill_seed(1);
    rig.run(10);
    // One majority is left: what it accepts is found by all, also where only it was accepted.
    let record = rig.topic_record(0, "news", (1, 1), false);
    assert_eq!(propose(&mut rig, 0, &record), Outcome::Kept);
    assert_eq!(found(&mut rig, 1, 2, "news").record, Some(record.clone()));
    rig.kill_seed(2);
    rig.run(10);
    let other = rig.topic_record(0, "other", (1, 1), false);
    assert_eq!(propose(&mut rig, 0, &other), Outcome::NoQuorum);
    // Seeds that lost their memory learn from the one that did not.
    rig.start_seed(1);
    rig.start_seed(2);
    rig.run(10_000);
    rig.join(1, 1);
    assert_eq!(found(&mut rig, 1, 1, "news").record, Some(record.clone()));
    let theirs = rig.topic_record(1, "news", (1, 1), false);
    assert_eq!(propose(&mut rig, 1, &theirs), against(&record));
}

fn news(rig: &mut Rig, n: usize) -> Vec<SignedRecord> {
    let told = rig.inbox(n).into_iter().filter_map(|frame| match frame {
        Frame::TopicNews(records) => Some(records),
        _ => None,
    });
    told.flatten().collect()
}

#[test]
fn who_watches_a_topic_or_a_filter_is_told_of_each_change() {
    let mut rig = Rig::new(3, 3);
    (0..3).for_each(|n| rig.join(n, n));
    let old = rig.topic_record(0, "a/old", (1, 1), false);
    propose(&mut rig, 0, &old);
    (0..3).for_each(|n| drop(rig.inbox(n)));
    let request = RequestId(3);
    let filter = TopicFilter::new("a/#").unwrap();
    let filtered =
        Watch { request, topics: vec![], filters: vec![filter.clone()], dropped: vec![] };
    rig.send(1, 1, Frame::Watch(filtered));
    let known = |generation| KnownTopic { topic: topic("a/old"), generation, version: 1 };
    let named = |known| Watch { request, topics: vec![known], filters: vec![], dropped: vec![] };
    rig.send(2, 2, Frame::Watch(named(known(1))));
    rig.run(5);
    let told = rig.inbox(1);
    assert_eq!(told, [Frame::TopicNews(vec![old.clone()]), Frame::Watched(request)]);
    assert_eq!(rig.inbox(2), [Frame::Watched(request)], "nothing that it does not know");
    let records = ["a/new", "b"].map(|name| rig.topic_record(0, name, (1, 1), false));
    records.iter().for_each(|record| drop(propose(&mut rig, 0, record)));
    let deleted = rig.topic_record(0, "a/old", (1, 2), true);
    propose(&mut rig, 0, &deleted);
    assert_eq!(news(&mut rig, 1), [records[0].clone(), deleted.clone()]);
    assert_eq!(news(&mut rig, 2), std::slice::from_ref(&deleted));
    // Who was away is told on its next session; who wants no more is not.
    rig.send(2, 2, Frame::Watch(named(known(0))));
    let dropped = Watch { request, topics: vec![], filters: vec![], dropped: vec![filter] };
    rig.send(1, 1, Frame::Watch(dropped));
    rig.run(5);
    assert_eq!(news(&mut rig, 2), [deleted]);
    let newer = rig.topic_record(0, "a/new", (1, 2), false);
    propose(&mut rig, 0, &newer);
    assert_eq!(news(&mut rig, 1), []);
}

#[test]
fn a_topic_whose_host_is_dead_for_long_is_taken_over_once() {
    let orphan_after = core::time::Duration::from_secs(600);
    let mut rig = Rig::with(3, 4, |config| config.topic_orphan_after = orphan_after);
    for n in 0..4 {
        rig.join(n, n % 3);
    }
    let mine = rig.topic_record(0, "news", (1, 1), false);
    propose(&mut rig, 0, &mine);
    assert!(matches!(found(&mut rig, 1, 1, "news").hosting, Hosting::Here(_)));
    rig.crash(0);
    let renew = |rig: &mut Rig, seconds: u64| {
        for _ in 0..seconds / 20 {
            rig.run(20_000);
            (1..3).for_each(|n| rig.renew(n, n, &[]));
        }
    };
    renew(&mut rig, 580);
    let away = found(&mut rig, 1, 1, "news").hosting;
    assert!(matches!(away, Hosting::Away(absence) if absence.gone_ms >= 570_000), "{away:?}");
    let heirs = [1, 2].map(|n| rig.topic_record(n, "news", (1, 2), false));
    assert_eq!(propose(&mut rig, 1, &heirs[0]), against(&mine), "not yet");
    renew(&mut rig, 40);
    assert!(matches!(found(&mut rig, 1, 1, "news").hosting, Hosting::Orphaned(_)));
    assert_eq!(propose(&mut rig, 1, &heirs[0]), Outcome::Kept);
    assert_eq!(propose(&mut rig, 2, &heirs[1]), against(&heirs[0]), "it has a host again");
    rig.peers[0].mood = Mood::Well;
    rig.peers[0].incarnation = Incarnation(11);
    rig.join(0, 0);
    assert_eq!(propose(&mut rig, 0, &mine), against(&heirs[0]));
    assert!(matches!(found(&mut rig, 2, 2, "news").hosting, Hosting::Here(_)));
    rig.assert_same_tables();
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

#[test]
fn who_is_behind_in_a_stream_is_told_so() {
    let mut rig = Rig::new(1, 2);
    rig.join(0, 0);
    rig.join(1, 0);
    let origin = Origin { node: seed_node(0), incarnation: Incarnation(1) };
    let heads = |high| {
        let heads = vec![Head { origin, low: 1, high, age_ms: 0 }];
        Frame::Heads(Heads { topic: topic("news"), heads, answer: false })
    };
    let answer = |rig: &mut Rig, n: usize| {
        rig.run(5);
        let told = rig.inbox(n).into_iter().find_map(|frame| match frame {
            Frame::Heads(heads) => Some(heads.heads),
            _ => None,
        });
        told.map(|heads| heads.iter().map(|head| head.high).collect::<Vec<_>>())
    };
    rig.send(0, 0, heads(7));
    assert_eq!(answer(&mut rig, 0), None, "nobody is further");
    rig.send(1, 0, heads(5));
    assert_eq!(answer(&mut rig, 1), Some(vec![7]));
    rig.send(1, 0, heads(7));
    assert_eq!(answer(&mut rig, 1), None);
}

#[test]
fn whatever_the_timing_and_the_cuts_one_creator_wins() {
    let (mut won_at_once, mut undecided) = (0, 0);
    for number in 0..60 {
        let mut rng = ChaCha8Rng::seed_from_u64(number);
        let mut rig = Rig::with(5, 6, |config| {
            config.identity.rng_seed[24..].copy_from_slice(&number.to_be_bytes());
        });
        let homes: Vec<usize> = (0..6).map(|_| rng.random_range(0..5)).collect();
        (0..6).for_each(|n| rig.join(n, homes[n]));
        for _ in 0..rng.random_range(0..6) {
            let (a, b) = (rng.random_range(0..5), rng.random_range(0..5));
            rig.cut.insert((End::Seed(a), End::Seed(b)));
        }
        let records: Vec<_> = (0..6).map(|n| rig.topic_record(n, "news", (1, 1), false)).collect();
        let propose = |rig: &mut Rig, n: usize| {
            let (request, record) = (RequestId(7), records[n].clone());
            rig.send(n, homes[n], Frame::Propose(Box::new(Propose { request, record })));
        };
        for n in 0..6 {
            propose(&mut rig, n);
            rig.run(rng.random_range(0..4));
        }
        rig.run(45_000);
        let first: Vec<_> = (0..6).map(|n| outcome(&mut rig, n)).collect();
        rig.cut.clear();
        rig.run(15_000);
        (0..6).for_each(|n| propose(&mut rig, n));
        rig.run(6_000);
        let last: Vec<_> = (0..6).map(|n| outcome(&mut rig, n)).collect();
        let winner = last.iter().position(|o| *o == Outcome::Kept).expect("somebody wins");
        for n in 0..6 {
            let lost = against(&records[winner]);
            assert_eq!(last[n], if n == winner { Outcome::Kept } else { lost.clone() });
            let truthful = first[n] == last[n] || first[n] == Outcome::NoQuorum;
            assert!(truthful, "run {number}: {:?} then {:?}", first[n], last[n]);
        }
        won_at_once += usize::from(first.contains(&Outcome::Kept));
        undecided += first.iter().filter(|o| **o == Outcome::NoQuorum).count();
        rig.assert_same_tables();
    }
    assert!(won_at_once > 30 && undecided > 0, "{won_at_once} at once, {undecided} undecided");
}

#[test]
fn a_topic_that_nobody_hosts_or_wants_is_dropped_after_a_day() {
    let mut rig = Rig::with(3, 4, |_| {});
    for n in 0..4 {
        rig.join(n, n % 3);
    }
    let mine = rig.topic_record(0, "news", (1, 1), false);
    propose(&mut rig, 0, &mine);
    let record = rig.subscription(1, "news", 1, true);
    rig.put(1, 1, vec![record]);
    rig.crash(0);
    let renew = |rig: &mut Rig, seconds: u64| {
        for _ in 0..seconds / 20 {
            rig.run(20_000);
            (1..3).for_each(|n| rig.renew(n, n, &[]));
        }
    };
    let absence = |rig: &mut Rig| match found(rig, 1, 1, "news").hosting {
        Hosting::Orphaned(absence) => absence,
        other => panic!("{other:?}"),
    };
    renew(&mut rig, 25 * 3_600);
    assert_eq!(absence(&mut rig).drop_in_ms, None, "somebody wants it");
    let record = rig.subscription(1, "news", 2, false);
    rig.put(1, 1, vec![record]);
    renew(&mut rig, 23 * 3_600);
    let left_ms = absence(&mut rig).drop_in_ms.expect("nobody wants it");
    assert!((3_000_000..3_700_000).contains(&left_ms), "{left_ms}");
    // Somebody looks in: the day begins again.
    for (version, subscribed) in [(3, true), (4, false)] {
        let record = rig.subscription(1, "news", version, subscribed);
        rig.put(1, 1, vec![record]);
        renew(&mut rig, 40);
    }
    renew(&mut rig, 2 * 3_600);
    assert!(absence(&mut rig).drop_in_ms.is_some_and(|left_ms| left_ms > 21 * 3_600_000));
    renew(&mut rig, 23 * 3_600);
    assert_eq!(found(&mut rig, 1, 1, "news").hosting, Hosting::Dropped);
    assert!((0..3).all(|seed| rig.seed(seed).status().topics == 0));
    rig.assert_same_tables();

    // Who creates it begins anew; the former host finds that it is not its own any more.
    let heir = rig.topic_record(2, "news", (2, 1), false);
    assert_eq!(propose(&mut rig, 2, &heir), Outcome::Kept);
    assert!(matches!(found(&mut rig, 1, 1, "news").hosting, Hosting::Here(_)));
    rig.peers[0].mood = Mood::Well;
    rig.peers[0].incarnation = Incarnation(11);
    rig.join(0, 0);
    assert_eq!(propose(&mut rig, 0, &mine), against(&heir));
    rig.assert_same_tables();
}

#[test]
fn a_dropped_topic_is_back_with_its_host() {
    let mut rig = Rig::with(1, 2, |config| {
        config.topic_drop_after = core::time::Duration::from_secs(60);
    });
    (0..2).for_each(|n| rig.join(n, 0));
    let mine = rig.topic_record(0, "news", (1, 1), false);
    propose(&mut rig, 0, &mine);
    rig.crash(0);
    for _ in 0..10 {
        rig.run(20_000);
        rig.renew(1, 0, &[]);
    }
    assert_eq!(found(&mut rig, 1, 0, "news").hosting, Hosting::Dropped);
    rig.peers[0].mood = Mood::Well;
    rig.peers[0].incarnation = Incarnation(11);
    rig.join(0, 0);
    assert_eq!(propose(&mut rig, 0, &mine), Outcome::Kept);
    assert!(matches!(found(&mut rig, 1, 0, "news").hosting, Hosting::Here(_)));
}
