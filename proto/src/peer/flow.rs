//! Whether the next batches of a stream are on their way.
//!
//! A link carries what is pushed on it in order. Under load batches queue on the links of their
//! tree and their announcements overtake them on others: as long as the link that pushes a stream
//! makes progress in it, what comes later in the stream is behind, not lost. To fetch it elsewhere
//! would put the same load on further links.

use core::time::Duration;

use crate::id::LinkId;
use crate::time::Instant;

/// A link that pushed nothing of the stream for so long makes no progress: the time after which an
/// announced batch is fetched at the latest, twice.
const PROGRESS: Duration = Duration::from_millis(300);
/// The same where many batches are late. Measured with 64 peers on a fifth of the processor time
/// that they wanted, which then pushed a few times a second.
const PROGRESS_IN_A_CROWD: Duration = Duration::from_secs(1);
/// What was announced longer ago is fetched though there is progress: a tenth of the time after
/// which a hole is given up.
const PATIENCE: Duration = Duration::from_secs(3);

/// A change of parents that is followed by another one soon did not help: on links that are all
/// full, or all idle, who is first says little, and each change costs what the old parent has
/// queued, or a hole. So the next change waits, twice as long each time, from the first value to
/// the second (as routers damp routes that flap, RFC 2439). Guesses: two batches of a stream that
/// publishes 20 times a second, and what a tree that does not settle may be slower by for a while.
const CHANGE_GAP_MIN: Duration = Duration::from_millis(125);
const CHANGE_GAP_MAX: Duration = Duration::from_secs(8);

/// How far a stream was pushed here, by the two links that pushed last: when a parent is changed,
/// what the old one had queued still comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    last: Option<Push>,
    before: Option<Push>,
    /// When a faster link became the parent, and how long the next one waits.
    changed: Option<(Instant, Duration)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Push {
    link: LinkId,
    at: Instant,
    seq: u64,
}

impl Flow {
    /// A link pushed a new batch that ends with this number.
    pub(crate) fn pushed(&mut self, now: Instant, link: LinkId, seq: u64) {
        if self.last.is_some_and(|last| last.link != link) {
            self.before = self.last;
        }
        self.last = Some(Push { link, at: now, seq });
    }

    /// Whether the stream is being pushed here.
    pub(crate) fn is_active(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now.since(last.at) < PROGRESS_IN_A_CROWD)
    }

    /// Whether a faster link may become the parent.
    pub(crate) fn may_change(&self, now: Instant) -> bool {
        self.changed.is_none_or(|(at, gap)| now.since(at) >= gap)
    }

    /// A faster link becomes the parent.
    pub(crate) fn change(&mut self, now: Instant) {
        let gap = match self.changed {
            Some((at, gap)) if now.since(at) < gap * 2 => (gap * 2).min(CHANGE_GAP_MAX),
            _ => CHANGE_GAP_MIN,
        };
        self.changed = Some((now, gap));
    }

    /// Whether the batch that begins with `first_seq`, announced at `since`, is behind what one of
    /// these links pushes.
    pub(crate) fn brings(
        &self,
        now: Instant,
        (first_seq, since): (u64, Instant),
        pace: impl Fn(LinkId) -> Pace,
    ) -> bool {
        let is_before = |push: &Push| {
            let makes_progress = match pace(push.link) {
                Pace::Out => false,
                Pace::Usual => now.since(push.at) < PROGRESS,
                Pace::Crowded => now.since(push.at) < PROGRESS_IN_A_CROWD,
            };
            makes_progress && push.seq < first_seq
        };
        now.since(since) < PATIENCE && self.last.iter().chain(&self.before).any(is_before)
    }
}

/// How a link carries a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// It will not push the batch: it is closed, or has announced it.
    Out,
    /// What it pushes comes soon, or not at all.
    Usual,
    /// Many batches of the stream are late, and the link is no more silent than it was lately: both
    /// ends, or what is between them, have more to do than they can.
    Crowded,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: LinkId = LinkId(1);
    const NEXT: LinkId = LinkId(2);

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn only(which: LinkId) -> impl Fn(LinkId) -> Pace {
        move |link| if link == which { Pace::Usual } else { Pace::Out }
    }

    #[test]
    fn what_comes_later_in_a_stream_that_makes_progress_is_behind() {
        let mut flow = Flow::default();
        assert!(!flow.brings(at(0), (1, at(0)), |_| Pace::Usual), "nothing was pushed");
        flow.pushed(at(0), PARENT, 10);
        assert!(flow.brings(at(100), (11, at(50)), |_| Pace::Usual));
        assert!(!flow.brings(at(100), (11, at(50)), only(NEXT)), "not on that link");
        assert!(!flow.brings(at(100), (10, at(50)), |_| Pace::Usual), "passed over");
        assert!(!flow.brings(at(300), (11, at(50)), |_| Pace::Usual), "no progress");
    }

    #[test]
    fn what_the_old_parent_had_queued_is_behind_too() {
        let mut flow = Flow::default();
        flow.pushed(at(0), PARENT, 10);
        flow.pushed(at(10), NEXT, 20);
        assert!(flow.brings(at(100), (11, at(5)), |_| Pace::Usual), "the new one passed it over");
        flow.pushed(at(20), NEXT, 30);
        assert!(flow.brings(at(100), (11, at(5)), |_| Pace::Usual));
        assert!(!flow.brings(at(300), (11, at(5)), |_| Pace::Usual), "the old one pushes no more");
        flow.pushed(at(310), PARENT, 11);
        assert!(flow.brings(at(400), (12, at(5)), only(PARENT)));
        assert!(flow.brings(at(310), (31, at(5)), only(NEXT)), "both are remembered");
    }

    #[test]
    fn in_a_crowd_a_link_may_pause() {
        let mut flow = Flow::default();
        flow.pushed(at(0), PARENT, 10);
        assert!(flow.brings(at(900), (11, at(50)), |_| Pace::Crowded));
        assert!(!flow.brings(at(900), (10, at(50)), |_| Pace::Crowded), "passed over");
        assert!(!flow.brings(at(1_000), (11, at(50)), |_| Pace::Crowded), "for too long");
    }

    #[test]
    fn parents_that_are_changed_again_and_again_are_changed_ever_less() {
        let mut flow = Flow::default();
        let mut changes = Vec::new();
        for ms in 0..40_000 {
            if flow.may_change(at(ms)) {
                flow.change(at(ms));
                changes.push(ms);
            }
        }
        let expected = [0, 125, 375, 875, 1_875, 3_875, 7_875, 15_875, 23_875, 31_875, 39_875];
        assert_eq!(changes, expected);
        flow.change(at(60_000));
        assert!(flow.may_change(at(60_125)), "after a long time with one parent");
    }

    #[test]
    fn patience_ends() {
        let mut flow = Flow::default();
        flow.pushed(at(3_000), PARENT, 10);
        assert!(flow.brings(at(3_000), (20, at(1)), |_| Pace::Usual));
        assert!(!flow.brings(at(3_000), (20, at(0)), |_| Pace::Usual));
    }
}
