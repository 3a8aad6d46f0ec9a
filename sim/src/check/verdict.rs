//! S5: nobody is declared dead that has just answered a majority of the seeds.
//!
//! A vote says that the accused was silent towards its voter for the time of a probe. Where a
//! majority heard it within the time of one probe before the verdict, too few can have found it
//! silent in that time: some vote was stale.

use std::collections::BTreeMap;
use std::time::Duration;

use tidings_proto::Instant;
use tidings_proto::config::quorum;

use super::Verdicts;

/// The rule's name.
pub const RULE: &str = "S5 verdict";

/// Who was heard by which seed, and when.
#[derive(Debug)]
pub struct Certificates {
    seeds: usize,
    window: Duration,
    news: Duration,
    /// By peer: when each seed was last given a frame of its present life.
    heard: BTreeMap<u32, Vec<Option<Instant>>>,
    /// The present life of each peer.
    lives: BTreeMap<u32, u64>,
    /// The lives that were declared dead: the first seed to say so is judged, the others are told.
    declared: BTreeMap<u32, u64>,
    judged: u64,
}

impl Certificates {
    /// Nobody has been heard. A peer answers within `window`, the time of a probe; what a seed
    /// heard less than `news` ago no other seed can know.
    pub fn new(seeds: u32, window: Duration, news: Duration) -> Self {
        Self {
            seeds: seeds as usize,
            window,
            news,
            heard: BTreeMap::new(),
            lives: BTreeMap::new(),
            declared: BTreeMap::new(),
            judged: 0,
        }
    }

    /// A seed was given a frame of a peer.
    pub fn heard(&mut self, now: Instant, seed: u32, peer: u32) {
        let seeds = self.seeds;
        let row = self.heard.entry(peer).or_insert_with(|| vec![None; seeds]);
        if let Some(at) = row.get_mut(seed as usize) {
            *at = Some(now);
        }
    }

    /// A peer begins another life: what was heard before proves nothing of it.
    pub fn began(&mut self, peer: u32, incarnation: u64) {
        self.heard.remove(&peer);
        self.lives.insert(peer, incarnation);
    }

    /// A seed lost its memory.
    pub fn seed_lost(&mut self, seed: u32) {
        for row in self.heard.values_mut() {
            if let Some(at) = row.get_mut(seed as usize) {
                *at = None;
            }
        }
    }

    /// A seed declared the life `incarnation` of a peer dead. Returns whether it is the first to
    /// say so of the present life.
    pub fn declared(
        &mut self,
        verdicts: &mut Verdicts,
        now: Instant,
        seed: u32,
        (peer, incarnation): (u32, u64),
    ) -> bool {
        let last = self.declared.entry(peer).or_insert(0);
        let over = self.lives.get(&peer).is_some_and(|life| *life > incarnation);
        if *last >= incarnation || over {
            return false;
        }
        *last = incarnation;
        self.judged += 1;
        let row = self.heard.get(&peer).map_or(&[][..], Vec::as_slice);
        let recent = |at: &&Option<Instant>| {
            at.is_some_and(|at| now.since(at) < self.window && now.since(at) >= self.news)
        };
        let answered = row.iter().filter(recent).count();
        if answered >= quorum(self.seeds) {
            let text = format_args!(
                "seed {seed} declares life {incarnation} dead, heard by {answered} of {} seeds in \
                 the last {:?}: {row:?}",
                self.seeds, self.window
            );
            verdicts.report(RULE, now, peer, text);
        }
        true
    }

    /// How many verdicts were judged.
    pub fn judged(&self) -> u64 {
        self.judged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_when_a_majority_has_just_heard_the_dead() {
        let at = Instant::from_millis;
        let mut verdicts = Verdicts::default();
        let millis = Duration::from_millis;
        let mut judge = Certificates::new(3, millis(2_000), millis(100));
        judge.heard(at(9_000), 0, 7);
        judge.heard(at(9_000), 1, 7);
        judge.declared(&mut verdicts, at(11_000), 2, (7, 1));
        assert_eq!(verdicts.total, 0, "too long ago");
        judge.heard(at(20_000), 0, 7);
        judge.declared(&mut verdicts, at(21_000), 2, (7, 2));
        assert_eq!(verdicts.total, 0, "a minority");
        judge.heard(at(30_000), 0, 7);
        judge.heard(at(31_950), 1, 7);
        judge.declared(&mut verdicts, at(31_990), 2, (7, 3));
        assert_eq!(verdicts.total, 0, "nobody else can know yet");
        judge.heard(at(40_000), 0, 7);
        judge.heard(at(40_000), 1, 7);
        judge.declared(&mut verdicts, at(41_000), 2, (7, 4));
        assert!(verdicts.broke(RULE));
        judge.declared(&mut verdicts, at(41_100), 0, (7, 4));
        assert_eq!((verdicts.total, judge.judged()), (1, 4), "the first seed is judged");
        judge.began(7, 6);
        judge.declared(&mut verdicts, at(41_200), 0, (7, 5));
        judge.heard(at(41_300), 0, 8);
        judge.heard(at(41_300), 1, 8);
        judge.seed_lost(1);
        judge.declared(&mut verdicts, at(41_900), 0, (8, 5));
        assert_eq!(verdicts.total, 1);
    }
}
