//! All that can happen to one register with three seeds and two writers, of which each tries
//! twice at most, while one seed loses its memory: every order of every message. And to the
//! register of the seeds themselves, while one wants to finish a change and another takes it back.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use crate::id::NodeId;
use crate::seed::register::{Acceptors, Proposer};
use crate::wire::frame::{Ballot, Teacher};

type Value = u8;
const KEY: u8 = 0;
const QUORUM: usize = 2;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Message {
    Prepare { writer: usize, ballot: Ballot },
    Promise { writer: usize, ballot: Ballot, accepted: Option<(Ballot, Value)> },
    Accept { writer: usize, ballot: Ballot, value: Value },
    Accepted { writer: usize, ballot: Ballot },
}

/// A writer wants the register for itself, as a host wants a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Writer {
    attempts: usize,
    proposer: Option<Proposer<Value>>,
    value: Option<Value>,
    /// Whose the register is, as this writer was told.
    told: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    seeds: [Acceptors<u8, Value>; 3],
    writers: [Writer; 2],
    /// Under way to or from a seed. A message that is never taken is a lost one.
    messages: BTreeSet<(usize, Message)>,
    /// Who ever accepted what: the truth by which values are chosen.
    accepted: BTreeMap<(Ballot, Value), BTreeSet<usize>>,
    crashes: usize,
    /// Who has told whom everything since the crash.
    taught: BTreeSet<(usize, usize)>,
    /// With whom each founded the cluster.
    founders: BTreeSet<(usize, NodeId)>,
    /// The register is that of the seeds, of which the first one is being removed.
    is_joint: bool,
}

/// The wish of the first writer in a joint set: the change is taken back. The other finishes it.
const BACK: Value = 0;

fn seed_id(seed: usize) -> NodeId {
    NodeId([u8::try_from(seed).unwrap(); 32])
}

fn is_quorum(has: &dyn Fn(&NodeId) -> bool) -> bool {
    (0..3).filter(|seed| has(&seed_id(*seed))).count() >= QUORUM
}

/// Whether these may choose a value. For all but taking the change back a joint set needs both of
/// the seeds that are left as well.
fn may_choose(is_joint: bool, value: Value, has: &dyn Fn(&NodeId) -> bool) -> bool {
    let is_left = || (1..3).all(|seed| has(&seed_id(seed)));
    is_quorum(has) && (!is_joint || value == BACK || is_left())
}

fn writer_id(writer: usize) -> NodeId {
    NodeId([100 + u8::try_from(writer).unwrap(); 32])
}

impl World {
    fn new(crashes: usize) -> Self {
        let mut world = Self::unfounded();
        world.seeds.iter_mut().for_each(|seed| drop(seed.begin_to_vote()));
        world.crashes = crashes;
        world
    }

    /// Seeds that have never voted.
    fn unfounded() -> Self {
        let seed = || Acceptors::new(3);
        let writer = || Writer { attempts: 0, proposer: None, value: None, told: None };
        Self {
            seeds: [seed(), seed(), seed()],
            writers: [writer(), writer()],
            messages: BTreeSet::new(),
            accepted: BTreeMap::new(),
            crashes: 0,
            taught: BTreeSet::new(),
            founders: BTreeSet::new(),
            is_joint: false,
        }
    }

    /// A writer begins, or loses patience and begins again with a higher ballot.
    fn attempt(&mut self, writer: usize, round: u64) {
        let state = &mut self.writers[writer];
        state.attempts += 1;
        state.value = None;
        let ballot = Ballot { round, seed: writer_id(writer) };
        state.proposer = Some(Proposer::new(ballot));
        self.messages.extend((0..3).map(|seed| (seed, Message::Prepare { writer, ballot })));
    }

    fn take(&mut self, seed: usize, message: Message) {
        match message {
            Message::Prepare { writer, ballot } => {
                if let Ok(accepted) = self.seeds[seed].prepare(&KEY, ballot) {
                    self.messages.insert((seed, Message::Promise { writer, ballot, accepted }));
                }
            }
            Message::Accept { writer, ballot, value } => {
                if self.seeds[seed].accept(&KEY, ballot, value).is_ok() {
                    self.accepted.entry((ballot, value)).or_default().insert(seed);
                    self.messages.insert((seed, Message::Accepted { writer, ballot }));
                }
            }
            Message::Promise { writer, ballot, accepted } => {
                self.promised(seed, writer, ballot, accepted);
            }
            Message::Accepted { writer, ballot } => {
                let (state, is_joint) = (&mut self.writers[writer], self.is_joint);
                let (Some(proposer), Some(value)) = (&mut state.proposer, state.value) else {
                    return;
                };
                let may = |has: &dyn Fn(&NodeId) -> bool| may_choose(is_joint, value, has);
                if proposer.ballot == ballot && proposer.accepted(seed_id(seed), may) {
                    state.told = state.value;
                    state.proposer = None;
                }
            }
        }
    }

    fn promised(
        &mut self,
        seed: usize,
        writer: usize,
        ballot: Ballot,
        accepted: Option<(Ballot, Value)>,
    ) {
        let state = &mut self.writers[writer];
        let Some(proposer) = &mut state.proposer else { return };
        if proposer.ballot != ballot {
            return;
        }
        let (wish, is_joint) = (u8::try_from(writer).expect("two writers"), self.is_joint);
        let may = |has: &dyn Fn(&NodeId) -> bool| may_choose(is_joint, wish, has);
        let Some(current) = proposer.promised(seed_id(seed), accepted, may) else { return };
        let value = current.value.unwrap_or(wish);
        // Who takes back asks fewer than a decision on something else needs.
        let is_enough = !is_joint || wish != BACK || value == BACK;
        if current.is_chosen && current.value.is_some() && is_enough {
            state.told = current.value;
            state.proposer = None;
            return;
        }
        state.value = Some(value);
        for acceptor in proposer.acceptors() {
            let to = usize::from(acceptor.0[0]);
            self.messages.insert((to, Message::Accept { writer, ballot, value }));
        }
    }

    /// A seed that lost its memory is told everything by another one.
    fn teach(&mut self, learner: usize, teacher: usize) {
        self.taught.insert((learner, teacher));
        let floor = self.seeds[teacher].raise(seed_id(learner));
        // To those that it founds the cluster with a seed stays what it was.
        let founded = self.founders.contains(&(teacher, seed_id(learner)));
        let standing = if founded { Teacher::New } else { self.seeds[teacher].standing() };
        let votes: Vec<_> = self.seeds[teacher]
            .votes(std::ops::Bound::Unbounded)
            .map(|(key, ballot, value)| (*key, ballot, *value))
            .collect();
        for (key, ballot, value) in votes {
            self.seeds[learner].learn(&key, ballot, value);
        }
        self.seeds[learner].learned(seed_id(teacher), standing, floor);
        if self.seeds[learner].has_learned(seed_id(learner), (3, true), is_quorum) {
            let others = self.seeds[learner].begin_to_vote();
            self.founders.extend(others.into_iter().map(|other| (learner, other)));
            // What it was told it holds from now on as if it had accepted it.
            let votes = self.seeds[learner].votes(std::ops::Bound::Unbounded);
            let votes: Vec<_> = votes.map(|(_, ballot, value)| (ballot, *value)).collect();
            for vote in votes {
                self.accepted.entry(vote).or_default().insert(learner);
            }
        }
    }

    fn next(&self, rounds: [&[u64]; 2]) -> Vec<Self> {
        let mut all = Vec::new();
        let mut step = |change: &mut dyn FnMut(&mut Self)| {
            let mut world = self.clone();
            change(&mut world);
            world.tidy();
            all.push(world);
        };
        for (seed, message) in &self.messages {
            step(&mut |world| {
                world.messages.remove(&(*seed, message.clone()));
                world.take(*seed, message.clone());
            });
        }
        for (writer, (state, rounds)) in self.writers.iter().zip(rounds).enumerate() {
            let round = rounds.get(state.attempts).filter(|_| state.told.is_none());
            if let Some(round) = round {
                step(&mut |world| world.attempt(writer, *round));
            }
        }
        for seed in 0..3 {
            if self.crashes > 0 {
                step(&mut |world| {
                    world.crashes -= 1;
                    world.seeds[seed] = Acceptors::new(3);
                    // It is in another life.
                    world.founders.retain(|(_, other)| *other != seed_id(seed));
                });
            }
            if self.seeds[seed].is_learning() {
                let untaught = |teacher: &usize| !self.taught.contains(&(seed, *teacher));
                for teacher in (0..3).filter(|teacher| *teacher != seed).filter(untaught) {
                    step(&mut |world| world.teach(seed, teacher));
                }
            }
        }
        all
    }

    /// Forgets answers that their writer would not look at.
    fn tidy(&mut self) {
        let writers = &self.writers;
        self.messages.retain(|(_, message)| match message {
            Message::Promise { writer, ballot, .. } => {
                let state = &writers[*writer];
                let open = state.proposer.as_ref().filter(|open| open.ballot == *ballot);
                open.is_some() && state.value.is_none()
            }
            Message::Accepted { writer, ballot } => {
                let open = &writers[*writer].proposer;
                open.as_ref().is_some_and(|open| open.ballot == *ballot)
            }
            Message::Prepare { .. } | Message::Accept { .. } => true,
        });
    }

    fn check(&self) {
        let chosen = self.accepted.iter().filter(|((_, value), by)| {
            may_choose(self.is_joint, *value, &|node| by.contains(&usize::from(node.0[0])))
        });
        let chosen: BTreeSet<Value> = chosen.map(|((_, value), _)| *value).collect();
        assert!(chosen.len() <= 1, "two values were chosen: {self:#?}");
        for told in self.writers.iter().filter_map(|writer| writer.told) {
            assert!(chosen.contains(&told), "told of what was not chosen: {self:#?}");
        }
    }
}

/// Visits every world in which the writers try with ballots of these rounds; returns how many
/// there are and in how many both writers know the owner.
fn explore(first: World, rounds: [&[u64]; 2]) -> (usize, usize) {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let mut known = HashSet::from([hasher.hash_one(&first)]);
    let mut open = vec![first];
    let mut settled = 0;
    while let Some(world) = open.pop() {
        world.check();
        settled += usize::from(world.writers.iter().all(|writer| writer.told.is_some()));
        for next in world.next(rounds) {
            if known.insert(hasher.hash_one(&next)) {
                open.push(next);
            }
        }
    }
    (known.len(), settled)
}

#[test]
fn two_writers_that_try_twice_never_both_win() {
    let (worlds, settled) = explore(World::new(0), [&[1, 3], &[2]]);
    assert!(worlds > 10_000 && settled > 100, "{worlds} worlds, {settled} settled");
}

#[test]
fn a_seed_that_loses_its_memory_changes_nothing_that_was_chosen() {
    let (worlds, settled) = explore(World::new(1), [&[1], &[5]]);
    assert!(worlds > 10_000 && settled > 100, "{worlds} worlds, {settled} settled");
}

#[test]
fn seeds_that_found_a_cluster_at_different_times_choose_once() {
    // Two have heard of each other and vote; the third is about to hear of them.
    let mut world = World::unfounded();
    world.teach(0, 1);
    world.teach(1, 0);
    assert!(!world.seeds[0].is_learning() && !world.seeds[1].is_learning());
    let (worlds, settled) = explore(world, [&[7], &[8]]);
    assert!(worlds > 10_000 && settled > 100, "{worlds} worlds, {settled} settled");
}

#[test]
fn a_change_of_the_seeds_is_either_finished_or_taken_back() {
    let mut world = World::new(0);
    world.is_joint = true;
    for rounds in [[&[1, 3][..], &[2][..]], [&[2], &[1, 3]]] {
        let (worlds, settled) = explore(world.clone(), rounds);
        assert!(worlds > 10_000 && settled > 100, "{worlds} worlds, {settled} settled");
    }
}
