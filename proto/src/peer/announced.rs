//! Batches that neighbours announced and that have not come: when to graft them from whom.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::id::{LinkId, Topic};
use crate::time::Instant;

/// The most announced batches waited for at once. More than a second of the fastest publisher;
/// what is beyond is found by the next digest.
pub(crate) const WANTED_MAX: usize = 65_536;
/// The most announcers remembered per batch (design §4.12: three are tried, then anybody).
const ANNOUNCERS_MAX: usize = 3;
/// Added to two round trips before the next announcer is tried (design §4.12).
const RETRY_EXTRA: Duration = Duration::from_millis(10);

/// So many batches of one stream that were announced and have not come are a crowd: more than are
/// on their way for 150 ms in a stream of 50 a second.
const CROWD: usize = 8;

/// An announced batch: hash of its topic, short name of its origin, its first number.
pub(crate) type Key = (u64, u64, u64);

/// A batch that was announced and has not come.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Its topic.
    pub(crate) topic: Topic,
    /// Who announced it, first to last, and has not been asked.
    announcers: Vec<(LinkId, u8)>,
    /// All links that announced it.
    pub(crate) slots: u64,
    /// The first announcer.
    pub(crate) first: u8,
    /// When it was announced first.
    pub(crate) since: Instant,
    due: Instant,
    /// An announcer was asked for it.
    pub(crate) asked: bool,
}

/// A batch whose time has come.
#[derive(Debug)]
pub(crate) struct Due {
    /// The batch.
    pub(crate) key: Key,
    /// Its topic.
    pub(crate) topic: Topic,
    /// Whom to graft it from; `None` when nobody is left, and the batch is then forgotten here.
    pub(crate) announcer: Option<(LinkId, u8)>,
    /// Another announcer was asked before, in vain.
    pub(crate) again: bool,
}

/// All announced batches that have not come.
#[derive(Debug, Default)]
pub(crate) struct Announced {
    wanted: BTreeMap<Key, Wanted>,
    due: BTreeSet<(Instant, Key)>,
}

impl Announced {
    /// A neighbour announced a batch that is not here. It is grafted `after` this time.
    /// Returns whether there was room to remember it.
    pub(crate) fn note(
        &mut self,
        now: Instant,
        key: Key,
        topic: &Topic,
        link: (LinkId, u8),
        after: Duration,
    ) -> bool {
        let bit = super::trees::slot_bit(link.1);
        if let Some(wanted) = self.wanted.get_mut(&key) {
            if wanted.announcers.len() < ANNOUNCERS_MAX && wanted.slots & bit == 0 {
                wanted.announcers.push(link);
            }
            wanted.slots |= bit;
            return true;
        }
        if self.wanted.len() >= WANTED_MAX {
            return false;
        }
        let due = now + after;
        let wanted = Wanted {
            topic: topic.clone(),
            announcers: vec![link],
            slots: bit,
            first: link.1,
            since: now,
            due,
            asked: false,
        };
        self.due.insert((due, key));
        self.wanted.insert(key, wanted);
        true
    }

    /// Whether many batches of an origin were announced and have not come.
    pub(crate) fn is_crowd(&self, topic_hash: u64, origin: u64) -> bool {
        let stream = (topic_hash, origin, 0)..=(topic_hash, origin, u64::MAX);
        self.wanted.range(stream).nth(CROWD - 1).is_some()
    }

    /// The batch came.
    pub(crate) fn came(&mut self, key: Key) -> Option<Wanted> {
        let wanted = self.wanted.remove(&key)?;
        self.due.remove(&(wanted.due, key));
        Some(wanted)
    }

    /// The next batch whose time has come. Links without a round trip are gone. A batch that is
    /// `coming` by itself, which is asked with its key and whether it is one of many, is looked at
    /// again after that time.
    pub(crate) fn pop_due(
        &mut self,
        now: Instant,
        round_trip: impl Fn(LinkId) -> Option<Duration>,
        coming: impl Fn(Key, &Wanted, bool) -> Option<Duration>,
    ) -> Option<Due> {
        self.defer(now, coming);
        let &(due, key) = self.due.first().filter(|(due, _)| *due <= now)?;
        self.due.remove(&(due, key));
        let wanted = self.wanted.get_mut(&key)?;
        let again = core::mem::replace(&mut wanted.asked, true);
        let topic = wanted.topic.clone();
        while !wanted.announcers.is_empty() {
            let announcer = wanted.announcers.remove(0);
            if let Some(round_trip) = round_trip(announcer.0) {
                wanted.due = now + round_trip * 2 + RETRY_EXTRA;
                self.due.insert((wanted.due, key));
                return Some(Due { key, topic, announcer: Some(announcer), again });
            }
        }
        self.wanted.remove(&key);
        Some(Due { key, topic, announcer: None, again })
    }

    /// Moves the time of those due that are coming by themselves.
    fn defer(&mut self, now: Instant, coming: impl Fn(Key, &Wanted, bool) -> Option<Duration>) {
        while let Some(&(due, key)) = self.due.first().filter(|(due, _)| *due <= now) {
            let is_crowd = self.is_crowd(key.0, key.1);
            let Some(wanted) = self.wanted.get_mut(&key).filter(|wanted| !wanted.asked) else {
                return;
            };
            let after = coming(key, wanted, is_crowd).filter(|after| !after.is_zero());
            let Some(after) = after else { return };
            self.due.remove(&(due, key));
            wanted.due = now + after;
            self.due.insert((wanted.due, key));
        }
    }

    /// When the next batch is to be grafted.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = (1, 2, 3);

    #[test]
    fn announcers_are_tried_in_order_then_nobody() {
        let mut announced = Announced::default();
        let after = Duration::from_millis(40);
        for n in 0..5 {
            let link = (LinkId(n.into()), n);
            announced.note(Instant::ZERO, KEY, &Topic::overlay(), link, after);
        }
        let round_trip = |link: LinkId| (link != LinkId(1)).then_some(Duration::from_millis(20));
        let early = Instant::from_millis(39);
        assert!(announced.pop_due(early, round_trip, |_, _, _| None).is_none());
        let mut asked = Vec::new();
        while let Some(due) = announced.next_deadline() {
            let next = announced.pop_due(due, round_trip, |_, _, _| None).expect("due");
            asked.push((due, next.announcer.map(|(_, slot)| slot), next.again));
        }
        let at = Instant::from_millis;
        assert_eq!(
            asked,
            [(at(40), Some(0), false), (at(90), Some(2), true), (at(140), None, true)]
        );
        assert!(announced.came(KEY).is_none());
    }

    #[test]
    fn what_is_coming_by_itself_is_looked_at_again() {
        let mut announced = Announced::default();
        let (link, after) = ((LinkId(1), 1), Duration::from_millis(40));
        announced.note(Instant::ZERO, KEY, &Topic::overlay(), link, after);
        announced.note(Instant::ZERO, (1, 2, 4), &Topic::overlay(), link, after);
        let round_trip = |_| Some(Duration::ZERO);
        let coming = |key: Key, wanted: &Wanted, is_crowd: bool| {
            assert!(!is_crowd);
            assert_eq!(wanted.slots, 2, "who announced it");
            (key == KEY).then_some(after)
        };
        let now = Instant::from_millis(40);
        let due = announced.pop_due(now, round_trip, coming).expect("the other one");
        assert_eq!((due.key, announced.next_deadline()), ((1, 2, 4), Some(now + RETRY_EXTRA)));
        announced.came((1, 2, 4));
        assert_eq!(announced.next_deadline(), Some(now + after));
        let due = announced.pop_due(now + after, round_trip, |_, _, _| None).expect("not coming");
        assert_eq!((due.key, due.again), (KEY, false));
    }

    #[test]
    fn many_of_one_stream_are_a_crowd() {
        let mut announced = Announced::default();
        let (link, after) = ((LinkId(1), 1), Duration::from_millis(40));
        for n in 1..=8 {
            assert!(!announced.is_crowd(1, 2));
            announced.note(Instant::ZERO, (1, 3, n), &Topic::overlay(), link, after);
            announced.note(Instant::ZERO, (1, 2, n), &Topic::overlay(), link, after);
        }
        assert!(announced.is_crowd(1, 2));
        announced.came((1, 2, 5));
        assert!(!announced.is_crowd(1, 2));
    }

    #[test]
    fn what_came_is_not_grafted() {
        let mut announced = Announced::default();
        announced.note(Instant::ZERO, KEY, &Topic::overlay(), (LinkId(1), 1), Duration::ZERO);
        assert_eq!(announced.came(KEY).map(|wanted| (wanted.first, wanted.slots)), Some((1, 2)));
        assert_eq!(announced.next_deadline(), None);
    }
}
