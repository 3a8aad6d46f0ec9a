//! What is to be announced to neighbours, and when.
//!
//! An announcement goes out at once on a link that had none for a while, and together with all
//! that gathers meanwhile on a link that had one just now. Each is a frame, a record and a packet
//! of its own: under load they would cost more than the batches that they announce.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::id::{LinkId, Topic};
use crate::time::Instant;
use crate::wire::frame::{BatchName, NAMES_MAX};

/// Between two announcements on a link (design §4.10). An eighth of the time after which an
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

#[derive(Debug, Default)]
struct Waiting {
    names: Names,
    count: usize,
    /// The link had an announcement lately: further ones gather until then.
    until: Instant,
}

impl Waiting {
    /// As many as a frame takes wait no longer.
    fn due(&self) -> Instant {
        match self.count {
            0 => Instant::FAR_FUTURE,
            NAMES_MAX.. => Instant::ZERO,
            _ => self.until,
        }
    }
}

impl Default for Announcing {
    fn default() -> Self {
        Self { links: BTreeMap::new(), due: Instant::FAR_FUTURE }
    }
}

impl Announcing {
    /// A batch is to be announced to the neighbour at the other end of `link`.
    pub(crate) fn note(&mut self, link: LinkId, topic: &Topic, name: BatchName) {
        let waiting = self.links.entry(link).or_default();
        match waiting.names.get_mut(topic) {
            Some(names) => names.push(name),
            None => {
                waiting.names.insert(topic.clone(), vec![name]);
            }
        }
        waiting.count += 1;
        self.due = self.due.min(waiting.due());
    }

    /// What goes out now on one link. What follows on it gathers for a while.
    pub(crate) fn take(&mut self, now: Instant) -> Option<(LinkId, Names)> {
        if now < self.due {
            return None;
        }
        let mut links = self.links.iter_mut();
        if let Some((&link, waiting)) = links.find(|(_, waiting)| waiting.due() <= now) {
            waiting.until = now + GATHER;
            waiting.count = 0;
            return Some((link, core::mem::take(&mut waiting.names)));
        }
        self.links.retain(|_, waiting| waiting.count > 0 || waiting.until > now);
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
    fn the_first_goes_at_once_and_what_follows_gathers() {
        let (mut announcing, topic) = (Announcing::default(), Topic::overlay());
        let at = Instant::from_millis;
        announcing.note(LinkId(1), &topic, name(1));
        assert_eq!(take(&mut announcing, at(0)), [(1, 1)]);
        assert_eq!(announcing.next_deadline(), None);
        announcing.note(LinkId(1), &topic, name(2));
        announcing.note(LinkId(1), &Topic::new("t").expect("legal"), name(1));
        announcing.note(LinkId(2), &topic, name(2));
        assert_eq!(take(&mut announcing, at(1)), [(2, 1)], "link 1 had one just now");
        assert_eq!(announcing.next_deadline(), Some(at(5)));
        announcing.note(LinkId(1), &topic, name(3));
        assert_eq!(take(&mut announcing, at(4)), []);
        assert_eq!(take(&mut announcing, at(5)), [(1, 3)], "of all topics together");
        assert_eq!(take(&mut announcing, at(11)), []);
        announcing.note(LinkId(1), &topic, name(4));
        assert_eq!(take(&mut announcing, at(11)), [(1, 1)], "after a pause at once");
    }

    #[test]
    fn a_full_frame_does_not_wait() {
        let (mut announcing, topic) = (Announcing::default(), Topic::overlay());
        announcing.note(LinkId(1), &topic, name(0));
        assert_eq!(take(&mut announcing, Instant::ZERO), [(1, 1)]);
        (0..NAMES_MAX as u64).for_each(|n| announcing.note(LinkId(1), &topic, name(n)));
        assert_eq!(take(&mut announcing, Instant::ZERO), [(1, NAMES_MAX)]);
    }

    #[test]
    fn links_that_are_quiet_are_forgotten() {
        let (mut announcing, topic) = (Announcing::default(), Topic::overlay());
        announcing.note(LinkId(1), &topic, name(1));
        take(&mut announcing, Instant::ZERO);
        announcing.note(LinkId(2), &topic, name(1));
        take(&mut announcing, Instant::from_millis(9));
        assert_eq!(announcing.links.len(), 1);
    }
}
