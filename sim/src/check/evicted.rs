//! Deaths: a crashed peer is declared dead soon, and nobody who lives is.

use std::collections::BTreeMap;
use std::time::Duration;

use tidings_proto::Instant;

use super::Verdicts;

/// The rule that the crashed are declared dead in time.
pub const LATE: &str = "death late";
/// The rule that the living are not.
pub const EVICTED: &str = "eviction";

/// When peers crashed, and when seeds said so.
#[derive(Debug, Default)]
pub struct Deaths {
    crashed: BTreeMap<u32, Instant>,
    took: Vec<Duration>,
    evicted: Vec<(Instant, u32)>,
}

impl Deaths {
    /// A peer crashed.
    pub fn crashed(&mut self, now: Instant, peer: u32) {
        self.crashed.insert(peer, now);
    }

    /// A peer begins another life. The end of the last one is told by its return, if it was not
    /// before.
    pub fn began(&mut self, peer: u32) {
        self.crashed.remove(&peer);
    }

    /// The first seed declared the present life of a peer dead.
    pub fn declared(&mut self, now: Instant, peer: u32) {
        match self.crashed.remove(&peer) {
            Some(at) => self.took.push(now.since(at)),
            None => self.evicted.push((now, peer)),
        }
    }

    /// How many were declared dead that lived.
    pub fn evicted(&self) -> u64 {
        self.evicted.len() as u64
    }

    /// How long 99% of the verdicts on the crashed took at most.
    pub fn p99(&self) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        took.get((took.len() * 99 / 100).min(took.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }

    /// Judges a run in which the crashed must be declared dead within `within`, the slowest in a
    /// hundred aside, and of the living `evicted_max` at most.
    pub fn judge(
        &self,
        verdicts: &mut Verdicts,
        now: Instant,
        within: Option<Duration>,
        evicted_max: Option<u64>,
    ) {
        let p99 = self.p99();
        if within.is_some_and(|within| p99 > within) {
            let text = format_args!("{} deaths took {p99:?} at p99", self.took.len());
            verdicts.report(LATE, now, 0, text);
        }
        if evicted_max.is_some_and(|max| self.evicted() > max)
            && let Some(&(at, peer)) = self.evicted.first()
        {
            let text = format_args!("{} living peers were declared dead", self.evicted.len());
            verdicts.report(EVICTED, at, peer, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(deaths: &Deaths) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let within = Some(Duration::from_secs(6));
        deaths.judge(&mut verdicts, Instant::from_millis(99_000), within, Some(0));
        verdicts
    }

    #[test]
    fn fires_when_a_death_is_noticed_late() {
        let (at, mut deaths) = (Instant::from_millis, Deaths::default());
        deaths.crashed(at(1_000), 7);
        deaths.declared(at(6_900), 7);
        deaths.crashed(at(1_000), 8);
        deaths.began(8);
        assert_eq!(judge(&deaths).total, 0, "one that was back is not late");
        deaths.crashed(at(10_000), 7);
        deaths.declared(at(16_100), 7);
        assert!(judge(&deaths).broke(LATE));
    }

    #[test]
    fn fires_when_a_living_peer_is_declared_dead() {
        let (at, mut deaths) = (Instant::from_millis, Deaths::default());
        deaths.crashed(at(1_000), 7);
        deaths.began(7);
        deaths.declared(at(2_000), 7);
        assert!(judge(&deaths).broke(EVICTED));
        assert_eq!(deaths.evicted(), 1);
    }
}
