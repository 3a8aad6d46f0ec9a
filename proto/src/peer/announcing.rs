//! What is to be announced to neighbours, and when.
//!
//! Each announcement is a frame, a record and a packet of its own: all that gathers for a link
//! within a few milliseconds goes together, and what the other end announces meanwhile itself is
//! left out. So the batches themselves go first, which is what a busy machine has to do first.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::id::{LinkId, Topic};
use crate::time::Instant;
use crate::wire::frame::{BatchName, NAMES_MAX};

/// An announcement gathers for this long (design §4.10). An eighth of the time after which an
/// announced batch is fetched at the earliest.
const GATHER: Duration = Duration::from_millis(5);

/// What is to be announced on one link, by topic.
pub(crate) type Names = BTreeMap<Topic, Vec<BatchName>>;

/// Announcements that wait, by link.
#[derive(Debug)]
pub(crate) struct Announcing {
    links: BTreeMap<LinkId, Waiting>,
    /// When the next may go.
    due: Instant,
}

#[derive(Debug)]
struct Waiting {
    names: Names,
    count: usize,
    until: Instant,
}

impl Waiting {
    /// As many as a frame takes wait no longer.
    fn due(&self) -> Instant {
        if self.count >= NAMES_MAX { Instant::ZERO } else { self.until }
    }
}

impl Default for Announcing {
    fn default() -> Self {
        Self { links: BTreeMap::new(), due: Instant::FAR_FUTURE }
    }
}

impl Announcing {
    /// A batch is to be announced to the neighbour at the other end of `link`.
    pub(crate) fn note(&mut self, now: Instant, link: LinkId, topic: &Topic, name: BatchName) {
        let fresh = || Waiting { names: Names::new(), count: 0, until: now + GATHER };
        let waiting = self.links.entry(link).or_insert_with(fresh);
        match waiting.names.get_mut(topic) {
            Some(names) => names.push(name),
            None => {
                waiting.names.insert(topic.clone(), vec![name]);
            }
        }
        waiting.count += 1;
        self.due = self.due.min(waiting.due());
    }

    /// The neighbour has the batch: it announced it itself.
    pub(crate) fn leave_out(&mut self, link: LinkId, topic: &Topic, name: BatchName) {
        let Some(waiting) = self.links.get_mut(&link) else { return };
        let Some(names) = waiting.names.get_mut(topic) else { return };
        let Some(at) = names.iter().position(|waits| *waits == name) else { return };
        names.swap_remove(at);
        waiting.count -= 1;
        if waiting.count == 0 {
            self.links.remove(&link);
        }
    }

    /// What goes out now on one link.
    pub(crate) fn take(&mut self, now: Instant) -> Option<(LinkId, Names)> {
        if now < self.due {
            return None;
        }
        let due = self.links.iter().find(|(_, waiting)| waiting.due() <= now);
        if let Some((&link, _)) = due {
            let waiting = self.links.remove(&link)?;
            return Some((link, waiting.names));
        }
        let due = self.links.values().map(Waiting::due).min();
        self.due = due.unwrap_or(Instant::FAR_FUTURE);
        None
    }

    /// When the next announcements may go; `None` when none wait.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        (self.due != Instant::FAR_FUTURE).then_some(self.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(first_seq: u64) -> BatchName {
        BatchName { origin: 1, first_seq }
    }

    fn take(announcing: &mut Announcing, now: Instant) -> Vec<(u64, usize)> {
        let all = core::iter::from_fn(|| announcing.take(now));
        all.map(|(link, names)| (link.0, names.values().map(Vec::len).sum())).collect()
    }

    #[test]
    fn what_gathers_for_a_link_goes_together() {
        let (mut announcing, topic) = (Announcing::default(), Topic::overlay());
        let at = Instant::from_millis;
        assert_eq!(announcing.next_deadline(), None);
        announcing.note(at(0), LinkId(1), &topic, name(1));
        announcing.note(at(1), LinkId(2), &topic, name(1));
        announcing.note(at(4), LinkId(1), &Topic::new("t").expect("legal"), name(1));
        assert_eq!(announcing.next_deadline(), Some(at(5)));
        assert_eq!(take(&mut announcing, at(4)), []);
        assert_eq!(take(&mut announcing, at(5)), [(1, 2)], "of all topics together");
        assert_eq!(announcing.next_deadline(), Some(at(6)));
        assert_eq!(take(&mut announcing, at(6)), [(2, 1)]);
        announcing.note(at(6), LinkId(1), &topic, name(2));
        assert_eq!(announcing.next_deadline(), Some(at(11)));
    }

    #[test]
    fn what_the_other_end_announces_is_left_out() {
        let (mut announcing, topic) = (Announcing::default(), Topic::overlay());
        let at = Instant::from_millis;
        announcing.note(at(0), LinkId(1), &topic, name(1));
        announcing.note(at(0), LinkId(1), &topic, name(2));
        announcing.note(at(0), LinkId(2), &topic, name(1));
        announcing.leave_out(LinkId(1), &topic, name(1));
        announcing.leave_out(LinkId(1), &topic, name(9));
        announcing.leave_out(LinkId(2), &topic, name(1));
        assert_eq!(take(&mut announcing, at(5)), [(1, 1)]);
        assert_eq!(announcing.next_deadline(), None);
    }

    #[test]
    fn a_full_frame_does_not_wait() {
        let (mut announcing, topic) = (Announcing::default(), Topic::overlay());
        let now = Instant::from_millis(1_000);
        let mut note = |n| announcing.note(now, LinkId(1), &topic, name(n));
        (1..NAMES_MAX as u64).for_each(&mut note);
        assert_eq!(take(&mut announcing, now), []);
        announcing.note(now, LinkId(1), &topic, name(0));
        assert_eq!(take(&mut announcing, now), [(1, NAMES_MAX)]);
    }
}
