//! Whose word a peer takes for a batch: its origin's, or also that of the neighbour that pushes it.
//!
//! Under [`Verify::Links`] a share of what is pushed is checked before anything else is done with
//! it, and the rest is passed on and delivered unchecked. What a forgery causes is bounded:
//! whoever finds one neither passes it on nor delivers it, closes the link and says why. Both ends
//! check everything for [`ALARM`] from then on, also what others ask them for: so an honest
//! neighbour that was deceived sends no second one, and each peer on the way to the forger finds
//! the next one.

use core::time::Duration;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::config::{GossipConfig, Verify};
use crate::time::Instant;

/// After a forgery everything is checked for this long: as long as a batch is retained by default,
/// so that none which was taken unchecked is passed on when this ends.
const ALARM: Duration = Duration::from_secs(600);

/// Whether a batch is to be checked.
#[derive(Debug)]
pub(crate) struct Trust {
    config: GossipConfig,
    alarmed_until: Instant,
}

impl Trust {
    /// Nothing has happened yet.
    pub(crate) fn new(config: GossipConfig) -> Self {
        Self { config, alarmed_until: Instant::ZERO }
    }

    /// Whether a batch that a neighbour pushes is taken on its word.
    pub(crate) fn takes(&self, now: Instant, rng: &mut ChaCha8Rng) -> bool {
        self.config.verify == Verify::Links
            && !self.is_alarmed(now)
            && rng.random_range(0..100) >= self.config.verify_share
    }

    /// A forgery was found, here or at a neighbour that got it from here.
    pub(crate) fn alarm(&mut self, now: Instant) {
        if self.config.verify == Verify::Links {
            self.alarmed_until = now + ALARM;
        }
    }

    /// Whether what was taken unchecked may be forged.
    pub(crate) fn is_alarmed(&self, now: Instant) -> bool {
        now < self.alarmed_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    fn taken(trust: &Trust, now: Instant) -> usize {
        let mut rng = ChaCha8Rng::from_seed([1; 32]);
        (0..10_000).filter(|_| trust.takes(now, &mut rng)).count()
    }

    #[test]
    fn all_is_checked_unless_links_are_trusted() {
        let mut every = Trust::new(GossipConfig::default());
        assert_eq!(taken(&every, Instant::ZERO), 0);
        every.alarm(Instant::ZERO);
        assert!(!every.is_alarmed(Instant::ZERO), "there is nothing unchecked");
    }

    #[test]
    fn a_share_of_what_links_bring_is_checked() {
        let share = |verify_share| Trust::new(GossipConfig { verify: Verify::Links, verify_share });
        assert_eq!(taken(&share(0), Instant::ZERO), 10_000);
        assert_eq!(taken(&share(100), Instant::ZERO), 0);
        assert!((9_400..9_600).contains(&taken(&share(5), Instant::ZERO)));
    }

    #[test]
    fn after_a_forgery_all_is_checked_for_a_while() {
        let mut trust = Trust::new(GossipConfig { verify: Verify::Links, verify_share: 0 });
        let now = Instant::from_millis(7);
        trust.alarm(now);
        assert_eq!(taken(&trust, now), 0);
        assert!(trust.is_alarmed(now + (ALARM - Duration::from_millis(1))));
        assert_eq!(taken(&trust, now + ALARM), 10_000);
    }
}
