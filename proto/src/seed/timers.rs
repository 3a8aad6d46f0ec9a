//! Keyed deadlines: what is to be done when.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Instant;

/// One deadline a key; the earliest is found at once.
#[derive(Debug)]
pub(super) struct Timers<K> {
    at: BTreeMap<K, Instant>,
    due: BTreeSet<(Instant, K)>,
}

impl<K: Copy + Ord> Timers<K> {
    pub(super) const fn new() -> Self {
        Self { at: BTreeMap::new(), due: BTreeSet::new() }
    }

    /// Replaces the key's deadline.
    pub(super) fn set(&mut self, key: K, at: Instant) {
        self.cancel(key);
        self.at.insert(key, at);
        self.due.insert((at, key));
    }

    pub(super) fn cancel(&mut self, key: K) {
        if let Some(at) = self.at.remove(&key) {
            self.due.remove(&(at, key));
        }
    }

    pub(super) fn is_set(&self, key: K) -> bool {
        self.at.contains_key(&key)
    }

    pub(super) fn len(&self) -> usize {
        self.at.len()
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the earliest deadline that is reached, and says when it was due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, K)> {
        let (at, key) = *self.due.first().filter(|(at, _)| *at <= now)?;
        self.cancel(key);
        Some((at, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_in_order_and_are_replaced_and_cancelled() {
        let mut timers = Timers::new();
        let ms = Instant::from_millis;
        timers.set('a', ms(30));
        timers.set('b', ms(10));
        timers.set('c', ms(20));
        timers.set('a', ms(5));
        timers.cancel('c');
        assert!(timers.is_set('a') && !timers.is_set('c'));
        assert_eq!(timers.next(), Some(ms(5)));
        assert_eq!(timers.pop(ms(4)), None);
        assert_eq!(timers.pop(ms(50)), Some((ms(5), 'a')));
        assert_eq!(timers.pop(ms(50)), Some((ms(10), 'b')));
        assert_eq!((timers.pop(ms(50)), timers.len()), (None, 0));
    }
}
