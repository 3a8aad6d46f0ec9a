//! How many neighbours a topic looks for.
//!
//! A link counts at both ends. If every newcomer dialled as many neighbours as it is to have, it
//! would end up with twice as many, and all traffic with it. So a newcomer dials half of them,
//! and the others find it; later it dials only when it has too few, or has lost some.

use core::time::Duration;

use crate::time::Instant;

/// A newcomer is found by others within this: dials and handshakes of as many rounds as a crowd
/// that starts at once needs. Guess.
const SETTLING: Duration = Duration::from_secs(3);

/// What a topic looks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Degree {
    entered: Instant,
    /// A link was lost and not yet replaced.
    refill: bool,
    /// Neighbours wanted beyond what is enough.
    extra: usize,
}

impl Degree {
    /// A topic that was entered now.
    pub(crate) fn new(now: Instant) -> Self {
        Self { entered: now, refill: false, extra: 0 }
    }

    /// A link is gone.
    pub(crate) fn lost(&mut self) {
        self.refill = true;
    }

    /// Those that are there may not be enough: so many more are wanted.
    pub(crate) fn seek(&mut self, extra: usize) {
        self.extra = extra;
    }

    /// One was added: there are so many links now.
    pub(crate) fn has(&mut self, links: usize, target: usize) {
        self.extra = self.extra.saturating_sub(1);
        self.refill &= links < target;
    }

    /// How many more to dial, of `links` that are there, `outbound` of them dialled from here.
    pub(crate) fn lacks(
        &self,
        now: Instant,
        links: usize,
        outbound: usize,
        target: usize,
    ) -> usize {
        let missing = target.saturating_sub(links);
        let lacking = if self.refill {
            missing
        } else if now.since(self.entered) < SETTLING {
            // At least half are of this node's choice: neighbours that choose it may be liars
            // (design §3.3).
            missing.min(target.div_ceil(2).saturating_sub(outbound))
        } else {
            at_least(target).saturating_sub(links)
        };
        lacking.max(self.extra)
    }
}

/// With fewer links than this a topic dials (design §3.3: 6 for 8).
fn at_least(target: usize) -> usize {
    target - target / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomer_dials_half_then_fills_up_what_is_too_little() {
        let degree = Degree::new(Instant::ZERO);
        let (early, late) = (Instant::from_millis(2_999), Instant::from_millis(3_000));
        let lacks = |now, links, outbound| degree.lacks(now, links, outbound, 8);
        assert_eq!([lacks(early, 0, 0), lacks(early, 3, 3), lacks(early, 4, 4)], [4, 1, 0]);
        assert_eq!([lacks(early, 7, 0), lacks(early, 9, 0)], [1, 0], "the others found it");
        assert_eq!([lacks(late, 4, 4), lacks(late, 6, 4), lacks(late, 0, 0)], [2, 0, 6]);
    }

    #[test]
    fn what_is_lost_is_replaced_at_once() {
        let mut degree = Degree::new(Instant::ZERO);
        let late = Instant::from_millis(10_000);
        degree.lost();
        degree.has(7, 8);
        assert_eq!(degree.lacks(late, 7, 0, 8), 1);
        degree.has(8, 8);
        assert_eq!(degree.lacks(late, 7, 0, 8), 0);
    }

    #[test]
    fn more_are_wanted_where_what_is_there_may_not_be_enough() {
        let mut degree = Degree::new(Instant::ZERO);
        let late = Instant::from_millis(10_000);
        degree.seek(2);
        assert_eq!(degree.lacks(late, 9, 4, 8), 2);
        degree.has(10, 8);
        assert_eq!(degree.lacks(late, 10, 5, 8), 1);
        degree.has(11, 8);
        assert_eq!(degree.lacks(late, 11, 6, 8), 0);
    }

    #[test]
    fn small_targets_are_met() {
        let degree = Degree::new(Instant::ZERO);
        assert_eq!([1, 2, 3, 4].map(at_least), [1, 2, 3, 3]);
        assert_eq!(degree.lacks(Instant::ZERO, 0, 0, 1), 1);
    }
}
