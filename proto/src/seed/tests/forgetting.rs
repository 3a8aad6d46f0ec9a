use super::rig::{End, Mood, Rig};
use crate::id::{Incarnation, RequestId};
use crate::machine::Input;
use crate::seed::event::{Command, Event, Notice};
use crate::wire::frame::{AdminAnswer, AdminCommand, Frame, PeerState};

/// Three seeds, of which each has sessions with all peers of which none watches the others.
fn cluster(peers: usize) -> Rig {
    let mut rig = Rig::new(3, peers);
    for n in 0..peers {
        (0..2).for_each(|seed| rig.join(n, seed));
    }
    rig.run(100);
    rig
}

/// An operator asks a seed; what it has answered after a while.
fn ask(rig: &mut Rig, seed: usize, who: &str, millis: u64) -> Option<AdminAnswer> {
    rig.events.clear();
    let (request, command) = (RequestId(7), AdminCommand::Forget(who.to_owned()));
    rig.input(seed, Input::Command(Command::Admin { request, command }));
    rig.run(millis);
    let answer = |(of, event): &(usize, Event)| match event {
        Event::Admin { request: RequestId(7), answer } if *of == seed => Some(answer.clone()),
        _ => None,
    };
    let answers: Vec<_> = rig.events.iter().filter_map(answer).collect();
    assert!(answers.len() <= 1, "answered once: {answers:?}");
    answers.into_iter().next()
}

fn refused(answer: Option<AdminAnswer>) -> String {
    match answer {
        Some(AdminAnswer::Refused(text)) => text,
        other => panic!("not refused: {other:?}"),
    }
}

fn listed(rig: &Rig, seed: usize, name: &str) -> usize {
    rig.seed(seed).peers(rig.now, name, 0, 99).items.len()
}

/// Ends a peer in a way that no seed notices by its session.
fn vanish(rig: &mut Rig, n: usize) {
    rig.peers[n].mood = Mood::Gone;
    let sessions: Vec<_> = rig.peers[n].sessions.keys().copied().collect();
    sessions.iter().for_each(|seed| {
        rig.cut.insert((End::Seed(*seed), End::Peer(n)));
    });
}

#[test]
fn a_peer_that_is_gone_is_forgotten_by_all_seeds_after_one_look() {
    let mut rig = cluster(3);
    vanish(&mut rig, 2);
    let answer = ask(&mut rig, 1, "peer-2", 2_100);
    let Some(AdminAnswer::Forgotten(item)) = answer else { panic!("{answer:?}") };
    assert_eq!((&*item.name, item.node), ("peer-2", rig.peers[2].node()));
    for seed in 0..3 {
        assert_eq!(listed(&rig, seed, ""), 2, "it is not even among the dead");
        assert!(rig.noticed(seed, |n| matches!(n, Notice::Forgotten { .. })).is_some());
        let status = rig.seed(seed).status();
        assert_eq!((status.dead, status.peers, status.stats.deaths), (0, 2, 1));
    }
    assert!(rig.inbox(0).iter().any(|frame| matches!(frame, Frame::Dead(_))), "peers are told");
    assert!(refused(ask(&mut rig, 0, "peer-2", 10)).contains("no peer is listed"));

    rig.stop_seed(1);
    rig.start_seed(1);
    rig.run(12_000);
    assert_eq!(listed(&rig, 1, ""), 2, "a restart does not bring it back");

    rig.cut.clear();
    rig.peers[2].mood = Mood::Well;
    rig.peers[2].incarnation = Incarnation(11);
    rig.join(2, 0);
    rig.run(100);
    assert_eq!(listed(&rig, 0, "peer-2"), 1, "a later life is welcome");
}

#[test]
fn who_answers_is_not_forgotten() {
    let mut rig = cluster(3);
    assert!(refused(ask(&mut rig, 0, "peer-2", 100)).contains("answers"));
    // The asked seed does not reach it, and the others do.
    vanish(&mut rig, 2);
    rig.peers[2].mood = Mood::Well;
    rig.cut.remove(&(End::Seed(1), End::Peer(2)));
    let text = refused(ask(&mut rig, 0, "peer-2", 7_000));
    assert!(text.contains("'peer-2'") && text.contains("answers"), "{text}");
    assert_eq!(rig.seed(0).status().stats.deaths, 0);
    assert_eq!(listed(&rig, 1, ""), 3);
}

#[test]
fn one_that_is_dead_already_is_taken_off_the_lists() {
    let mut rig = cluster(3);
    rig.crash(2);
    rig.run(3_000);
    assert!((0..3).all(|seed| listed(&rig, seed, "") == 3), "listed as dead");
    let id = rig.peers[2].node().to_string();
    let answer = ask(&mut rig, 2, &id[..8], 20);
    assert!(matches!(&answer, Some(AdminAnswer::Forgotten(item)) if item.state == PeerState::Dead));
    assert!((0..3).all(|seed| listed(&rig, seed, "") == 2));
    rig.run(700_000);
    assert_eq!(rig.seed(0).status().dead, 0, "and its memory ends as that of others does");
}

#[test]
fn a_minority_forgets_nobody() {
    let mut rig = cluster(3);
    vanish(&mut rig, 2);
    for other in 1..3 {
        rig.cut.insert((End::Seed(0), End::Seed(other)));
    }
    assert_eq!(ask(&mut rig, 0, "peer-2", 1_000), None, "it looks, and the others may answer");
    rig.run(5_100);
    let no_quorum = |(_, event): &(usize, Event)| {
        matches!(event, Event::Admin { answer: AdminAnswer::NoQuorum, .. })
    };
    assert_eq!(rig.events.iter().filter(|event| no_quorum(event)).count(), 1);
    assert_eq!(listed(&rig, 0, "peer-2"), 1);
    rig.stop_seed(1);
    rig.stop_seed(2);
    rig.run(10);
    assert_eq!(ask(&mut rig, 0, "peer-2", 10), Some(AdminAnswer::NoQuorum), "at once");
}

#[test]
fn one_that_no_other_seed_lists_goes_without_a_verdict() {
    let mut rig = Rig::new(3, 2);
    rig.join(0, 0);
    for other in 1..3 {
        rig.cut.insert((End::Seed(0), End::Seed(other)));
    }
    rig.join(1, 0);
    vanish(&mut rig, 1);
    rig.cut.retain(|(a, b)| !matches!((a, b), (End::Seed(_), End::Seed(_))));
    let answer = ask(&mut rig, 0, "peer-1", 6_000);
    assert!(matches!(answer, Some(AdminAnswer::Forgotten(_))), "{answer:?}");
    assert!((0..3).all(|seed| listed(&rig, seed, "peer-1") == 0));
}

#[test]
fn only_one_listed_peer_can_be_meant() {
    let mut rig = cluster(3);
    for nobody in ["", "peer-9", "127.0.0.9:1", "abcdef", "0200", "é"] {
        assert!(refused(ask(&mut rig, 0, nobody, 10)).contains("no peer is listed"), "{nobody}");
    }
    let seed = super::rig::seed_address(1).to_string();
    assert!(refused(ask(&mut rig, 0, &seed, 10)).contains("is a seed"));
    let address = rig.peers[1].address;
    rig.peers[2].address = address;
    rig.crash(2);
    rig.peers[2].mood = Mood::Well;
    rig.peers[2].incarnation = Incarnation(11);
    rig.join(2, 0);
    rig.run(100);
    let text = refused(ask(&mut rig, 0, &address.to_string(), 10));
    assert!(text.contains("2 peers are listed"), "{text}");
}

#[test]
fn a_peer_may_ask_on_its_session_and_has_a_share() {
    let mut rig = cluster(12);
    (2..12).for_each(|n| vanish(&mut rig, n));
    rig.inbox(0);
    let link = rig.peers[0].sessions[&0];
    for n in 2..12 {
        let command = AdminCommand::Forget(format!("peer-{n}"));
        rig.carry(End::Peer(0), link, Frame::Admin(RequestId(n), command));
    }
    rig.run(20);
    let done = |frame: Frame| match frame {
        Frame::AdminDone(request, answer) => Some((request.0, *answer)),
        _ => None,
    };
    let early: Vec<_> = rig.inbox(0).into_iter().filter_map(done).collect();
    assert_eq!(early.len(), 2, "eight are open: {early:?}");
    assert!(early.iter().all(|(_, answer)| matches!(answer, AdminAnswer::Refused(_))));
    // Ten of twelve at once: the seeds doubt themselves, and vote when that is over.
    rig.run(6_500);
    let late: Vec<_> = rig.inbox(0).into_iter().filter_map(done).collect();
    assert_eq!(late.len(), 8);
    rig.carry(End::Peer(0), link, Frame::Admin(RequestId(1), AdminCommand::ShowSet));
    rig.run(20);
    assert_eq!(rig.seed(0).status().stats.violations, 1, "a peer may ask for nothing else");
}

#[test]
fn what_is_refused_takes_no_room() {
    let mut rig = cluster(76);
    (1..76).for_each(|n| vanish(&mut rig, n));
    let link = rig.peers[0].sessions[&0];
    for n in 1..75 {
        let command = AdminCommand::Forget(format!("peer-{n}"));
        rig.carry(End::Peer(0), link, Frame::Admin(RequestId(n), command));
    }
    rig.run(20);
    assert_eq!(ask(&mut rig, 0, "peer-75", 20), None, "eight of 64 are open: it is looked for");
}
