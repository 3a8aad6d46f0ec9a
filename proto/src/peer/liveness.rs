//! Three missed replies: when a silent link becomes suspect.
//!
//! A link that was silent for an interval is pinged, and again after each further silent
//! interval. Any frame is a reply. Detection of a silent death takes between `misses` and
//! `misses + 1` intervals; a link with traffic is never pinged.

use core::time::Duration;

use crate::config::LivenessConfig;
use crate::time::Instant;

/// The first ping may go out early by this part of an interval: half of the time between two
/// looks, so that on average it is in time.
const SLACK_PART: u32 = 8;

/// What is known of the silence of one link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Liveness {
    heard_at: Instant,
    pinged_at: Option<Instant>,
    missed: u32,
}

/// What to do about a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Quiet,
    /// Send a ping.
    Ping,
    /// The last ping allowed went unanswered.
    Suspect,
}

impl Liveness {
    /// A link that was just heard.
    pub(crate) fn new(now: Instant) -> Self {
        Self { heard_at: now, pinged_at: None, missed: 0 }
    }

    /// When the last frame came.
    pub(crate) fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// A frame came. Returns whether a ping was waiting for it.
    pub(crate) fn heard(&mut self, now: Instant) -> bool {
        let answered = self.pinged_at.is_some();
        *self = Self::new(now);
        answered
    }

    /// To be asked a few times per interval.
    pub(crate) fn poll(&mut self, now: Instant, config: &LivenessConfig) -> Verdict {
        let Some(pinged_at) = self.pinged_at else {
            // Asked a few times per interval: whichever of them is nearest to its end.
            if now.since(self.heard_at) + config.interval / SLACK_PART < config.interval {
                return Verdict::Quiet;
            }
            self.pinged_at = Some(now);
            return Verdict::Ping;
        };
        if now.since(pinged_at) < config.interval {
            return Verdict::Quiet;
        }
        self.missed += 1;
        self.pinged_at = Some(now);
        if self.missed >= config.misses { Verdict::Suspect } else { Verdict::Ping }
    }

    /// This node itself was late by `lateness`: what it did not hear meanwhile accuses nobody
    /// (Lifeguard, arXiv 1707.00788, in its simplest form).
    pub(crate) fn excuse(&mut self, lateness: Duration) {
        self.heard_at = self.heard_at + lateness;
        self.pinged_at = self.pinged_at.map(|at| at + lateness);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: LivenessConfig = LivenessConfig { interval: Duration::from_secs(1), misses: 3 };

    fn silence(liveness: &mut Liveness, from_ms: u64, to_ms: u64) -> Vec<(u64, Verdict)> {
        (from_ms..=to_ms)
            .step_by(250)
            .map(|ms| (ms, liveness.poll(Instant::from_millis(ms), &CONFIG)))
            .filter(|(_, verdict)| *verdict != Verdict::Quiet)
            .collect()
    }

    #[test]
    fn the_third_missed_reply_makes_suspect() {
        let mut liveness = Liveness::new(Instant::ZERO);
        let expected = [
            (1000, Verdict::Ping),
            (2000, Verdict::Ping),
            (3000, Verdict::Ping),
            (4000, Verdict::Suspect),
        ];
        assert_eq!(silence(&mut liveness, 0, 4000), expected);
    }

    #[test]
    fn any_frame_is_a_reply() {
        let mut liveness = Liveness::new(Instant::ZERO);
        silence(&mut liveness, 0, 3750);
        assert!(liveness.heard(Instant::from_millis(3800)));
        assert!(!liveness.heard(Instant::from_millis(3801)));
        assert_eq!(silence(&mut liveness, 4000, 4500), []);
    }

    #[test]
    fn a_stalled_node_accuses_nobody() {
        let mut liveness = Liveness::new(Instant::ZERO);
        silence(&mut liveness, 0, 3000);
        liveness.excuse(Duration::from_secs(60));
        assert_eq!(liveness.poll(Instant::from_millis(63_500), &CONFIG), Verdict::Quiet);
    }
}
