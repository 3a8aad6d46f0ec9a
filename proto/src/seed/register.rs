//! Registers: values on which the seeds agree, each changed by compare-and-set.
//!
//! This is CASPaxos (Rystsov, 2018): each change is a round of single-decree Paxos. A proposer has
//! a ballot promised by a quorum, learns from the promises what the register holds, and has what
//! it makes of that accepted. Here are the acceptors of all registers of a seed, and the proposer
//! of one change; both know nothing of links or time.
//!
//! An acceptor keeps on disk what it promised and accepted. A disk may be lost, or a part of it;
//! three rules make that harmless as long as no more than a minority is lost at a time. A value is
//! accepted under the ballot that was promised last, and no other. A proposer asks only those to
//! accept whose promises it counted. And a seed that has lost something is a learner: it promises
//! nothing before a majority of others that have not told it all that they accepted, and raised
//! the floor below which they accept nothing any more.
//!
//! Seeds that have never voted found a cluster: a majority of them that finds each other so, or
//! all, begin to vote. Where only a minority has lost its memory that cannot happen.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::id::NodeId;
use crate::wire::frame::{Ballot, Teacher};

/// What a register holds at an acceptor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Cell<V> {
    promised: Ballot,
    accepted: Option<(Ballot, V)>,
}

/// Why an acceptor did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It has promised this ballot.
    Promised(Ballot),
    /// It does not know yet what was accepted before it started.
    Learning,
}

/// The acceptors of all registers of one seed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Acceptors<K, V> {
    /// Nothing below it is promised or accepted, whatever the register.
    floor: Ballot,
    /// The highest ballot that was promised.
    highest: Ballot,
    cells: BTreeMap<K, Cell<V>>,
    /// Who has told everything; `None` once this seed votes.
    learning: Option<BTreeMap<NodeId, Teacher>>,
    /// Others vote: this seed founds nothing.
    is_elsewhere: bool,
}

impl<K: Ord + Clone, V: Clone> Acceptors<K, V> {
    /// Of a seed that knows nothing; it has to learn unless it is the only one.
    pub(super) fn new(seeds: usize) -> Self {
        Self {
            floor: Ballot::default(),
            highest: Ballot::default(),
            cells: BTreeMap::new(),
            learning: (seeds > 1).then(BTreeMap::new),
            is_elsewhere: false,
        }
    }

    /// Takes in a register that was on disk.
    pub(super) fn restore(&mut self, key: K, promised: Ballot, accepted: Option<(Ballot, V)>) {
        self.highest = self.highest.max(promised);
        self.cells.insert(key, Cell { promised, accepted });
    }

    /// Takes in what was promised for all registers.
    pub(super) fn restore_floor(&mut self, floor: Ballot) {
        self.floor = self.floor.max(floor);
        self.highest = self.highest.max(floor);
    }

    /// Nothing below is promised or accepted, whatever the register.
    pub(super) fn floor(&self) -> Ballot {
        self.floor
    }

    /// What was promised for a register, and accepted last.
    pub(super) fn cell(&self, key: &K) -> Option<(Ballot, Option<&(Ballot, V)>)> {
        self.cells.get(key).map(|cell| (cell.promised, cell.accepted.as_ref()))
    }

    /// The first register of those in a part.
    pub(super) fn next_key(&self, from: Bound<&K>) -> Option<&K> {
        self.cells.range((from, Bound::Unbounded)).next().map(|(key, _)| key)
    }

    /// All registers that are known here.
    pub(super) fn keys(&self) -> impl Iterator<Item = &K> + '_ {
        self.cells.keys()
    }

    /// Whether it may not vote yet.
    pub(super) fn is_learning(&self) -> bool {
        self.learning.is_some()
    }

    /// Whether this seed, `me`, has learned enough to vote, of `total` seeds. `is_late`: those
    /// that have not told anything by now are down. `is_majority`: whether a majority of the
    /// seeds is among those for which a test holds.
    pub(super) fn has_learned(
        &self,
        me: NodeId,
        (total, is_late): (usize, bool),
        is_majority: impl Fn(&dyn Fn(&NodeId) -> bool) -> bool,
    ) -> bool {
        let Some(heard) = &self.learning else { return false };
        let is = |node: &NodeId, what: Teacher| heard.get(node) == Some(&what);
        let found = |node: &NodeId| *node == me || is(node, Teacher::New);
        heard.len() + 1 >= total
            || is_majority(&|node| is(node, Teacher::Voter))
            || is_late && self.is_new() && is_majority(&found)
    }

    /// Whether this seed has never voted and knows nobody who does.
    fn is_new(&self) -> bool {
        let votes = |teacher: &Teacher| *teacher == Teacher::Voter;
        let knows_nobody = |heard: &BTreeMap<_, _>| !heard.values().any(votes);
        !self.is_elsewhere && self.learning.as_ref().is_some_and(knows_nobody)
    }

    /// There are seeds that vote, though this one may not have heard of all that they know.
    pub(super) fn others_vote(&mut self) {
        self.is_elsewhere = true;
    }

    /// From now on it has to learn, whatever it was told before.
    pub(super) fn learn_anew(&mut self) {
        self.learning = Some(BTreeMap::new());
    }

    /// What this seed is to one that learns from it.
    pub(super) fn standing(&self) -> Teacher {
        match self.is_learning() {
            false => Teacher::Voter,
            true if self.is_new() => Teacher::New,
            true => Teacher::Learner,
        }
    }

    /// The highest ballot that is known here.
    pub(super) fn highest(&self) -> Ballot {
        self.highest
    }

    /// How many registers were ever used and not forgotten.
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// What this acceptor has accepted last for a register, decided or not.
    pub(super) fn accepted(&self, key: &K) -> Option<&V> {
        let (_, value) = self.cells.get(key)?.accepted.as_ref()?;
        Some(value)
    }

    /// Promises to accept nothing below `ballot`; returns what was accepted last.
    pub(super) fn prepare(
        &mut self,
        key: &K,
        ballot: Ballot,
    ) -> Result<Option<(Ballot, V)>, Refusal> {
        if self.is_learning() {
            return Err(Refusal::Learning);
        }
        let floor = self.floor;
        let promised = self.cells.get(key).map_or(floor, |cell| cell.promised.max(floor));
        if ballot <= promised {
            return Err(Refusal::Promised(promised));
        }
        self.highest = self.highest.max(ballot);
        let empty = Cell { promised: ballot, accepted: None };
        let cell = self.cells.entry(key.clone()).or_insert(empty);
        cell.promised = ballot;
        Ok(cell.accepted.clone())
    }

    /// Accepts a value under the ballot that was promised last.
    pub(super) fn accept(&mut self, key: &K, ballot: Ballot, value: V) -> Result<(), Refusal> {
        if self.is_learning() {
            return Err(Refusal::Learning);
        }
        let floor = self.floor;
        match self.cells.get_mut(key) {
            Some(cell) if cell.promised == ballot && ballot > floor => {
                cell.accepted = Some((ballot, value));
                Ok(())
            }
            Some(cell) => Err(Refusal::Promised(cell.promised.max(floor))),
            None => Err(Refusal::Promised(floor)),
        }
    }

    /// A learner asks: nothing that was promised so far is accepted any more, so that what it is
    /// told now is all that a former life of it may have taken part in. Returns the floor.
    pub(super) fn raise(&mut self, learner: NodeId) -> Ballot {
        let round = self.highest.round.saturating_add(1);
        self.floor = Ballot { round, seed: learner };
        self.highest = self.floor;
        self.floor
    }

    /// What was accepted, from a register on.
    pub(super) fn votes(&self, from: Bound<K>) -> impl Iterator<Item = (&K, Ballot, &V)> + '_ {
        let cells = self.cells.range((from, Bound::Unbounded));
        cells.filter_map(|(key, cell)| {
            let (ballot, value) = cell.accepted.as_ref()?;
            Some((key, *ballot, value))
        })
    }

    /// Another seed has accepted this.
    pub(super) fn learn(&mut self, key: &K, ballot: Ballot, value: V) {
        if self.learning.is_none() {
            return;
        }
        let empty = Cell { promised: Ballot::default(), accepted: None };
        let cell = self.cells.entry(key.clone()).or_insert(empty);
        if cell.accepted.as_ref().is_none_or(|(known, _)| *known < ballot) {
            cell.accepted = Some((ballot, value));
        }
    }

    /// Another seed has told everything, and accepts nothing below `floor`.
    pub(super) fn learned(&mut self, from: NodeId, teacher: Teacher, floor: Ballot) {
        if let Some(heard) = &mut self.learning {
            heard.insert(from, teacher);
            self.floor = self.floor.max(floor);
            self.highest = self.highest.max(floor);
        }
    }

    /// Another node stands in the place of this seed: it has told nothing.
    pub(super) fn unlearn(&mut self, from: &NodeId) {
        if let Some(heard) = &mut self.learning {
            heard.remove(from);
        }
    }

    /// From now on it votes. Returns with whom it founds the cluster: nobody, where there were
    /// voters to learn from.
    pub(super) fn begin_to_vote(&mut self) -> BTreeSet<NodeId> {
        let is_new = self.is_new();
        let heard = self.learning.take().unwrap_or_default();
        heard.into_keys().filter(|_| is_new).collect()
    }

    /// Forgets what was promised for registers that hold nothing: from now on the floor stands for
    /// all of it, and attempts that were under way begin again. Returns which registers.
    pub(super) fn forget_promises(&mut self) -> Vec<K> {
        self.floor = self.floor.max(self.highest);
        let mut void = Vec::new();
        self.cells.retain(|key, cell| {
            if cell.accepted.is_none() {
                void.push(key.clone());
            }
            cell.accepted.is_some()
        });
        void
    }

    /// Forgets a register.
    pub(super) fn forget(&mut self, key: &K) {
        self.cells.remove(key);
    }
}

/// What a register holds, as a quorum of acceptors says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Current<V> {
    /// The value; `None` when none was ever chosen.
    pub(super) value: Option<V>,
    /// It is known to be chosen. Otherwise it may be, and has to be accepted again before anybody
    /// may rely on it.
    pub(super) is_chosen: bool,
}

/// One attempt to change or read a register.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Proposer<V> {
    /// Its ballot: no other attempt ever has the same.
    pub(super) ballot: Ballot,
    promises: BTreeMap<NodeId, Option<(Ballot, V)>>,
    /// Who has accepted, once a quorum has promised.
    accepted: Option<BTreeSet<NodeId>>,
}

impl<V: Clone + PartialEq> Proposer<V> {
    /// An attempt that nobody knows of yet.
    pub(super) fn new(ballot: Ballot) -> Self {
        Self { ballot, promises: BTreeMap::new(), accepted: None }
    }

    /// An acceptor has promised. Returns what the register holds as soon as a quorum has:
    /// `is_quorum` says of a test whether it holds for one.
    pub(super) fn promised(
        &mut self,
        by: NodeId,
        accepted: Option<(Ballot, V)>,
        is_quorum: impl Fn(&dyn Fn(&NodeId) -> bool) -> bool,
    ) -> Option<Current<V>> {
        if self.accepted.is_some() {
            return None;
        }
        self.promises.insert(by, accepted);
        if !is_quorum(&|node| self.promises.contains_key(node)) {
            return None;
        }
        self.accepted = Some(BTreeSet::new());
        let highest = self.promises.values().flatten().max_by_key(|(ballot, _)| *ballot);
        let ballot = highest.map(|(ballot, _)| *ballot);
        let same = |vote: &Option<(Ballot, V)>| vote.as_ref().map(|(ballot, _)| *ballot) == ballot;
        let is_chosen = self.promises.values().all(same);
        Some(Current { value: highest.map(|(_, value)| value.clone()), is_chosen })
    }

    /// Whom to ask to accept: those whose promises were counted.
    pub(super) fn acceptors(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.promises.keys().copied()
    }

    /// An acceptor has accepted. Returns whether the value is chosen.
    pub(super) fn accepted(
        &mut self,
        by: NodeId,
        is_quorum: impl Fn(&dyn Fn(&NodeId) -> bool) -> bool,
    ) -> bool {
        let Some(accepted) = &mut self.accepted else { return false };
        let is_news = self.promises.contains_key(&by) && accepted.insert(by);
        is_news && is_quorum(&|node| accepted.contains(node))
    }
}
