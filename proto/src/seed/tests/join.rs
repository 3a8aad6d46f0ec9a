use super::rig::{End, Rig, seed_address, seed_node};
use crate::id::Incarnation;
use crate::machine::Input;
use crate::seed::event::{Command, Event, Notice};
use crate::wire::frame::{Frame, Hello, Purpose, Reason, Registered, Role};

fn registered(frames: Vec<Frame>) -> Registered {
    let mut frames = frames.into_iter();
    frames
        .find_map(|frame| if let Frame::Registered(answer) = frame { Some(answer) } else { None })
        .expect("registered")
}

#[test]
fn a_peer_is_greeted_registered_and_told_of_the_others() {
    let mut rig = Rig::new(1, 80);
    for n in 0..80 {
        rig.join(n, 0);
    }
    let first = rig.inbox(0);
    let Frame::Hello(hello) = &first[0] else { panic!("{first:?}") };
    assert_eq!((hello.role, hello.purpose), (Role::Seed, Purpose::Session));
    assert_eq!(
        registered(first),
        Registered { lease_ms: 90_000, peers: vec![], total: 1, seeds: vec![seed_node(0)] }
    );
    let last = registered(rig.inbox(79));
    assert_eq!((last.peers.len(), last.total), (64, 80));
    assert!(last.peers.iter().all(|peer| peer.node != rig.peers[79].node()));
    let notices = &rig.notices;
    let joined = notices.iter().filter(|n| matches!(n.2, Notice::Registered { .. })).count();
    let connected = notices.iter().filter(|n| matches!(n.2, Notice::Connection { .. })).count();
    assert_eq!((joined, connected), (80, 80));
    let status = rig.seed(0).status();
    assert_eq!((status.peers, status.sessions, status.stats.registrations), (80, 80, 80));
    assert_eq!(rig.seed(0).sessions(10, 5).items.len(), 5);
}

#[test]
fn a_wrong_hello_is_answered_with_the_reason() {
    let mut rig = Rig::new(1, 1);
    let good = rig.hello(0, Purpose::Session);
    let cases: [(Reason, Hello); 8] = [
        (Reason::WrongVersion, Hello { version: 9, ..good.clone() }),
        (Reason::WrongCluster, Hello { cluster: "other".into(), ..good.clone() }),
        (Reason::WrongRole, Hello { role: Role::Seed, ..good.clone() }),
        (Reason::WrongRole, Hello { purpose: Purpose::Neighbor, ..good.clone() }),
        (Reason::WrongRole, Hello { purpose: Purpose::Table, ..good.clone() }),
        (Reason::NotInSet, Hello { purpose: Purpose::Table, role: Role::Seed, ..good.clone() }),
        // Nobody without the seed's own key is an operator.
        (Reason::WrongRole, Hello { purpose: Purpose::Admin, ..good.clone() }),
        (Reason::WrongRole, Hello { purpose: Purpose::Admin, role: Role::Seed, ..good }),
    ];
    for (reason, hello) in cases {
        rig.greet(0, 0, hello);
        rig.run(5);
        assert_eq!(rig.goodbye(0).map(|bye| bye.reason), Some(reason));
        assert!(
            rig.noticed(0, |n| matches!(n, Notice::LinkRefused { reason: r, .. } if *r == reason))
                .is_some()
        );
    }
    assert!(rig.conns.is_empty());
    assert_eq!(rig.seed(0).status().stats.violations, 0);
}

#[test]
fn a_probe_gets_a_hello_and_a_goodbye() {
    let mut rig = Rig::new(1, 1);
    let hello = rig.hello(0, Purpose::Probe);
    rig.greet(0, 0, hello);
    rig.run(5);
    let frames = rig.inbox(0);
    assert!(matches!(&frames[0], Frame::Hello(hello) if hello.purpose == Purpose::Probe));
    assert!(matches!(&frames[1], Frame::Goodbye(bye) if bye.reason == Reason::NotNeeded));
}

#[test]
fn a_link_without_a_first_frame_is_closed_after_three_seconds() {
    let mut rig = Rig::new(1, 1);
    let hello = rig.hello(0, Purpose::Session);
    rig.cut.insert((End::Peer(0), End::Seed(0)));
    rig.greet(0, 0, hello);
    rig.cut.clear();
    rig.run(2_900);
    assert_eq!(rig.conns.len(), 1);
    rig.run(200);
    assert_eq!(rig.goodbye(0).map(|bye| bye.reason), Some(Reason::Timeout));
}

#[test]
fn a_seed_that_dials_itself_is_told_so() {
    let mut rig = Rig::new(1, 1);
    let link = crate::id::LinkId(9_999);
    let (node, remote) = (seed_node(0), seed_address(0));
    rig.input(0, Input::LinkUp { link, node, remote, dialed: None });
    let mut hello = rig.hello(0, Purpose::Table);
    hello.role = Role::Seed;
    rig.input(0, Input::Received { link, frame: Frame::Hello(Box::new(hello)) });
    assert!(rig.trace.last().unwrap().contains("Yourself"), "{:?}", rig.trace.last());
}

#[test]
fn a_newer_session_of_a_peer_replaces_the_older() {
    let mut rig = Rig::new(1, 1);
    rig.join(0, 0);
    rig.inbox(0);
    rig.join(0, 0);
    assert_eq!(rig.goodbye(0).map(|bye| bye.reason), Some(Reason::Duplicate));
    assert_eq!(rig.conns.len(), 1);
    rig.run(10_000);
    let status = rig.seed(0).status();
    assert_eq!((status.sessions, status.peers, status.stats.reports), (1, 1, 0));
}

#[test]
fn only_the_newest_life_of_a_peer_counts() {
    let mut rig = Rig::new(1, 2);
    rig.join(0, 0);
    let (topic, old) = (rig.subscription(0, "news", 1, true), rig.record(0, 1, false));
    rig.put(0, 0, vec![topic]);
    assert_eq!(rig.seed(0).peers(rig.now, "", 0, 9).items[0].topics.len(), 1);
    rig.peers[0].incarnation = Incarnation(11);
    rig.register(0, 0);
    rig.run(5);
    let peer = rig.seed(0).peers(rig.now, "", 0, 9).items[0].clone();
    assert_eq!((peer.incarnation, peer.topics.len()), (Incarnation(11), 0));
    assert!(rig.noticed(0, |n| matches!(n, Notice::Returned { .. })).is_none());
    rig.inbox(0);
    rig.send(0, 0, Frame::Register(Box::new(crate::wire::frame::Register { record: old })));
    rig.run(5);
    assert_eq!(rig.inbox(0), [Frame::RegisterRefused(Incarnation(11))]);
}

#[test]
fn a_leaving_seed_says_goodbye_and_does_nothing_more() {
    let mut rig = Rig::new(2, 1);
    rig.join(0, 0);
    let request = crate::id::RequestId(3);
    rig.input(0, Input::Command(Command::Leave { request }));
    rig.run(5);
    assert_eq!(rig.goodbye(0).map(|bye| bye.reason), Some(Reason::Leaving));
    assert!(matches!(rig.events[..], [(0, Event::Left { request: r })] if r == request));
    assert!(rig.noticed(1, |n| matches!(n, Notice::SeedLink { up: false, .. })).is_some());
    let before = rig.trace.iter().filter(|line| line.contains(" 0 ")).count();
    rig.input(0, Input::Tick);
    assert_eq!(rig.trace.iter().filter(|line| line.contains(" 0 ")).count(), before);
}
