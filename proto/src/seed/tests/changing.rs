//! The set of seeds changes while the cluster runs.

use super::rig::{End, Rig, seed_address};
use crate::id::RequestId;
use crate::machine::Input;
use crate::seed::event::{Command, Event, Notice};
use crate::wire::frame::{AdminAnswer, AdminCommand, Frame, Outcome};
use crate::wire::record::{Record, SeedPlace};

/// Five seeds, of which the first three are the cluster; each of the others knows these.
fn three_of_five(peers: usize) -> Rig {
    let mut rig = Rig::with(5, peers, |config| {
        let own = config.identity.address;
        config.seeds = (0..3).map(seed_address).collect();
        if !config.seeds.contains(&own) {
            config.seeds.push(own);
        }
    });
    rig.run(2_000);
    rig
}

fn ask(rig: &mut Rig, seed: usize, command: AdminCommand) -> AdminAnswer {
    rig.events.clear();
    rig.input(seed, Input::Command(Command::Admin { request: RequestId(9), command }));
    rig.run(3_000);
    let answer = rig.events.drain(..).find_map(|(n, event)| match event {
        Event::Admin { request: RequestId(9), answer } if n == seed => Some(answer),
        _ => None,
    });
    answer.expect("an answer")
}

fn add(n: usize) -> AdminCommand {
    AdminCommand::AddSeed(SeedPlace { address: seed_address(n), http: None })
}

fn remove(n: usize) -> AdminCommand {
    AdminCommand::RemoveSeed(seed_address(n))
}

/// Waits until a seed knows a set that is not changing, of this version and size.
fn becomes(rig: &mut Rig, seed: usize, version: u64, size: usize) {
    for _ in 0..300 {
        let status = rig.seed(seed).status();
        if !status.changing && status.set_version == version {
            assert_eq!(status.seeds.len(), size);
            return;
        }
        rig.run(100);
    }
    panic!("{:?}", rig.seed(seed).status());
}

fn propose(rig: &mut Rig, n: usize, seed: usize, name: &str) -> Outcome {
    let record = rig.topic_record(n, name, (1, 1), false);
    rig.put(n, seed, vec![record]);
    rig.run(3_000);
    let done = rig.inbox(n).into_iter().filter_map(|frame| match frame {
        Frame::Proposed(done) => Some(done.outcome),
        _ => None,
    });
    done.last().expect("an answer")
}

fn holds(rig: &Rig, seed: usize, name: &str) -> bool {
    rig.seed(seed).accepted_record(&super::rig::topic(name)).is_some()
}

#[test]
fn seeds_are_added_and_the_first_ones_removed_and_nothing_is_lost() {
    let mut rig = three_of_five(5);
    (0..5).for_each(|n| assert_eq!(rig.seed(n).status().learning, n >= 3));
    (0..3).for_each(|n| rig.join(n, n));
    assert_eq!(propose(&mut rig, 0, 0, "old"), Outcome::Kept);
    // One of the three is down, and does not come back.
    rig.kill_seed(2);
    assert_eq!(propose(&mut rig, 0, 0, "older"), Outcome::Kept);
    assert!(matches!(ask(&mut rig, 0, add(3)), AdminAnswer::Set(_)));
    becomes(&mut rig, 3, 2, 4);
    assert!(!rig.seed(3).status().learning && rig.seed(3).status().has_quorum);
    assert!(holds(&rig, 3, "old") && holds(&rig, 3, "older"));
    assert!(matches!(ask(&mut rig, 3, remove(2)), AdminAnswer::Set(_)));
    becomes(&mut rig, 0, 4, 3);
    assert!(matches!(ask(&mut rig, 1, add(4)), AdminAnswer::Set(_)));
    becomes(&mut rig, 4, 6, 4);
    for (first, version) in [(0, 8), (1, 10)] {
        if first == 1 {
            break;
        }
        assert!(matches!(ask(&mut rig, 4, remove(first)), AdminAnswer::Set(_)));
        becomes(&mut rig, 4, version, 3);
    }
    let status = rig.seed(0).status();
    assert!(!status.member && status.learning, "{status:?}");
    let gone = |n: &Notice| matches!(n, Notice::SeedSet { is_member: false, .. });
    assert!(rig.noticed(0, gone).is_some());
    // What was created by the first three is known to the last ones alone.
    rig.stop_seed(0);
    rig.kill_seed(1);
    rig.join(3, 3);
    let mine = rig.topic_record(0, "old", (1, 1), false);
    let theirs = propose(&mut rig, 3, 3, "old");
    assert_eq!(theirs, Outcome::Against(Box::new(mine)));
    assert_eq!(propose(&mut rig, 3, 3, "new"), Outcome::Kept);
}

#[test]
fn a_change_needs_a_majority_and_can_be_taken_back() {
    let mut rig = three_of_five(1);
    assert!(matches!(ask(&mut rig, 0, add(1)), AdminAnswer::Refused(_)));
    assert!(matches!(ask(&mut rig, 0, remove(4)), AdminAnswer::Refused(_)));
    assert!(matches!(ask(&mut rig, 3, add(4)), AdminAnswer::NoQuorum));
    // Nobody is at that address: the change does not end, and decisions need three of four.
    assert!(matches!(ask(&mut rig, 0, add(9)), AdminAnswer::Set(_)));
    rig.run(5_000);
    assert!(rig.seed(1).status().changing);
    assert!(matches!(ask(&mut rig, 1, add(3)), AdminAnswer::Refused(_)), "one at a time");
    rig.join(0, 0);
    assert_eq!(propose(&mut rig, 0, 0, "a"), Outcome::Kept);
    rig.stop_seed(2);
    assert_eq!(propose(&mut rig, 0, 0, "b"), Outcome::NoQuorum, "two of four");
    // To take it back those that were there before are enough, and a majority of them is needed.
    rig.stop_seed(1);
    rig.run(100);
    assert!(matches!(ask(&mut rig, 0, remove(9)), AdminAnswer::NoQuorum));
    rig.start_seed(1);
    rig.run(3_000);
    assert!(matches!(ask(&mut rig, 0, remove(9)), AdminAnswer::Set(_)));
    becomes(&mut rig, 1, 2, 3);
    assert_eq!(propose(&mut rig, 0, 0, "b"), Outcome::Kept);
    rig.start_seed(2);
    rig.run(3_000);
    becomes(&mut rig, 0, 2, 3);
    rig.stop_seed(2);
    rig.stop_seed(1);
    assert!(matches!(ask(&mut rig, 0, add(3)), AdminAnswer::NoQuorum));
}

#[test]
fn a_seed_that_was_away_hears_of_its_removal_and_can_come_back() {
    let mut rig = three_of_five(1);
    rig.stop_seed(2);
    assert!(matches!(ask(&mut rig, 0, add(3)), AdminAnswer::Set(_)));
    becomes(&mut rig, 1, 2, 4);
    assert!(matches!(ask(&mut rig, 0, remove(2)), AdminAnswer::Set(_)));
    becomes(&mut rig, 1, 4, 3);
    rig.start_seed(2);
    rig.run(8_000);
    let status = rig.seed(2).status();
    assert!(!status.member && status.learning && status.set_version == 4, "{status:?}");
    // It starts with what it has heard, whatever its configuration says.
    rig.stop_seed(2);
    rig.start_seed(2);
    rig.run(100);
    assert!(rig.noticed(2, |n| matches!(n, Notice::ConfigDiffers { version: 4, .. })).is_some());
    assert!(matches!(ask(&mut rig, 2, add(4)), AdminAnswer::Refused(_)));
    assert!(matches!(ask(&mut rig, 3, add(2)), AdminAnswer::Set(_)));
    becomes(&mut rig, 2, 6, 4);
    assert!(!rig.seed(2).status().learning);
}

#[test]
fn sessions_are_told_of_sets_that_stand() {
    let mut rig = three_of_five(2);
    rig.join(0, 0);
    assert!(matches!(ask(&mut rig, 0, add(3)), AdminAnswer::Set(_)));
    becomes(&mut rig, 0, 2, 4);
    rig.join(1, 3);
    for n in 0..2 {
        let told = rig.inbox(n).into_iter().find_map(|frame| match frame {
            Frame::SeedSet(signed) => Some(signed),
            _ => None,
        });
        let Some(Record::SeedSet(record)) = told.map(|signed| signed.record) else {
            panic!("peer {n} was not told")
        };
        assert_eq!((record.version, record.seeds.len(), record.before), (2, 4, None));
    }
    // The session with a seed that goes ends, after it said who the seeds are.
    rig.run(100);
    assert!(matches!(ask(&mut rig, 3, remove(0)), AdminAnswer::Set(_)));
    becomes(&mut rig, 3, 4, 3);
    let goodbye = rig.goodbye(0).expect("closed");
    assert_eq!(goodbye.reason, crate::wire::frame::Reason::NotInSet);
}

/// A seed that knows of the second one only when it is added, and a second one that knows it.
fn one_and_another() -> Rig {
    let mut rig = Rig::with(2, 2, |config| {
        config.seeds = vec![seed_address(0)];
        if config.identity.address != seed_address(0) {
            config.seeds.push(config.identity.address);
        }
    });
    rig.run(2_000);
    rig.join(0, 0);
    rig
}

#[test]
fn the_only_seed_takes_back_one_that_was_added_and_died_at_once() {
    let mut rig = one_and_another();
    assert_eq!(propose(&mut rig, 0, 0, "old"), Outcome::Kept);
    rig.kill_seed(1);
    assert!(matches!(ask(&mut rig, 0, add(1)), AdminAnswer::Set(view) if view.changing));
    rig.run(10_000);
    assert_eq!(propose(&mut rig, 0, 0, "new"), Outcome::NoQuorum, "both are needed meanwhile");
    let back = ask(&mut rig, 0, remove(1));
    assert!(matches!(back, AdminAnswer::Set(ref view) if !view.changing), "{back:?}");
    becomes(&mut rig, 0, 2, 1);
    assert_eq!(propose(&mut rig, 0, 0, "new"), Outcome::Kept);
    assert!(holds(&rig, 0, "old"));
    // The other one comes back, is told, and may be added once more.
    rig.start_seed(1);
    rig.run(5_000);
    assert!(!rig.seed(1).status().has_quorum || rig.seed(1).status().learning);
    assert!(matches!(ask(&mut rig, 0, add(1)), AdminAnswer::Set(_)));
    becomes(&mut rig, 1, 4, 2);
    assert!(holds(&rig, 1, "old") && holds(&rig, 1, "new"));
}

#[test]
fn one_that_was_cut_off_while_it_was_added_does_not_decide_by_itself() {
    let mut rig = one_and_another();
    assert!(matches!(ask(&mut rig, 0, add(1)), AdminAnswer::Set(_)));
    becomes(&mut rig, 1, 2, 2);
    assert!(matches!(ask(&mut rig, 0, remove(1)), AdminAnswer::Set(_)));
    becomes(&mut rig, 0, 4, 1);
    // Added again, cut off once it knows, and taken back without it.
    rig.start_seed(1);
    rig.run(2_000);
    rig.events.clear();
    let command = Command::Admin { request: RequestId(9), command: add(1) };
    rig.input(0, Input::Command(command));
    for _ in 0..1_000 {
        if rig.seed(1).status().set_version == 5 {
            break;
        }
        rig.run(1);
    }
    assert_eq!(rig.seed(1).status().set_version, 5);
    rig.cut.insert((End::Seed(0), End::Seed(1)));
    rig.run(10_000);
    assert!(rig.seed(0).status().changing);
    assert!(matches!(ask(&mut rig, 0, remove(1)), AdminAnswer::Set(view) if !view.changing));
    assert_eq!(propose(&mut rig, 0, 0, "new"), Outcome::Kept);
    assert!(matches!(ask(&mut rig, 1, remove(0)), AdminAnswer::NoQuorum | AdminAnswer::Refused(_)));
    rig.cut.clear();
    rig.run(10_000);
    assert!(!rig.seed(1).status().member, "it is told");
    assert_eq!(rig.seed(0).status().seeds.len(), 1);
}
