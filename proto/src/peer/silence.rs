//! Whether a link is silent for longer than it is used to.
//!
//! Three missed replies take seconds. Until then a dead parent holds up each batch of its trees
//! for as long as its children wait before they graft. Where there is traffic it can be told
//! sooner: not well enough to accuse anybody, but well enough to wait no longer for that link.

use core::time::Duration;

use crate::time::Instant;

/// A silence that is shorter may be one packet that is sent again: a retransmission takes 200 ms
/// and a round trip (RFC 9293's minimum as Linux has it).
pub(crate) const STALL_MAX: Duration = Duration::from_millis(300);
/// How long a silence is remembered, at least; at most twice as long.
const WINDOW: Duration = Duration::from_secs(5);

/// The longest silences of a link lately.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silence {
    heard_at: Instant,
    began: Instant,
    longest: Duration,
    before: Duration,
}

impl Silence {
    /// A link that was just heard for the first time: no silence of it is unusual for a while.
    pub(crate) fn new(now: Instant) -> Self {
        Self { heard_at: now, began: now, longest: Duration::ZERO, before: Duration::MAX }
    }

    /// A frame came.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.longest = self.longest.max(now.since(self.heard_at));
        self.heard_at = now;
        if now.since(self.began) >= WINDOW {
            self.before = core::mem::take(&mut self.longest);
            self.began = now;
        }
    }

    /// Whether the link has been silent for longer than ever lately, and than a packet that is
    /// sent again explains.
    pub(crate) fn is_unusual(&self, now: Instant) -> bool {
        now.since(self.heard_at) > self.longest.max(self.before).max(STALL_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// A link that is heard each `every_ms`.
    fn heard_until(until_ms: u64, every_ms: usize) -> Silence {
        let mut silence = Silence::new(at(0));
        (0..=until_ms).step_by(every_ms).for_each(|ms| silence.heard(at(ms)));
        silence
    }

    #[test]
    fn with_traffic_a_longer_silence_is_unusual() {
        let silence = heard_until(20_000, 60);
        assert!(!silence.is_unusual(at(20_250)));
        assert!(silence.is_unusual(at(20_350)));
    }

    #[test]
    fn a_link_that_is_seldom_heard_may_be_silent() {
        let silence = heard_until(20_000, 1_000);
        assert!(!silence.is_unusual(at(21_000)));
        assert!(silence.is_unusual(at(21_001)));
    }

    #[test]
    fn a_pause_among_traffic_is_remembered_and_forgotten() {
        let mut silence = heard_until(6_000, 50);
        silence.heard(at(7_000));
        (7_000..=14_000).step_by(50).for_each(|ms| silence.heard(at(ms)));
        assert!(!silence.is_unusual(at(14_900)), "another was as long");
        (14_000..=30_000).step_by(50).for_each(|ms| silence.heard(at(ms)));
        assert!(silence.is_unusual(at(30_900)));
    }

    #[test]
    fn nothing_is_known_of_a_new_link() {
        assert!(!heard_until(4_000, 50).is_unusual(at(9_000)));
        assert!(heard_until(11_000, 50).is_unusual(at(11_400)));
    }
}
