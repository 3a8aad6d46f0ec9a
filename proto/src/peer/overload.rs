//! What to do about a link whose queue is full: its trees first, then the link.

use core::time::Duration;

use crate::machine::Class;
use crate::time::Instant;

/// A link on which nothing was shed for this long has recovered: its neighbour is told what it
/// may have missed. Guess: longer than a burst, shorter than anybody's patience.
const RECOVERED_AFTER: Duration = Duration::from_secs(1);
/// A link that sheds announcements for this long without recovering is of no use. Guess: two
/// comparisons of heads, which are what still reaches its neighbour, and are not enough.
const CLOSED_AFTER: Duration = Duration::from_secs(10);

/// What follows from frames being shed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Batches were shed: announce them instead, from now on.
    Lazy,
    /// Something else was shed: nothing for now.
    Bear,
    /// Even announcements have been shed for too long.
    Close,
}

/// How a link's queue has been doing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Overload {
    /// When something was shed last, until the neighbour is told.
    last: Option<Instant>,
    /// Announcements are shed since then.
    announces_since: Option<Instant>,
    announces_last: Instant,
}

impl Overload {
    /// Frames of a class were shed.
    pub(crate) fn shed(&mut self, now: Instant, class: Class) -> Step {
        self.last = Some(now);
        match class {
            Class::Own | Class::Forward => Step::Lazy,
            Class::Control | Class::Repair => Step::Bear,
            Class::Announce => {
                let goes_on = now.since(self.announces_last) < RECOVERED_AFTER;
                let since = self.announces_since.filter(|_| goes_on).unwrap_or(now);
                self.announces_since = Some(since);
                self.announces_last = now;
                if now.since(since) >= CLOSED_AFTER { Step::Close } else { Step::Bear }
            }
        }
    }

    /// Whether the queue has had room again for a while. True once after each time of shedding.
    pub(crate) fn has_recovered(&mut self, now: Instant) -> bool {
        let recovered = self.last.is_some_and(|last| now.since(last) >= RECOVERED_AFTER);
        if recovered {
            *self = Self::default();
        }
        recovered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_make_links_lazy_and_announcements_close_them_in_the_end() {
        let mut overload = Overload::default();
        let at = Instant::from_millis;
        assert_eq!(overload.shed(at(0), Class::Forward), Step::Lazy);
        assert_eq!(overload.shed(at(1), Class::Own), Step::Lazy);
        assert_eq!(overload.shed(at(2), Class::Repair), Step::Bear);
        for n in 0..20 {
            assert_eq!(overload.shed(at(1_000 + 500 * n), Class::Announce), Step::Bear, "{n}");
        }
        assert_eq!(overload.shed(at(11_000), Class::Announce), Step::Close);
    }

    #[test]
    fn announcements_shed_now_and_then_close_nothing() {
        let mut overload = Overload::default();
        for n in 0..100 {
            let now = Instant::from_millis(1_500 * n);
            assert_eq!(overload.shed(now, Class::Announce), Step::Bear);
        }
    }

    #[test]
    fn a_link_recovers_once_nothing_was_shed_for_a_second() {
        let mut overload = Overload::default();
        let at = Instant::from_millis;
        assert!(!overload.has_recovered(at(5_000)));
        overload.shed(at(5_000), Class::Forward);
        assert!(!overload.has_recovered(at(5_999)));
        overload.shed(at(5_999), Class::Announce);
        assert!(!overload.has_recovered(at(6_998)));
        assert!(overload.has_recovered(at(6_999)));
        assert!(!overload.has_recovered(at(9_000)));
    }
}
