//! S7: a topic has one owner, and reads at a majority of the seeds never go backwards.
//!
//! The history of what applications asked for is judged, by real time: what was answered before
//! something else was asked happened before it.

use std::collections::{BTreeMap, BTreeSet};

use tidings_proto::Instant;

use super::Verdicts;
pub use super::linear::Act;

/// The rule's name for two owners.
pub const OWNER_RULE: &str = "S7 owner";
/// The rule's name for reads.
pub const READ_RULE: &str = "S7 read";

/// How an act was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is, or is now, this creation of the name, owned by this peer.
    Found {
        /// Which creation.
        generation: u64,
        /// The owner.
        host: u32,
    },
    /// It was deleted.
    Deleted,
    /// A majority says that there is none.
    Absent,
    /// Anything else: it may have happened or not.
    Refused,
}

/// An act that is not answered yet.
#[derive(Clone, Copy, Debug)]
struct Open {
    name: u32,
    peer: u32,
    act: Act,
    before: Known,
}

/// What is known for certain of a name.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The newest creation that was seen.
    generation: u64,
    /// The newest creation whose end was acknowledged.
    ended: u64,
}

#[derive(Debug, Default)]
struct Name {
    known: Known,
    /// Who owns which creation.
    owners: BTreeMap<u64, u32>,
    /// The newest creation of which the end was asked for.
    ending: u64,
    /// Who asked for an end, and was not told that it is done: it may come at any time.
    enders: BTreeSet<u32>,
}

/// All contested names.
#[derive(Debug, Default)]
pub struct Owners {
    names: BTreeMap<u32, Name>,
    open: BTreeMap<u32, Open>,
    acts: u32,
    judged: u64,
}

impl Owners {
    /// A peer asks; returns the number of the act.
    pub fn asked(&mut self, name: u32, peer: u32, act: Act) -> u32 {
        let state = self.names.entry(name).or_default();
        if act == Act::Delete {
            state.enders.insert(peer);
            state.ending = state.ending.max(state.owned_by(peer));
        }
        self.acts += 1;
        self.open.insert(self.acts, Open { name, peer, act, before: state.known });
        self.acts
    }

    /// Who owns a name, as far as was acknowledged.
    pub fn owner(&self, name: u32) -> Option<u32> {
        let state = self.names.get(&name)?;
        let (generation, owner) = state.owners.last_key_value()?;
        (*generation > state.known.ended).then_some(*owner)
    }

    /// Whether a change of a name waits for its answer.
    pub fn is_changing(&self, name: u32) -> bool {
        self.open.values().any(|open| open.name == name && open.act != Act::Read)
    }

    /// An act was answered. Returns its name, unless nobody waits for it any more.
    pub fn answered(
        &mut self,
        verdicts: &mut Verdicts,
        now: Instant,
        number: u32,
        outcome: Outcome,
    ) -> Option<(u32, Act)> {
        let open = self.open.remove(&number)?;
        let Open { name, peer, act, before } = open;
        let state = self.names.entry(name).or_default();
        self.judged += 1;
        match outcome {
            Outcome::Found { generation, host } => {
                state.found(verdicts, now, &open, (generation, host));
            }
            Outcome::Absent => {
                if act == Act::Read && before.generation > before.ended.max(state.ending) {
                    let text = format_args!(
                        "name {name} is not there, but creation {} was, and nobody ended it",
                        before.generation
                    );
                    verdicts.report(READ_RULE, now, peer, text);
                }
            }
            Outcome::Deleted => {
                state.known.ended = state.known.ended.max(state.owned_by(peer));
                state.enders.remove(&peer);
            }
            Outcome::Refused => {}
        }
        Some((name, act))
    }

    /// The process of a peer died: its acts may have happened or not.
    pub fn forget(&mut self, peer: u32) {
        self.open.retain(|_, open| open.peer != peer);
    }

    /// So many seeds lost their memory that nothing known before counts.
    pub fn void(&mut self) {
        self.names.clear();
        self.open.clear();
    }

    /// How many answers were judged.
    pub fn judged(&self) -> u64 {
        self.judged
    }
}

impl Name {
    /// The newest creation that a peer owns, or owned.
    fn owned_by(&self, peer: u32) -> u64 {
        let newest = self.owners.iter().rev().find(|(_, owner)| **owner == peer);
        newest.map_or(0, |(generation, _)| *generation)
    }

    fn found(
        &mut self,
        verdicts: &mut Verdicts,
        now: Instant,
        open: &Open,
        (generation, host): (u64, u32),
    ) {
        let Open { name, peer, act, before } = *open;
        if generation < before.generation {
            let text = format_args!(
                "name {name}: creation {generation} after {} had been seen",
                before.generation
            );
            verdicts.report(READ_RULE, now, peer, text);
        } else if generation <= before.ended {
            let text = format_args!("name {name}: creation {generation}, which was ended");
            verdicts.report(READ_RULE, now, peer, text);
        }
        let owner = *self.owners.entry(generation).or_insert(host);
        if owner != host {
            let text = format_args!(
                "name {name}: creation {generation} is owned by {owner} and by {host}"
            );
            verdicts.report(OWNER_RULE, now, host, text);
            // Reported once, not at each read.
            self.owners.insert(generation, host);
        }
        if self.enders.contains(&host) {
            self.ending = self.ending.max(generation);
        }
        // A creation after another one, which was known when it was asked for and never ended.
        let taken = act == Act::Create
            && generation > before.generation
            && before.generation > before.ended.max(self.ending)
            && self.owners.get(&before.generation).is_some_and(|owner| *owner != host);
        if taken {
            let text = format_args!(
                "name {name}: creation {generation} although {} was never ended",
                before.generation
            );
            verdicts.report(OWNER_RULE, now, host, text);
        }
        self.known.generation = self.known.generation.max(generation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(generation: u64, host: u32) -> Outcome {
        Outcome::Found { generation, host }
    }

    /// Asks and is answered at once.
    fn done(judge: &mut Owners, verdicts: &mut Verdicts, peer: u32, act: Act, outcome: Outcome) {
        let number = judge.asked(0, peer, act);
        assert_eq!(judge.is_changing(0), act != Act::Read);
        assert!(judge.answered(verdicts, Instant::ZERO, number, outcome).is_some());
        assert!(judge.answered(verdicts, Instant::ZERO, number, outcome).is_none());
    }

    #[test]
    fn fires_on_two_owners() {
        let (mut judge, mut verdicts) = (Owners::default(), Verdicts::default());
        done(&mut judge, &mut verdicts, 1, Act::Create, found(1, 1));
        done(&mut judge, &mut verdicts, 1, Act::Create, found(1, 1));
        done(&mut judge, &mut verdicts, 2, Act::Read, found(1, 1));
        assert_eq!((verdicts.total, judge.owner(0)), (0, Some(1)));
        done(&mut judge, &mut verdicts, 2, Act::Create, found(1, 2));
        assert!(verdicts.broke(OWNER_RULE));
        done(&mut judge, &mut verdicts, 3, Act::Create, found(2, 3));
        assert_eq!(verdicts.total, 2, "taken from a living owner");
    }

    #[test]
    fn fires_on_reads_that_go_backwards() {
        let (mut judge, mut verdicts) = (Owners::default(), Verdicts::default());
        let early = judge.asked(0, 5, Act::Read);
        done(&mut judge, &mut verdicts, 1, Act::Read, Outcome::Absent);
        done(&mut judge, &mut verdicts, 1, Act::Create, found(1, 1));
        judge.answered(&mut verdicts, Instant::ZERO, early, Outcome::Absent);
        assert_eq!(verdicts.total, 0, "asked before");
        done(&mut judge, &mut verdicts, 2, Act::Read, Outcome::Absent);
        assert!(verdicts.broke(READ_RULE));
        done(&mut judge, &mut verdicts, 1, Act::Delete, Outcome::Deleted);
        done(&mut judge, &mut verdicts, 2, Act::Read, Outcome::Absent);
        assert_eq!((verdicts.total, judge.owner(0)), (1, None));
        done(&mut judge, &mut verdicts, 2, Act::Read, found(1, 1));
        assert_eq!(verdicts.total, 2, "what was ended is read again");
        done(&mut judge, &mut verdicts, 3, Act::Create, found(2, 3));
        assert_eq!(verdicts.total, 2);
        done(&mut judge, &mut verdicts, 2, Act::Read, found(1, 1));
        assert_eq!(verdicts.total, 3, "an older creation");
    }

    #[test]
    fn what_was_not_answered_may_have_happened() {
        let (mut judge, mut verdicts) = (Owners::default(), Verdicts::default());
        done(&mut judge, &mut verdicts, 1, Act::Create, found(1, 1));
        judge.asked(0, 1, Act::Delete);
        judge.forget(1);
        done(&mut judge, &mut verdicts, 2, Act::Read, Outcome::Absent);
        done(&mut judge, &mut verdicts, 2, Act::Read, found(1, 1));
        done(&mut judge, &mut verdicts, 2, Act::Create, found(2, 2));
        done(&mut judge, &mut verdicts, 2, Act::Create, Outcome::Refused);
        assert_eq!((verdicts.total, judge.judged()), (0, 5));
    }
}
