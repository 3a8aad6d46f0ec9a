//! How long a seed may take before another one is asked beside it.
//!
//! "The Tail at Scale" (Dean and Barroso, CACM 56:2, 2013): a second question after the 95th
//! percentile of the expected time costs a twentieth more questions, and removes the tail.

use std::collections::VecDeque;

use core::time::Duration;

/// Answers that are remembered: enough to know a 95th percentile, few enough to forget a bad hour.
const REMEMBERED: usize = 64;
/// With fewer answers than these nothing is known.
const KNOWN: usize = 8;
/// The delay while nothing is known. Guess: one round trip around the world.
const UNKNOWN: Duration = Duration::from_millis(250);
/// Not less, since seeds wait for their disks and a busy machine stalls for as long.
const DELAY_MIN: Duration = Duration::from_millis(50);
/// Not more: whatever is usual, a second is long for a person.
const DELAY_MAX: Duration = Duration::from_millis(400);

/// How long seeds took to answer.
#[derive(Debug, Default)]
pub(crate) struct RoundTrips {
    recent: VecDeque<Duration>,
    delay: Option<Duration>,
}

impl RoundTrips {
    /// A seed took so long to answer.
    pub(crate) fn answered(&mut self, took: Duration) {
        if self.recent.len() >= REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(took);
        if self.recent.len() >= KNOWN {
            let mut sorted: Vec<Duration> = self.recent.iter().copied().collect();
            sorted.sort_unstable();
            let p95 = sorted[sorted.len() * 95 / 100];
            self.delay = Some(p95.clamp(DELAY_MIN, DELAY_MAX));
        }
    }

    /// After so long another seed is asked too.
    pub(crate) fn delay(&self) -> Duration {
        self.delay.unwrap_or(UNKNOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_is_the_95th_percentile_within_bounds() {
        let mut trips = RoundTrips::default();
        assert_eq!(trips.delay(), UNKNOWN);
        (0..KNOWN).for_each(|_| trips.answered(Duration::from_millis(2)));
        assert_eq!(trips.delay(), DELAY_MIN);
        (0..REMEMBERED as u64).for_each(|n| trips.answered(Duration::from_millis(100 + n)));
        assert_eq!(trips.delay(), Duration::from_millis(160));
        (0..REMEMBERED).for_each(|_| trips.answered(Duration::from_secs(2)));
        assert_eq!(trips.delay(), DELAY_MAX);
        (0..REMEMBERED).for_each(|_| trips.answered(Duration::from_millis(70)));
        assert_eq!(trips.delay(), Duration::from_millis(70), "a bad hour is forgotten");
    }
}
