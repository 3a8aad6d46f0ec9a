//! What is to be announced to neighbours, and when.
//!
//! Each announcement that goes out alone is a frame, a record and a packet of its own: all that
//! gathers for a link within a few milliseconds goes together, and what the other end announces
//! meanwhile itself is left out. So the batches themselves go first, which is what a busy machine
//! has to do first. Where much is announced it gathers for longer, or rides with a batch that goes
//! out on the link anyway.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::id::{LinkId, Topic};
use crate::time::Instant;
use crate::wire::frame::{Announce, BatchName, NAMES_MAX};

/// An announcement gathers for this long (design §4.10). An eighth of the time after which an
/// announced batch is fetched at the earliest.
const GATHER: Duration = Duration::from_millis(5);
/// For as many times that as the link's last announcement had batches, but no longer than this.
/// Guess: five eighths of the same time, so that an announcement still comes before the fetch.
const GATHER_MAX: Duration = Duration::from_millis(25);

/// Announcements that wait, by link.
#[derive(Debug)]
pub(crate) struct Announcing {
    links: BTreeMap<LinkId, Waiting>,
    /// When the next may go.
    due: Instant,
}

#[derive(Debug)]
struct Waiting {
    names: Vec<(Topic, BatchName)>,
    /// Since when the oldest of them waits.
    since: Instant,
    /// No others go before.
    paced_until: Instant,
    /// Something else goes out on the link.
    rides: bool,
}

impl Waiting {
    /// As many as a frame takes wait no longer.
    fn due(&self) -> Instant {
        match self.names.len() {
            0 => Instant::FAR_FUTURE,
            count if count >= NAMES_MAX || self.rides => Instant::ZERO,
            _ => self.paced_until.max(self.since + GATHER),
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
    pub(crate) fn note(&mut self, now: Instant, link: LinkId, topic: &Topic, name: BatchName) {
        let waiting = self.links.entry(link).or_insert_with(|| Waiting {
            names: Vec::new(),
            since: now,
            paced_until: now,
            rides: false,
        });
        if waiting.names.is_empty() {
            waiting.since = now;
        }
        waiting.names.push((topic.clone(), name));
        self.due = self.due.min(waiting.due());
    }

    /// The neighbour has the batch: it announced it itself.
    pub(crate) fn leave_out(&mut self, link: LinkId, topic: &Topic, name: BatchName) {
        let Some(waiting) = self.links.get_mut(&link) else { return };
        let known = |(of, waits): &(Topic, BatchName)| *waits == name && of == topic;
        if let Some(at) = waiting.names.iter().rposition(known) {
            waiting.names.swap_remove(at);
            waiting.rides &= !waiting.names.is_empty();
        }
    }

    /// A batch goes out on the link now: what has gathered goes with it.
    pub(crate) fn ride(&mut self, now: Instant, link: LinkId) {
        let Some(waiting) = self.links.get_mut(&link) else { return };
        if !waiting.names.is_empty() && now >= waiting.since + GATHER {
            waiting.rides = true;
            self.due = Instant::ZERO;
        }
    }

    /// The link is gone.
    pub(crate) fn forget(&mut self, link: LinkId) {
        self.links.remove(&link);
    }

    /// What goes out now on one link.
    pub(crate) fn take(&mut self, now: Instant) -> Option<(LinkId, Vec<Announce>)> {
        if now < self.due {
            return None;
        }
        let due = self.links.iter_mut().find(|(_, waiting)| waiting.due() <= now);
        if let Some((&link, waiting)) = due {
            let count = u32::try_from(waiting.names.len()).unwrap_or(u32::MAX);
            waiting.paced_until = now + (GATHER.saturating_mul(count)).min(GATHER_MAX);
            waiting.rides = false;
            return Some((link, by_topic(&mut waiting.names)));
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

/// Empties a list of names into as few frames as possible.
fn by_topic(names: &mut Vec<(Topic, BatchName)>) -> Vec<Announce> {
    names.sort_by(|a, b| a.0.cmp(&b.0));
    let mut frames: Vec<Announce> = Vec::with_capacity(1);
    let count = names.len().min(NAMES_MAX);
    for (topic, name) in names.drain(..) {
        match frames.last_mut() {
            Some(last) if last.topic == topic && last.batches.len() < NAMES_MAX => {
                last.batches.push(name);
            }
            _ => {
                let mut batches = Vec::with_capacity(if frames.is_empty() { count } else { 1 });
                batches.push(name);
                frames.push(Announce { topic, batches });
            }
        }
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(first_seq: u64) -> BatchName {
        BatchName { origin: 1, first_seq }
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn take(announcing: &mut Announcing, now: Instant) -> Vec<(u64, usize)> {
        let all = core::iter::from_fn(|| announcing.take(now));
        let count = |frames: Vec<Announce>| frames.iter().map(|frame| frame.batches.len()).sum();
        all.map(|(link, frames)| (link.0, count(frames))).collect()
    }

    #[test]
    fn what_gathers_for_a_link_goes_together() {
        let (mut announcing, topic) = (Announcing::default(), Topic::overlay());
        assert_eq!(announcing.next_deadline(), None);
        announcing.note(at(0), LinkId(1), &topic, name(1));
        announcing.note(at(1), LinkId(2), &topic, name(1));
        announcing.note(at(4), LinkId(1), &Topic::new("t").expect("legal"), name(1));
        assert_eq!(announcing.next_deadline(), Some(at(5)));
        assert_eq!(take(&mut announcing, at(4)), []);
        assert_eq!(take(&mut announcing, at(5)), [(1, 2)], "of all topics together");
        assert_eq!(announcing.next_deadline(), Some(at(6)));
        assert_eq!(take(&mut announcing, at(6)), [(2, 1)]);
        assert_eq!(announcing.next_deadline(), None);
    }

    #[test]
    fn names_of_one_topic_share_a_frame() {
        let (mut announcing, topic) = (Announcing::default(), Topic::overlay());
        let other = Topic::new("t").expect("legal");
        for (topic, n) in [(&other, 1), (&topic, 2), (&other, 3), (&topic, 4)] {
            announcing.note(at(0), LinkId(1), topic, name(n));
        }
        let frame = |topic: &Topic, names: [u64; 2]| Announce {
            topic: topic.clone(),
            batches: names.map(name).to_vec(),
        };
        let expected = vec![frame(&topic, [2, 4]), frame(&other, [1, 3])];
        assert_eq!(announcing.take(at(5)), Some((LinkId(1), expected)));
    }

    #[test]
    fn where_much_is_announced_it_gathers_for_longer() {
        let (mut announcing, topic) = (Announcing::default(), Topic::overlay());
        let note = |announcing: &mut Announcing, ms, n| {
            announcing.note(at(ms), LinkId(1), &topic, name(n));
        };
        (0..3).for_each(|n| note(&mut announcing, 0, n));
        assert_eq!(take(&mut announcing, at(5)), [(1, 3)]);
        (0..9).for_each(|n| note(&mut announcing, 6, n));
        assert_eq!(announcing.next_deadline(), Some(at(20)), "three went the last time");
        assert_eq!(take(&mut announcing, at(20)), [(1, 9)]);
        note(&mut announcing, 21, 1);
        assert_eq!(announcing.next_deadline(), Some(at(45)), "nine, but there is a limit");
        assert_eq!(take(&mut announcing, at(45)), [(1, 1)]);
        note(&mut announcing, 60, 2);
        assert_eq!(announcing.next_deadline(), Some(at(65)), "after a pause it is soon again");
    }

    #[test]
    fn what_has_gathered_rides_with_a_batch() {
        let (mut announcing, topic) = (Announcing::default(), Topic::overlay());
        announcing.ride(at(0), LinkId(1));
        (0..9).for_each(|n| announcing.note(at(0), LinkId(1), &topic, name(n)));
        announcing.ride(at(4), LinkId(1));
        assert_eq!(take(&mut announcing, at(4)), [], "not yet");
        assert_eq!(take(&mut announcing, at(5)), [(1, 9)]);
        announcing.note(at(6), LinkId(1), &topic, name(1));
        announcing.ride(at(11), LinkId(2));
        assert_eq!(take(&mut announcing, at(11)), [], "another link");
        announcing.ride(at(11), LinkId(1));
        assert_eq!(take(&mut announcing, at(11)), [(1, 1)]);
    }

    #[test]
    fn what_the_other_end_announces_is_left_out() {
        let (mut announcing, topic) = (Announcing::default(), Topic::overlay());
        announcing.note(at(0), LinkId(1), &topic, name(1));
        announcing.note(at(0), LinkId(1), &topic, name(2));
        announcing.note(at(0), LinkId(2), &topic, name(1));
        announcing.leave_out(LinkId(1), &topic, name(1));
        announcing.leave_out(LinkId(1), &topic, name(9));
        announcing.leave_out(LinkId(1), &Topic::new("t").expect("legal"), name(2));
        announcing.ride(at(5), LinkId(2));
        announcing.leave_out(LinkId(2), &topic, name(1));
        assert_eq!(take(&mut announcing, at(5)), [(1, 1)]);
        assert_eq!(announcing.next_deadline(), None);
        announcing.note(at(6), LinkId(2), &topic, name(3));
        assert_eq!(announcing.next_deadline(), Some(at(11)), "nothing was left to ride");
    }

    #[test]
    fn a_link_that_is_gone_is_forgotten() {
        let (mut announcing, topic) = (Announcing::default(), Topic::overlay());
        announcing.note(at(0), LinkId(1), &topic, name(1));
        announcing.forget(LinkId(1));
        assert_eq!(take(&mut announcing, at(5)), []);
        assert_eq!(announcing.next_deadline(), None);
    }

    #[test]
    fn a_full_frame_does_not_wait() {
        let (mut announcing, topic) = (Announcing::default(), Topic::overlay());
        let mut note = |n| announcing.note(at(1_000), LinkId(1), &topic, name(n));
        (1..NAMES_MAX as u64).for_each(&mut note);
        assert_eq!(take(&mut announcing, at(1_000)), []);
        announcing.note(at(1_000), LinkId(1), &topic, name(0));
        assert_eq!(take(&mut announcing, at(1_000)), [(1, NAMES_MAX)]);
    }
}
