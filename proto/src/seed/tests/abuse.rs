use super::rig::{End, Rig};
use crate::filter::TopicFilter;
use crate::id::{Incarnation, NodeId, RequestId};
use crate::machine::{Class, Input, LinkDown};
use crate::seed::event::Notice;
use crate::seed::links::LINKS_MAX;
use crate::seed::memory::Key;
use crate::wire::frame::{
    Frame, Outcome, Propose, Proposed, Purpose, Put, Reason, Register, Report, Watch,
};
use crate::wire::record::{DeathVote, Record, SignedRecord};

fn violates(frame: impl Fn(&Rig) -> Frame) -> Rig {
    let mut rig = Rig::new(1, 3);
    rig.join(0, 0);
    rig.join(1, 0);
    rig.inbox(0);
    let frame = frame(&rig);
    rig.send(0, 0, frame);
    rig.run(5);
    assert_eq!(rig.goodbye(0).map(|bye| bye.reason), Some(Reason::Violation));
    assert_eq!(rig.seed(0).status().stats.violations, 1);
    let refused = |n: &Notice| matches!(n, Notice::LinkRefused { reason: Reason::Violation, .. });
    assert!(rig.noticed(0, refused).is_some());
    assert_eq!(rig.seed(0).status().sessions, 1);
    rig
}

fn put(records: Vec<SignedRecord>) -> Frame {
    Frame::Put(Put { request: RequestId(1), records })
}

#[test]
fn frames_that_are_not_for_a_seed_end_the_link() {
    violates(|_| Frame::Accept);
    violates(|_| Frame::RecordsRequest(Box::default()));
    violates(|rig| Frame::Records(vec![rig.record(0, 2, false)]));
    violates(|rig| Frame::Hello(Box::new(rig.hello(0, Purpose::Session))));
    violates(|_| Frame::Shuffle(Vec::new()));
}

#[test]
fn foreign_and_forged_records_end_the_link_and_change_nothing() {
    let rig = violates(|rig| {
        put(vec![rig.subscription(0, "mine", 1, true), rig.subscription(1, "theirs", 1, true)])
    });
    assert_eq!(rig.seed(0).registry.subscriptions(), 0);
    violates(|rig| {
        let mut forged = rig.subscription(0, "mine", 1, true);
        forged.signature.0[40] ^= 1;
        put(vec![forged])
    });
    violates(|rig| Frame::Register(Box::new(Register { record: rig.record(1, 5, true) })));
    violates(|rig| {
        let mut forged = rig.record(0, 5, false);
        forged.signature.0[40] ^= 1;
        Frame::Register(Box::new(Register { record: forged }))
    });
    violates(|rig| {
        let record = rig.subscription(0, "mine", 1, true);
        Frame::Register(Box::new(Register { record }))
    });
    violates(|rig| {
        let (voter, node) = (rig.peers[0].node(), rig.peers[1].node());
        let vote = Record::DeathVote(DeathVote { voter, node, incarnation: Incarnation(10) });
        put(vec![SignedRecord::sign(vote, &rig.peers[0].signer)])
    });
}

#[test]
fn frames_before_the_greeting_end_the_link() {
    let mut rig = Rig::new(1, 1);
    let hello = rig.hello(0, Purpose::Session);
    rig.cut.insert((End::Peer(0), End::Seed(0)));
    rig.greet(0, 0, hello);
    rig.cut.clear();
    rig.register(0, 0);
    rig.run(5);
    assert_eq!(rig.goodbye(0).map(|bye| bye.reason), Some(Reason::Violation));
}

#[test]
fn malformed_bytes_are_counted_and_nobody_is_accused() {
    let mut rig = Rig::new(1, 1);
    rig.join(0, 0);
    let link = rig.peers[0].sessions[&0];
    rig.input(0, Input::LinkDown { link, cause: LinkDown::Malformed("control frame") });
    let stats = rig.seed(0).status().stats;
    assert_eq!((stats.violations, stats.probes), (1, 0));
    rig.input(0, Input::Shed { link, class: Class::Control, frames: 3, batches: Vec::new() });
    assert_eq!(rig.seed(0).status().stats.frames_shed, 3);
}

#[test]
fn reports_of_strangers_and_of_unknown_lives_are_ignored() {
    let mut rig = Rig::new(1, 3);
    rig.join(0, 0);
    rig.join(1, 0);
    let hello = rig.hello(2, Purpose::Session);
    rig.greet(2, 0, hello);
    rig.report(2, 0, 1, false);
    let address = rig.peers[1].address;
    let reports = [
        (rig.peers[1].node(), Incarnation(9)),
        (rig.peers[1].node(), Incarnation(11)),
        (NodeId([77; 32]), Incarnation(10)),
        (rig.peers[0].node(), Incarnation(10)),
    ];
    for (node, incarnation) in reports {
        let report = Report { node, incarnation, address, withdrawn: false };
        rig.send(0, 0, Frame::Report(report));
        rig.send(0, 0, Frame::Report(Report { withdrawn: true, ..report }));
    }
    rig.run(10);
    let status = rig.seed(0).status();
    assert_eq!((status.suspects, status.stats.probes), (0, 0));
}

#[test]
fn a_peer_has_a_share_of_the_tables() {
    let mut rig = Rig::with(1, 2, |config| config.records_per_peer_max = 4);
    rig.join(0, 0);
    let records = (0..6).map(|n| rig.subscription(0, &format!("t/{n}"), 1, true)).collect();
    rig.put(0, 0, records);
    assert_eq!(rig.seed(0).registry.subscriptions(), 4);
    // The topics that it hosts have a share of their own.
    let hosted = (0..5).map(|n| rig.topic_record(0, &format!("mine/{n}"), (1, 1), false));
    let hosted = hosted.collect();
    rig.put(0, 0, hosted);
    assert_eq!(rig.seed(0).status().topics, 4);
    assert_eq!(rig.seed(0).status().stats.records_shed, 3);
    let frames = rig.inbox(0);
    let full = Proposed { request: RequestId(7), outcome: Outcome::Full(4) };
    assert_eq!(frames.last(), Some(&Frame::Proposed(full)));
    // What is unsubscribed makes room.
    let off = rig.subscription(0, "t/0", 2, false);
    let on = rig.subscription(0, "t/9", 1, true);
    rig.put(0, 0, vec![off, on]);
    let topics = rig.seed(0).peers(rig.now, "", 0, 1).items[0].topics.clone();
    assert_eq!(topics.iter().map(|t| t.as_str()).collect::<Vec<_>>(), ["t/1", "t/2", "t/3", "t/9"]);
}

#[test]
fn full_tables_take_no_more() {
    let mut rig = Rig::with(1, 4, |config| config.records_max = 3);
    (0..4).for_each(|n| rig.join(n, 0));
    assert_eq!(rig.seed(0).status().peers, 3);
    assert_eq!(rig.goodbye(3).map(|bye| bye.reason), Some(Reason::NotNeeded));
    let records = (0..5).map(|n| rig.topic_record(0, &format!("t/{n}"), (1, 1), false)).collect();
    rig.put(0, 0, records);
    let records = (0..5).map(|n| rig.subscription(0, &format!("t/{n}"), 1, true)).collect();
    rig.put(0, 0, records);
    assert_eq!(rig.seed(0).status().topics, 3);
    assert_eq!(rig.seed(0).registry.subscriptions(), 3);
    assert_eq!(rig.seed(0).status().stats.records_shed, 5);
    // A deleted topic makes room for another one.
    let deleted = rig.topic_record(0, "t/0", (1, 2), true);
    let next = rig.topic_record(0, "t/9", (1, 1), false);
    rig.put(0, 0, vec![deleted, next]);
    assert_eq!((rig.seed(0).status().topics, rig.seed(0).index.deleted()), (3, 0));
}

#[test]
fn links_are_capped() {
    let mut rig = Rig::new(1, 1);
    let remote = rig.peers[0].address;
    for n in 0..=LINKS_MAX as u64 {
        let link = crate::id::LinkId(1_000_000 + n);
        let mut node = [9; 32];
        node[..8].copy_from_slice(&n.to_be_bytes());
        rig.input(0, Input::LinkUp { link, node: NodeId(node), remote, dialed: None });
    }
    rig.trace.retain(|line| !line.contains("Persist"));
    assert_eq!(rig.trace.len(), 1);
    assert!(rig.trace[0].contains("no room"), "{}", rig.trace[0]);
}

#[test]
fn a_name_cannot_be_used_up() {
    violates(|rig| {
        let record = rig.topic_record(0, "name", (u64::MAX, 1), true);
        Frame::Propose(Box::new(Propose { request: RequestId(7), record }))
    });
    violates(|rig| {
        let record = rig.topic_record(0, "name", (1, 1 << 40), false);
        Frame::Propose(Box::new(Propose { request: RequestId(7), record }))
    });
}

#[test]
fn marks_and_promises_that_stand_for_nothing_leave_the_disk() {
    let mut rig = Rig::with(3, 1, |config| config.records_max = 10);
    rig.join(0, 0);
    for n in 0..6 {
        let name = format!("t/{n}");
        let absent = rig.topic_record(0, &format!("absent/{n}"), (1, 1), true);
        let [made, ended] = [(1, false), (2, true)]
            .map(|(version, deleted)| rig.topic_record(0, &name, (1, version), deleted));
        rig.put(0, 0, vec![absent, made, ended]);
    }
    rig.run(100);
    for disk in &rig.disks {
        let count = |is: fn(&Key) -> bool| disk.keys().filter(|key| is(key)).count();
        assert_eq!(count(|key| matches!(key, Key::Topic(_))), 1, "one mark is remembered");
        let of_marks = |key: &Key| matches!(key, Key::Register(t) if t.as_str().starts_with("t/"));
        assert_eq!(count(of_marks), 1);
    }
    // What was promised for names that nobody made goes when there are too many.
    for n in 6..40 {
        let absent = rig.topic_record(0, &format!("absent/{n}"), (1, 1), true);
        rig.put(0, 0, vec![absent]);
    }
    rig.run(100);
    for disk in &rig.disks {
        let registers = disk.keys().filter(|key| matches!(key, Key::Register(_)));
        assert!(registers.count() <= 2 * 10, "{:?}", disk.keys());
    }
    let last = rig.topic_record(0, "last", (1, 1), false);
    rig.put(0, 0, vec![last]);
    let kept = Proposed { request: RequestId(7), outcome: Outcome::Kept };
    assert_eq!(rig.inbox(0).last(), Some(&Frame::Proposed(kept)));
}

#[test]
fn filters_that_select_the_same_topics_cost_no_more_than_one() {
    let mut rig = Rig::with(1, 1, |config| config.records_per_peer_max = 3);
    rig.join(0, 0);
    let records = ["a/b", "a/c", "d"].map(|name| rig.topic_record(0, name, (1, 1), false));
    rig.put(0, 0, records.to_vec());
    rig.inbox(0);
    let filters = ["a/#", "#", "+/b", "d/#"].map(|text| TopicFilter::new(text).unwrap()).to_vec();
    let request = RequestId(3);
    rig.send(0, 0, Frame::Watch(Watch { request, topics: vec![], filters, dropped: vec![] }));
    rig.run(5);
    assert_eq!(rig.inbox(0), [Frame::TopicNews(records.to_vec()), Frame::Watched(request)]);
}
