use core::time::Duration;

use super::rig::{End, Mood, Rig, seed_node};
use crate::crypto::Signer;
use crate::id::Incarnation;
use crate::machine::Input;
use crate::seed::event::Notice;
use crate::time::Instant;
use crate::wire::frame::{Frame, PeerState, Reason};
use crate::wire::record::{DeathVote, Record, SignedRecord};

/// Peers with sessions at seeds 0 and 1, as peers of three seeds have.
fn cluster(seeds: usize, peers: usize) -> Rig {
    let mut rig = Rig::new(seeds, peers);
    for n in 0..peers {
        for seed in 0..seeds.min(seeds / 2 + 1) {
            rig.join(n, seed);
        }
    }
    for n in 0..peers {
        rig.inbox(n);
    }
    rig
}

fn dead_at(rig: &Rig, seed: usize) -> Option<Instant> {
    rig.noticed(seed, |n| matches!(n, Notice::Dead { .. }))
}

fn states(rig: &Rig, seed: usize) -> Vec<PeerState> {
    rig.seed(seed).peers(rig.now, "", 0, 99).items.iter().map(|peer| peer.state).collect()
}

#[test]
fn a_crashed_peer_is_dead_on_all_seeds_within_three_seconds() {
    let mut rig = cluster(3, 4);
    let record = rig.subscription(3, "news", 1, true);
    rig.put(3, 0, vec![record]);
    let from = rig.now;
    rig.crash(3);
    for n in 0..3 {
        rig.report(n, 0, 3, false);
        rig.report(n, 1, 3, false);
    }
    rig.run(3_000);
    for seed in 0..3 {
        let at = dead_at(&rig, seed).expect("declared dead");
        assert!(at.since(from) < Duration::from_millis(2_500), "{:?}", at.since(from));
        let status = rig.seed(seed).status();
        assert_eq!((status.peers, status.dead, status.suspects, status.stats.deaths), (3, 1, 0, 1));
        let news = super::rig::topic("news");
        assert!(rig.seed(seed).index.get(&news).is_none());
        let page = rig.seed(seed).peers(rig.now, "peer-3", 0, 9);
        assert_eq!((page.items[0].state, page.items[0].lease_ms), (PeerState::Dead, 0));
        let death = &rig.seed(seed).deaths()[0];
        assert!(death.voters.len() >= 2 && !death.reporters.is_empty());
        assert_eq!(death.peer.node, rig.peers[3].node());
    }
    let deaths = rig.seed(0).deaths();
    assert_eq!(deaths[0].reporters.len(), 4 + 1, "peers, itself, another seed");
    rig.start_seed(0);
    assert_eq!(rig.seed(0).deaths(), deaths, "after a restart");
    let told: Vec<_> = rig.inbox(0).into_iter().filter(|f| matches!(f, Frame::Dead(_))).collect();
    assert_eq!(told.len(), 2, "by each of its seeds");
    let Frame::Dead(dead) = &told[0] else { unreachable!() };
    assert!(dead.votes.len() >= 2);
    let scheme = crate::crypto::Scheme::Checksum;
    assert!(dead.votes.iter().all(|vote| vote.verify(scheme)));
    rig.assert_same_tables();
}

#[test]
fn a_lone_peer_that_crashes_is_noticed_by_its_seeds() {
    let mut rig = cluster(3, 1);
    rig.crash(0);
    rig.run(3_000);
    assert!((0..3).all(|seed| dead_at(&rig, seed).is_some()));
}

#[test]
fn a_lone_peer_that_hangs_is_noticed_by_its_seeds() {
    let mut rig = cluster(3, 1);
    let from = rig.now;
    rig.peers[0].mood = Mood::Frozen;
    rig.run(8_000);
    for seed in 0..3 {
        let at = dead_at(&rig, seed).expect("declared dead");
        assert!(at.since(from) < Duration::from_millis(6_500), "{:?}", at.since(from));
    }
    assert_eq!(states(&rig, 0), [PeerState::Dead]);
}

#[test]
fn a_pause_of_two_seconds_evicts_nobody() {
    let mut rig = cluster(3, 2);
    rig.peers[0].mood = Mood::Frozen;
    rig.run(1_000);
    rig.report(1, 0, 0, false);
    rig.report(1, 1, 0, false);
    rig.run(1_000);
    assert_eq!(states(&rig, 0), [PeerState::Suspect, PeerState::Alive]);
    rig.thaw(0);
    rig.run(10_000);
    assert_eq!(states(&rig, 0), [PeerState::Alive; 2]);
    assert!((0..3).all(|seed| dead_at(&rig, seed).is_none()));
    assert!(rig.noticed(0, |n| matches!(n, Notice::Refuted { .. })).is_some());
}

#[test]
fn liars_cannot_evict_a_peer_that_answers() {
    let mut rig = cluster(3, 6);
    for _ in 0..20 {
        for n in 1..6 {
            rig.report(n, 0, 0, false);
            rig.report(n, 1, 0, false);
        }
        rig.run(300);
    }
    rig.run(5_000);
    assert_eq!(states(&rig, 0), [PeerState::Alive; 6]);
    let stats = rig.seed(0).status().stats;
    assert_eq!((stats.reports, stats.votes, stats.deaths), (100, 0, 0));
    assert!(stats.probes <= 7, "{} probes: at most one a second", stats.probes);
}

#[test]
fn a_probe_is_an_answer_though_the_session_is_lost() {
    let mut rig = cluster(3, 2);
    let link = rig.peers[0].sessions[&0];
    rig.hang_up(End::Peer(0), link);
    rig.run(5);
    assert_eq!(rig.seed(0).status().stats.probes, 1);
    rig.run(100);
    assert_eq!(states(&rig, 0), [PeerState::Alive; 2]);
    assert_eq!(rig.seed(0).status().sessions, 1);
}

#[test]
fn a_withdrawn_report_ends_the_case() {
    let mut rig = cluster(3, 3);
    rig.peers[0].mood = Mood::Frozen;
    rig.report(1, 0, 0, false);
    rig.report(2, 0, 0, false);
    rig.run(500);
    rig.report(1, 0, 0, true);
    rig.run(5);
    assert_eq!(rig.seed(0).status().suspects, 1);
    rig.report(2, 0, 0, true);
    rig.run(5);
    assert_eq!(rig.seed(0).status().suspects, 0);
    rig.run(2_000);
    assert_eq!(rig.seed(0).status().stats.votes, 0);
}

#[test]
fn a_minority_of_seeds_kills_nobody() {
    let mut rig = cluster(3, 2);
    // Seed 0 alone cannot reach the peer.
    rig.cut.insert((End::Seed(0), End::Peer(0)));
    rig.run(30_000);
    assert_eq!(rig.seed(0).status().stats.votes, 1);
    assert!(rig.seed(1).status().stats.probes > 0, "its vote makes the others look");
    assert!((0..3).all(|seed| dead_at(&rig, seed).is_none()));
    rig.cut.clear();
    rig.run(5_000);
    assert_eq!(states(&rig, 0), [PeerState::Alive; 2]);
}

#[test]
fn a_seed_that_reaches_no_majority_does_not_vote() {
    let mut rig = cluster(3, 2);
    rig.stop_seed(1);
    rig.stop_seed(2);
    rig.run(10);
    rig.crash(0);
    rig.run(20_000);
    let status = rig.seed(0).status();
    assert_eq!((status.reachable, status.suspects, status.stats.votes), (1, 1, 0));
    rig.start_seed(1);
    rig.run(12_000);
    assert_eq!(rig.seed(0).status().dead, 1, "judged once a majority is back");
}

#[test]
fn a_mass_of_suspects_is_judged_only_after_a_while() {
    let mut rig = cluster(3, 10);
    let from = rig.now;
    (0..6).for_each(|n| rig.crash(n));
    rig.run(9_000);
    assert!(dead_at(&rig, 0).is_none());
    rig.run(9_000);
    let at = dead_at(&rig, 0).expect("judged in the end");
    assert!(at.since(from) > Duration::from_secs(10));
    assert_eq!(rig.seed(0).status().dead, 6);
    assert_eq!(rig.seed(0).status().peers, 4);
}

#[test]
fn false_reports_of_many_stop_no_verdict() {
    let mut rig = cluster(3, 10);
    rig.crash(9);
    for _ in 0..30 {
        for accused in 1..8 {
            rig.report(0, 0, accused, false);
            rig.report(0, 1, accused, false);
        }
        rig.report(8, 0, 9, false);
        rig.run(100);
    }
    assert!((0..3).all(|seed| dead_at(&rig, seed).is_some()));
    assert_eq!((rig.seed(0).status().dead, rig.seed(0).status().peers), (1, 9));
}

#[test]
fn the_dead_return_with_a_higher_incarnation_only() {
    let mut rig = cluster(3, 2);
    rig.peers[0].mood = Mood::Frozen;
    rig.run(8_000);
    assert_eq!(rig.seed(2).status().dead, 1);
    rig.thaw(0);
    rig.run(5);
    assert!(rig.inbox(0).iter().any(|frame| matches!(frame, Frame::Dead(_))), "told of its death");
    rig.register(0, 0);
    rig.renew(0, 0, &[]);
    let frames = rig.inbox(0);
    assert!(frames.contains(&Frame::RegisterRefused(Incarnation(10))), "{frames:?}");
    assert!(frames.iter().any(|f| matches!(f, Frame::Renewed(r) if r.lease_ms == 0)));
    rig.peers[0].incarnation = Incarnation(11);
    rig.register(0, 0);
    rig.run(5);
    for seed in 0..3 {
        let returned =
            |n: &Notice| matches!(n, Notice::Returned { incarnation: Incarnation(11), .. });
        assert!(rig.noticed(seed, returned).is_some());
        let status = rig.seed(seed).status();
        assert_eq!((status.peers, status.dead), (2, 0));
    }
    // Late reports and votes on the former life do nothing.
    rig.peers[0].incarnation = Incarnation(10);
    rig.report(1, 0, 0, false);
    rig.run(3_000);
    assert_eq!(rig.seed(0).status().peers, 2);
    rig.assert_same_tables();
}

#[test]
fn a_seed_that_was_away_learns_of_a_death() {
    let mut rig = cluster(3, 3);
    rig.cut.insert((End::Seed(0), End::Seed(2)));
    rig.cut.insert((End::Seed(1), End::Seed(2)));
    rig.run(6_000);
    rig.crash(0);
    rig.run(6_000);
    assert_eq!((rig.seed(0).status().dead, rig.seed(2).status().dead), (1, 0));
    rig.cut.clear();
    rig.run(12_000);
    assert_eq!(rig.seed(2).status().dead, 1);
    rig.assert_same_tables();
}

#[test]
fn a_session_that_stays_silent_is_closed_in_the_end() {
    let mut rig = cluster(1, 1);
    rig.peers[0].mood = Mood::Frozen;
    rig.run(40_000);
    rig.thaw(0);
    assert_eq!(rig.seed(0).status().sessions, 0);
    assert!(rig.noticed(0, |n| matches!(n, Notice::Disconnected { .. })).is_some());
}

#[test]
fn a_stuck_session_of_a_living_peer_is_closed() {
    let mut rig = cluster(3, 1);
    // Its old link carries nothing any more, new ones do.
    let link = rig.peers[0].sessions[&0];
    rig.conns.insert(link, (End::Peer(0), End::Peer(0)));
    rig.run(6_000);
    assert_eq!(rig.seed(0).status().sessions, 0);
    assert_eq!(states(&rig, 0), [PeerState::Alive]);
    let reports = rig.notices.iter().filter(|n| matches!(n.2, Notice::Reported { .. })).count();
    assert_eq!(reports, 1);
}

#[test]
fn the_dead_are_forgotten_after_a_while() {
    let mut rig = cluster(1, 1);
    rig.crash(0);
    rig.run(5_000);
    assert_eq!(rig.seed(0).status().dead, 1);
    rig.run(600_000);
    assert_eq!(rig.seed(0).peers(rig.now, "", 0, 9).total, 0);
}

#[test]
fn votes_are_signed_by_the_seed_that_casts_them() {
    let mut rig = cluster(3, 2);
    rig.crash(0);
    rig.run(3_000);
    let frames = rig.inbox(1);
    let Some(Frame::Dead(dead)) = frames.iter().find(|f| matches!(f, Frame::Dead(_))) else {
        panic!("{frames:?}");
    };
    for vote in &dead.votes {
        let Record::DeathVote(vote) = &vote.record else { panic!("{vote:?}") };
        assert!((0..3).any(|n| seed_node(n) == vote.voter));
        assert_eq!((vote.node, vote.incarnation), (dead.node, dead.incarnation));
    }
    assert!(rig.goodbye(1).is_none_or(|bye| bye.reason != Reason::Violation));
}

#[test]
fn a_seed_that_hears_the_accused_takes_its_vote_back_everywhere() {
    let mut rig = cluster(3, 4);
    let node = rig.peers[3].node();
    let votes = |rig: &Rig| rig.seed(0).reports.cases.get(&node).map_or(0, |case| case.votes.len());
    rig.cut.insert((End::Seed(1), End::Peer(3)));
    rig.report(0, 1, 3, false);
    rig.run(2_500);
    assert_eq!(votes(&rig), 1, "seed 1 got no answer, and says so");
    rig.cut.clear();
    rig.run(3_000);
    assert_eq!(votes(&rig), 0, "well before a vote is forgotten");
    assert!((0..3).all(|seed| dead_at(&rig, seed).is_none()));
}

#[test]
fn a_vote_that_stands_no_more_kills_nobody_though_its_withdrawal_is_on_its_way() {
    let mut rig = cluster(3, 4);
    let node = rig.peers[3].node();
    rig.cut.insert((End::Seed(0), End::Peer(3)));
    rig.report(1, 0, 3, false);
    rig.run(2_500);
    let votes = |rig: &Rig| rig.seed(2).reports.cases.get(&node).map_or(0, |case| case.votes.len());
    assert_eq!(votes(&rig), 1, "of seed 0, which alone gets no answer");
    let vote = DeathVote { voter: seed_node(1), node, incarnation: rig.peers[3].incarnation };
    let signer = Signer::Checksum(seed_node(1));
    let stale = SignedRecord::sign(Record::DeathVote(vote), &signer);
    let between = |ends: &(End, End)| {
        [(End::Seed(1), End::Seed(2)), (End::Seed(2), End::Seed(1))].contains(ends)
    };
    let link = rig.conns.iter().find(|(_, ends)| between(ends)).map(|(link, _)| *link).unwrap();
    rig.input(2, Input::Received { link, frame: Frame::Records(vec![stale]) });
    assert_eq!(votes(&rig), 2, "a majority, until its casters are asked");
    rig.run(2);
    assert_eq!(votes(&rig), 1);
    rig.run(5_000);
    assert!((0..3).all(|seed| dead_at(&rig, seed).is_none()));
}
