//! Marks of deletion are forgotten when there are too many, by each seed in its own order.

use super::rig::{End, Rig, topic};
use crate::id::RequestId;
use crate::wire::frame::{Found, Frame, Lookup, Outcome};

/// Three seeds that remember two marks each, and two peers with sessions at the first two.
fn cluster() -> Rig {
    let mut rig = Rig::with(3, 2, |config| config.records_max = 20);
    for n in 0..2 {
        (0..2).for_each(|seed| rig.join(n, seed));
    }
    rig
}

fn found(rig: &mut Rig, seed: usize, name: &str) -> Found {
    rig.inbox(1);
    rig.send(1, seed, Frame::Lookup(Lookup { request: RequestId(1), topic: topic(name) }));
    rig.run(5);
    let mut frames = rig.inbox(1).into_iter();
    let found = frames.find_map(|f| if let Frame::Found(f) = f { Some(*f) } else { None });
    found.expect("an answer")
}

/// The generation in which a peer creates a topic that two seeds say is not there.
fn next_generation(rig: &mut Rig, name: &str) -> u64 {
    let found = [0, 1].map(|seed| found(rig, seed, name));
    assert!(found.iter().all(|found| found.record.is_none()), "both have forgotten it");
    found.iter().map(|found| found.forgotten).max().expect("two") + 1
}

fn create_and_delete(rig: &mut Rig, name: &str, generation: u64) {
    for (version, deleted) in [(1, false), (2, true)] {
        let record = rig.topic_record(0, name, (generation, version), deleted);
        rig.put(0, 0, vec![record]);
    }
}

/// `news` was deleted in its third generation. Only the last seed knows that, and nobody hears it.
fn forgotten_but_by_one(rig: &mut Rig) {
    for generation in 1..=3 {
        create_and_delete(rig, "news", generation);
    }
    for other in 0..2 {
        rig.cut.insert((End::Seed(other), End::Seed(2)));
    }
    rig.run(10_000);
    for name in ["a", "b"] {
        create_and_delete(rig, name, 1);
    }
}

fn heal(rig: &mut Rig) {
    rig.cut.clear();
    rig.run(30_000);
    rig.assert_same_tables();
}

fn create(rig: &mut Rig, generation: u64) -> Outcome {
    let record = rig.topic_record(1, "news", (generation, 1), false);
    rig.inbox(1);
    rig.put(1, 1, vec![record]);
    let mut frames = rig.inbox(1).into_iter();
    let outcome =
        frames.find_map(|f| if let Frame::Proposed(f) = f { Some(f.outcome) } else { None });
    outcome.expect("an answer")
}

fn is_live(rig: &Rig, seed: usize) -> bool {
    rig.seed(seed).topics("news", 0, 9).items.len() == 1
}

#[test]
fn an_old_mark_at_a_seed_that_was_away_buries_no_topic_that_was_created_again() {
    let mut rig = cluster();
    forgotten_but_by_one(&mut rig);
    let generation = next_generation(&mut rig, "news");
    assert_eq!(generation, 4);
    assert_eq!(create(&mut rig, generation), Outcome::Kept);
    heal(&mut rig);
    assert!((0..3).all(|seed| is_live(&rig, seed)));
}

#[test]
fn one_that_begins_below_what_was_forgotten_would_be_buried() {
    let mut rig = cluster();
    forgotten_but_by_one(&mut rig);
    assert_eq!(create(&mut rig, 1), Outcome::Kept);
    rig.cut.clear();
    rig.run(30_000);
    assert!((0..3).any(|seed| !is_live(&rig, seed)), "what the rule is there for");
}

#[test]
fn what_was_forgotten_is_known_after_a_restart_and_to_a_seed_that_learns_anew() {
    let mut rig = cluster();
    forgotten_but_by_one(&mut rig);
    rig.cut.clear();
    rig.stop_seed(0);
    rig.start_seed(0);
    rig.kill_seed(1);
    rig.start_seed(1);
    rig.run(30_000);
    for seed in 0..2 {
        rig.join(1, seed);
        rig.run(100);
        assert_eq!(found(&mut rig, seed, "else").forgotten, 3, "seed {seed}");
    }
}

#[test]
fn a_seed_that_had_no_part_in_a_deletion_forgets_the_topic_with_its_mark() {
    let mut rig = cluster();
    let live = rig.topic_record(0, "news", (1, 1), false);
    rig.put(0, 0, vec![live]);
    for (one, other) in [(0, 1), (1, 2)] {
        rig.cut.insert((End::Seed(one), End::Seed(other)));
    }
    rig.run(10_000);
    let mark = rig.topic_record(0, "news", (1, 2), true);
    rig.put(0, 0, vec![mark]);
    assert!(is_live(&rig, 1) && !is_live(&rig, 0));
    heal(&mut rig);
    assert!(!is_live(&rig, 1), "it was told");
    for name in ["a", "b"] {
        create_and_delete(&mut rig, name, 1);
    }
    let generation = next_generation(&mut rig, "news");
    assert_eq!(create(&mut rig, generation), Outcome::Kept);
    heal(&mut rig);
    assert!((0..3).all(|seed| is_live(&rig, seed)));
}

#[test]
fn a_topic_may_begin_far_above_the_mark_of_its_own() {
    let mut rig = cluster();
    create_and_delete(&mut rig, "news", 1);
    assert_eq!(create(&mut rig, 70_000), Outcome::Kept);
}
