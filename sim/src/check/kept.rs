//! S4: what a majority of the seeds has acknowledged is still found while only a minority of them
//! was crashed or wiped.
//!
//! A seed that lost its memory counts as lost until it holds again all that was acknowledged.
//! While no more are lost than a minority, at least one of those that acknowledged a fact never
//! lost it, and must still hold it. When more are lost at once, nothing is promised of what was
//! acknowledged before.

use std::collections::BTreeMap;

use tidings_proto::Instant;
use tidings_proto::config::quorum;

use super::Verdicts;

/// The rule's name.
pub const RULE: &str = "S4 kept";
/// The rule's name for subscriptions, which are judged in the end.
pub const SUBSCRIPTION_RULE: &str = "S4 subscription";

/// A topic, as its creation was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Which creation of the name it is.
    pub generation: u64,
    /// The peer that created it.
    pub host: u32,
}

/// What a seed holds of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Which creation.
    pub generation: u64,
    /// It is marked as deleted.
    pub deleted: bool,
}

/// What was acknowledged, and which seeds remember.
#[derive(Clone, Debug)]
pub struct Kept {
    /// By number of the topic.
    facts: BTreeMap<u32, Fact>,
    /// Seeds that have lost nothing, by number.
    whole: Vec<bool>,
    lost_max: usize,
    judged: u64,
}

impl Kept {
    /// Nothing is acknowledged; all seeds are whole. At most `lost_max` may be lost at once; the
    /// design's minority when it is `None`.
    pub fn new(seeds: u32, lost_max: Option<u32>) -> Self {
        let seeds = seeds as usize;
        let minority = seeds - quorum(seeds);
        let lost_max = lost_max.map_or(minority, |most| most as usize);
        Self { facts: BTreeMap::new(), whole: vec![true; seeds], lost_max, judged: 0 }
    }

    /// The creation of a topic was acknowledged.
    pub fn acknowledged(&mut self, topic: u32, fact: Fact) {
        let known = self.facts.entry(topic).or_insert(fact);
        if fact.generation >= known.generation {
            *known = fact;
        }
    }

    /// The deletion of a topic was asked for: it may be gone, or not.
    pub fn forget(&mut self, topic: u32) {
        self.facts.remove(&topic);
    }

    /// A seed lost its memory. When these are too many, all that was acknowledged before is void:
    /// true.
    pub fn seed_lost(&mut self, seed: u32) -> bool {
        self.whole[seed as usize] = false;
        let lost = self.whole.iter().filter(|whole| !**whole).count();
        if lost > self.lost_max {
            self.facts.clear();
        }
        lost > self.lost_max
    }

    /// Looks for every fact. `holds(seed, topic)` is what a seed that runs holds; `None` also
    /// where it does not run.
    pub fn look(
        &mut self,
        verdicts: &mut Verdicts,
        now: Instant,
        runs: impl Fn(u32) -> bool,
        holds: impl Fn(u32, u32) -> Option<Holding>,
    ) {
        let has = |seed: u32, topic: u32, fact: &Fact| {
            let held = holds(seed, topic);
            held.is_some_and(|held| {
                held.generation > fact.generation
                    || held.generation == fact.generation && !held.deleted
            })
        };
        for (seed, whole) in (0..).zip(&mut self.whole) {
            let is_back = || self.facts.iter().all(|(topic, fact)| has(seed, *topic, fact));
            *whole = *whole || runs(seed) && is_back();
        }
        let whole = |seed: &u32| self.whole[*seed as usize];
        let seeds = u32::try_from(self.whole.len()).expect("few seeds");
        let mut gone = Vec::new();
        for (topic, fact) in &self.facts {
            self.judged += 1;
            if !(0..seeds).filter(whole).any(|seed| has(seed, *topic, fact)) {
                gone.push(*topic);
                let held: Vec<_> = (0..seeds).map(|seed| holds(seed, *topic)).collect();
                let text = format_args!(
                    "topic {topic}, {fact:?}, acknowledged by a majority, is held as {held:?}; \
                     seeds that lost nothing: {:?}",
                    self.whole
                );
                verdicts.report(RULE, now, fact.host, text);
            }
        }
        // Each loss is reported once.
        self.facts.retain(|topic, _| !gone.contains(topic));
    }

    /// How often a fact was looked for.
    pub fn judged(&self) -> u64 {
        self.judged
    }
}

/// In the end, a seed names (`named`) or does not name a live peer as a subscriber, which it has
/// long been.
pub fn subscription(
    verdicts: &mut Verdicts,
    now: Instant,
    seed: u32,
    (peer, topic): (u32, u16),
    named: bool,
) {
    if !named {
        let text = format_args!("seed {seed} does not know that it subscribes to topic {topic}");
        verdicts.report(SUBSCRIPTION_RULE, now, peer, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACT: Fact = Fact { generation: 2, host: 9 };

    fn look(judge: &mut Kept, verdicts: &mut Verdicts, held: [Option<Holding>; 3]) -> u64 {
        judge.look(verdicts, Instant::ZERO, |_| true, |seed, _| held[seed as usize]);
        verdicts.total
    }

    fn held(generation: u64, deleted: bool) -> Option<Holding> {
        Some(Holding { generation, deleted })
    }

    #[test]
    fn fires_when_a_minority_takes_a_fact_along() {
        let mut verdicts = Verdicts::default();
        let mut judge = Kept::new(3, None);
        judge.acknowledged(0, FACT);
        judge.acknowledged(0, Fact { generation: 1, host: 4 });
        assert_eq!(look(&mut judge, &mut verdicts, [held(2, false), held(3, false), None]), 0);
        judge.seed_lost(0);
        assert_eq!(look(&mut judge, &mut verdicts, [None, held(2, false), None]), 0);
        assert_eq!(look(&mut judge, &mut verdicts, [None, held(2, true), None]), 1);
        assert!(verdicts.broke(RULE));
        assert_eq!(look(&mut judge, &mut verdicts, [None, None, None]), 1, "reported once");
        assert_eq!(judge.judged(), 3);
        subscription(&mut verdicts, Instant::ZERO, 1, (9, 0), true);
        assert_eq!(verdicts.total, 1);
        subscription(&mut verdicts, Instant::ZERO, 1, (9, 0), false);
        assert!(verdicts.broke(SUBSCRIPTION_RULE));
    }

    #[test]
    fn what_nobody_promised_is_not_missed() {
        let mut verdicts = Verdicts::default();
        let mut judge = Kept::new(3, None);
        judge.acknowledged(0, FACT);
        judge.forget(0);
        assert_eq!(look(&mut judge, &mut verdicts, [None, None, None]), 0, "being deleted");
        judge.acknowledged(0, FACT);
        assert!(!judge.seed_lost(0) && judge.seed_lost(1));
        assert_eq!(look(&mut judge, &mut verdicts, [None, None, None]), 0, "a majority was lost");
    }

    #[test]
    fn a_seed_that_knows_all_again_counts_again() {
        let mut verdicts = Verdicts::default();
        let mut judge = Kept::new(3, None);
        judge.acknowledged(0, FACT);
        judge.seed_lost(0);
        look(&mut judge, &mut verdicts, [held(2, false), held(2, false), None]);
        judge.seed_lost(1);
        assert_eq!(look(&mut judge, &mut verdicts, [held(2, false), None, None]), 0);
        judge.seed_lost(0);
        judge.acknowledged(1, FACT);
        assert_eq!(look(&mut judge, &mut verdicts, [None, None, held(2, false)]), 0);
    }
}
