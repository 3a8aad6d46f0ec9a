use super::rig::{Rig, address, entry};
use crate::id::{DialId, Incarnation, LinkId, NodeId};
use crate::machine::{Input, Machine as _};
use crate::peer::event::{Command, Notice};
use crate::wire::frame::{Dead, Frame, Hello, Interest, Mode, PROTOCOL_VERSION, Purpose, Role};

fn neighbors(rig: &Rig, n: usize) -> Vec<NodeId> {
    rig.peers[n].status().neighbors.iter().map(|neighbor| neighbor.peer.node).collect()
}

#[test]
fn peers_find_each_other_from_one_address() {
    let mut rig = Rig::new(30, |config| config.known_peers.truncate(1));
    rig.run(60_000);
    for n in 0..30 {
        let own = neighbors(&rig, n);
        assert!((1..=20).contains(&own.len()), "peer {n} has {} neighbours", own.len());
        for other in own {
            let m = (0..30).find(|m| entry(*m).node == other).expect("known");
            assert!(neighbors(&rig, m).contains(&entry(n).node), "both ends agree");
        }
    }
}

#[test]
fn a_full_peer_refuses_and_names_alternatives() {
    let mut rig = Rig::new(24, |config| {
        config.views.degree_target = 2;
        config.views.degree_max = 2;
        config.views.links_max = 4;
    });
    rig.run(30_000);
    for n in 0..24 {
        let count = neighbors(&rig, n).len();
        assert!((1..=12).contains(&count), "peer {n} has {count} neighbours");
    }
}

#[test]
fn dials_that_cross_leave_one_link() {
    let mut rig = Rig::new(2, |_| {});
    rig.run(1_000);
    assert_eq!((neighbors(&rig, 0).len(), neighbors(&rig, 1).len()), (1, 1));
    let links = (rig.peers[0].links.len(), rig.peers[1].links.len());
    assert_eq!(links, (1, 1));
}

#[test]
fn a_silent_neighbor_is_reported_and_taken_back() {
    let mut rig = Rig::new(3, |_| {});
    rig.stopped.insert(2);
    rig.run(4_600);
    let is_dead =
        |notice: &Notice| matches!(notice, Notice::DeadNode { peer, .. } if *peer == entry(2));
    assert!(rig.notices[0].iter().any(is_dead));
    assert!(!neighbors(&rig, 0).contains(&entry(2).node));
    rig.stopped.clear();
    rig.run(2_000);
    assert!(neighbors(&rig, 0).contains(&entry(2).node));
    assert!(rig.notices[0].iter().any(|notice| matches!(notice, Notice::Refuted { .. })));
    assert!(!rig.notices[2].iter().any(|notice| matches!(notice, Notice::DeadNode { .. })));
}

#[test]
fn a_pause_of_two_seconds_accuses_nobody() {
    let mut rig = Rig::new(5, |_| {});
    rig.stopped.insert(2);
    rig.run(2_000);
    rig.stopped.clear();
    rig.run(5_000);
    let accused = |notice: &Notice| matches!(notice, Notice::DeadNode { .. });
    assert!(!rig.notices.iter().flatten().any(accused));
}

#[test]
fn a_reset_link_to_a_living_peer_is_made_again() {
    let mut rig = Rig::new(2, |_| {});
    let link = rig.peers[0].links.neighbor(&entry(1).node).expect("linked");
    rig.break_link(1, link);
    rig.run(1_000);
    assert!(neighbors(&rig, 0).contains(&entry(1).node));
    let accused = |notice: &Notice| matches!(notice, Notice::DeadNode { .. });
    assert!(!rig.notices.iter().flatten().any(accused));
}

#[test]
fn a_leaving_peer_is_not_accused() {
    let mut rig = Rig::new(3, |_| {});
    rig.ask(2, |request| Command::Leave { request }).expect("left");
    rig.run(10_000);
    let accused = |notice: &Notice| matches!(notice, Notice::DeadNode { .. });
    assert!(!rig.notices.iter().flatten().any(accused));
    assert!(!neighbors(&rig, 0).contains(&entry(2).node));
}

/// A hand-made connection to peer 0.
fn connect(rig: &mut Rig, link: u64, greet: impl FnOnce(&mut Hello)) -> LinkId {
    let link = LinkId(1_000_000 + link);
    let node = NodeId([200; 32]);
    let remote = address(99);
    rig.feed(0, Input::LinkUp { link, node, remote, dialed: None });
    let mut hello = Hello {
        version: PROTOCOL_VERSION,
        cluster: "test".into(),
        role: Role::Peer,
        purpose: Purpose::Neighbor,
        incarnation: Incarnation(1),
        address: remote,
        name: String::new(),
        wanted: Vec::new(),
        urgent: false,
    };
    greet(&mut hello);
    rig.feed(0, Input::Received { link, frame: Frame::Hello(Box::new(hello)) });
    link
}

#[test]
fn strangers_are_refused_with_a_reason() {
    let mut rig = Rig::new(1, |_| {});
    let before = rig.peers[0].links.len();
    connect(&mut rig, 1, |hello| hello.cluster = "other".into());
    connect(&mut rig, 2, |hello| hello.version = 9);
    connect(&mut rig, 3, |hello| hello.role = Role::Seed);
    connect(&mut rig, 4, |hello| hello.purpose = Purpose::Session);
    let refused = rig.notices[0].iter().filter(|n| matches!(n, Notice::LinkRefused { .. }));
    assert_eq!(refused.count(), 4);
    assert_eq!(rig.peers[0].links.len(), before);
    let silent = LinkId(7_000_000);
    let node = NodeId([201; 32]);
    rig.feed(0, Input::LinkUp { link: silent, node, remote: address(98), dialed: None });
    rig.run(4_000);
    assert!(rig.peers[0].links.get(silent).is_none(), "silent connections end");
}

#[test]
fn frames_out_of_turn_close_the_link() {
    let overlay = crate::id::Topic::overlay();
    let frames = [
        Frame::Accept,
        Frame::Refuse(Vec::new()),
        Frame::Interests(vec![Interest { topic: overlay, mode: Mode::Subscribes }]),
        Frame::Dead(Dead { node: entry(0).node, incarnation: Incarnation(9), votes: Vec::new() }),
        Frame::RecordsRequest(Box::default()),
    ];
    for frame in frames {
        let mut rig = Rig::new(1, |_| {});
        let link = LinkId(9);
        let node = NodeId([200; 32]);
        rig.feed(0, Input::LinkUp { link, node, remote: address(99), dialed: None });
        rig.feed(0, Input::Received { link, frame: frame.clone() });
        assert!(rig.peers[0].links.get(link).is_none(), "{frame:?}");
        assert_eq!(rig.peers[0].stats().violations, 1, "{frame:?}");
    }
}

#[test]
fn inputs_about_unknown_things_are_harmless() {
    let mut rig = Rig::new(1, |_| {});
    let link = LinkId(77);
    rig.feed(0, Input::Received { link, frame: Frame::Ping(1) });
    rig.feed(0, Input::LinkDown { link, cause: crate::machine::LinkDown::Closed });
    let cause = crate::machine::DialFailure::Refused;
    rig.feed(0, Input::DialFailed { dial: DialId(77), cause });
    rig.feed(0, Input::Persisted(99));
    assert!(rig.peers[0].next_deadline().is_some());
}
