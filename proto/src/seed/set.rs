//! Which seeds there are, and how that changes: one seed at a time, and in two steps. In the
//! first the set is joint: every decision needs a majority of the seeds before and one of those
//! after. In the second, those after are left.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::config::quorum;
use crate::id::NodeId;
use crate::wire::frame::MemberState;
use crate::wire::record::{SEEDS_MAX, SeedPlace, SeedSetRecord};

/// A set of seeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeedSet {
    /// Rises with each decision; 0 is the set of the configuration.
    pub(super) version: u64,
    /// The seeds, or those that there will be, ordered by address.
    pub(super) seeds: Vec<SeedPlace>,
    /// While it changes: the seeds so far.
    pub(super) before: Option<Vec<SeedPlace>>,
}

/// A step that somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// One more seed.
    Add(SeedPlace),
    /// One seed less.
    Remove(SocketAddr),
    /// The change that this version began is over.
    Finish(u64),
}

impl SeedSet {
    /// The set of the configuration.
    pub(super) fn configured(addresses: impl Iterator<Item = SocketAddr>) -> Self {
        let addresses: BTreeSet<SocketAddr> = addresses.collect();
        let place = |address| SeedPlace { address, http: None };
        Self { version: 0, seeds: addresses.into_iter().map(place).collect(), before: None }
    }

    /// The record of it, by the seed that proposes it.
    pub(super) fn record(&self, author: NodeId) -> SeedSetRecord {
        let Self { version, seeds, before } = self.clone();
        SeedSetRecord { version, seeds, before, author }
    }

    /// All seeds, before and after a change.
    pub(super) fn all(&self) -> BTreeSet<SeedPlace> {
        let before = self.before.iter().flatten();
        let mut all: BTreeSet<SeedPlace> = self.seeds.iter().copied().collect();
        for place in before {
            if !self.seeds.iter().any(|seed| seed.address == place.address) {
                all.insert(*place);
            }
        }
        all
    }

    /// Whether a seed takes part in decisions.
    pub(super) fn contains(&self, address: SocketAddr) -> bool {
        let before = self.before.iter().flatten();
        self.seeds.iter().chain(before).any(|seed| seed.address == address)
    }

    /// What becomes of a member.
    pub(super) fn state_of(&self, address: SocketAddr) -> MemberState {
        let has = |seeds: &[SeedPlace]| seeds.iter().any(|seed| seed.address == address);
        match &self.before {
            Some(before) if !has(before) => MemberState::Joins,
            Some(_) if !has(&self.seeds) => MemberState::Goes,
            _ => MemberState::Stays,
        }
    }

    /// floor(n/2)+1 of the seeds that there are, or will be.
    pub(super) fn quorum(&self) -> usize {
        quorum(self.seeds.len())
    }

    /// Whether the seeds for which `has` holds may decide: a majority, and while the set changes
    /// one of the seeds before as well.
    pub(super) fn is_majority(&self, has: impl Fn(SocketAddr) -> bool) -> bool {
        is_majority(&self.seeds, &has)
            && self.before.as_ref().is_none_or(|before| is_majority(before, &has))
    }

    /// Whether the seeds for which `has` holds know of all that was ever decided. Every decision
    /// until a change is over had a majority of the seeds before it.
    pub(super) fn knows_all(&self, has: impl Fn(SocketAddr) -> bool) -> bool {
        is_majority(self.before.as_ref().unwrap_or(&self.seeds), &has)
    }

    /// Whether this set is what was before the change that is under way. To take a change back
    /// needs a majority of those before alone: every other decision until it is over has one of
    /// them too, so of two decisions one knows of the other, and nobody else may ever decide again.
    pub(super) fn takes_back(&self, seeds: &[SeedPlace], before: Option<&[SeedPlace]>) -> bool {
        let same = |old: &Vec<SeedPlace>| {
            old.len() == seeds.len() && old.iter().zip(seeds).all(|(a, b)| a.address == b.address)
        };
        before.is_none() && self.before.as_ref().is_some_and(same)
    }

    /// Whether the change may be finished once these seeds have settled what they hold: a
    /// majority of the seeds before, so that one of them had a part in each decision, and a seed
    /// that is added, so that it is of use.
    pub(super) fn is_settled(&self, has: impl Fn(SocketAddr) -> bool) -> bool {
        let Some(before) = &self.before else { return false };
        let is_new = |seed: &&SeedPlace| !before.iter().any(|old| old.address == seed.address);
        is_majority(before, &has) && self.seeds.iter().filter(is_new).all(|seed| has(seed.address))
    }

    /// The set after a change.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub(super) fn after(&self, change: Change) -> Result<Self, String> {
        let version = self.version + 1;
        if let Change::Finish(of) = change {
            return match &self.before {
                Some(_) if of == self.version => {
                    Ok(Self { version, seeds: self.seeds.clone(), before: None })
                }
                _ => Err("that change is over already".to_owned()),
            };
        }
        let mut seeds = self.seeds.clone();
        match change {
            Change::Add(place) => {
                match seeds.binary_search_by_key(&place.address, |seed| seed.address) {
                    Ok(_) => return Err(format!("{} is in the set already", place.address)),
                    Err(at) => seeds.insert(at, place),
                }
            }
            Change::Remove(address) => {
                match seeds.binary_search_by_key(&address, |seed| seed.address) {
                    Ok(at) => drop(seeds.remove(at)),
                    Err(_) => return Err(format!("{address} is not in the set")),
                }
            }
            Change::Finish(_) => {}
        }
        let same = |old: &[SeedPlace]| {
            old.len() == seeds.len() && old.iter().zip(&seeds).all(|(a, b)| a.address == b.address)
        };
        match &self.before {
            // Taken back: all that was decided had a majority of these too.
            Some(before) if same(before) => {
                Ok(Self { version, seeds: before.clone(), before: None })
            }
            Some(_) => Err("another change is under way: wait until it is over".to_owned()),
            None if seeds.is_empty() => Err("it is the only seed".to_owned()),
            None if seeds.len() > SEEDS_MAX => Err(format!("at most {SEEDS_MAX} seeds")),
            None => Ok(Self { version, seeds, before: Some(self.seeds.clone()) }),
        }
    }
}

impl From<&SeedSetRecord> for SeedSet {
    fn from(record: &SeedSetRecord) -> Self {
        let SeedSetRecord { version, seeds, before, .. } = record.clone();
        Self { version, seeds, before }
    }
}

fn is_majority(seeds: &[SeedPlace], has: &impl Fn(SocketAddr) -> bool) -> bool {
    seeds.iter().filter(|seed| has(seed.address)).count() >= quorum(seeds.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u16) -> SocketAddr {
        ([127, 0, 0, 1], n).into()
    }

    fn place(n: u16) -> SeedPlace {
        SeedPlace { address: at(n), http: None }
    }

    fn among(of: &[u16]) -> impl Fn(SocketAddr) -> bool + '_ {
        move |address| of.contains(&address.port())
    }

    #[test]
    fn a_change_has_two_steps_and_needs_both_majorities_between_them() {
        let three = SeedSet::configured((1..=3).map(at));
        let joint = three.after(Change::Add(place(4))).expect("may be");
        assert_eq!((joint.version, joint.seeds.len(), joint.quorum()), (1, 4, 3));
        assert!(!joint.is_majority(among(&[1, 2])), "no majority of four");
        assert!(!joint.is_majority(among(&[3, 4])), "no majority of three");
        assert!(joint.is_majority(among(&[1, 2, 4])));
        assert!(joint.knows_all(among(&[1, 2])) && !joint.knows_all(among(&[1, 4])));
        assert!(joint.after(Change::Add(place(5))).is_err(), "one at a time");
        assert!(!joint.is_settled(among(&[1, 2])) && joint.is_settled(among(&[1, 2, 4])));
        assert_eq!(joint.state_of(at(4)), MemberState::Joins);
        let four = joint.after(Change::Finish(1)).expect("may be");
        assert_eq!((four.version, four.before.is_none()), (2, true));
        assert!(four.is_majority(among(&[2, 3, 4])) && !four.is_majority(among(&[3, 4])));
        assert!(four.after(Change::Finish(1)).is_err());
        let joint = four.after(Change::Remove(at(1))).expect("may be");
        assert!(!joint.is_majority(among(&[2, 3])) && joint.is_majority(among(&[1, 2, 3])));
        assert!(joint.is_settled(among(&[2, 3, 4])));
        assert_eq!(joint.state_of(at(1)), MemberState::Goes);
        assert_eq!(joint.all().len(), 4);
    }

    #[test]
    fn a_change_can_be_taken_back() {
        let three = SeedSet::configured((1..=3).map(at));
        let joint = three.after(Change::Add(place(4))).expect("may be");
        let back = joint.after(Change::Remove(at(4))).expect("may be");
        assert_eq!((back.version, back.seeds == three.seeds, back.before), (2, true, None));
        let joint = three.after(Change::Remove(at(1))).expect("may be");
        let back = joint.after(Change::Add(place(1))).expect("may be");
        assert_eq!((back.seeds == three.seeds, back.before), (true, None));
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        let one = SeedSet::configured([at(1)].into_iter());
        for change in [Change::Add(place(1)), Change::Remove(at(2)), Change::Remove(at(1))] {
            assert!(one.after(change).is_err());
        }
        let full = SeedSet::configured((1..=32).map(at));
        assert!(full.after(Change::Add(place(99))).is_err());
    }
}
