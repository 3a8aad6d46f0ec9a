//! What will happen, in order of time; what happens at the same time, in the order in which it
//! was scheduled.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use tidings_proto::Instant;

/// A queue of things to happen.
#[derive(Debug)]
pub struct Queue<T> {
    heap: BinaryHeap<Entry<T>>,
    sequence: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at: Instant,
    sequence: u64,
    what: T,
}

impl<T> Queue<T> {
    /// An empty queue.
    pub fn new() -> Self {
        Self { heap: BinaryHeap::new(), sequence: 0 }
    }

    /// Schedules `what` and returns its place in the order of scheduling.
    pub fn push(&mut self, at: Instant, what: T) -> u64 {
        self.sequence += 1;
        self.heap.push(Entry { at, sequence: self.sequence, what });
        self.sequence
    }

    /// Takes the next thing, if it happens at `limit` or before, with its time and its place in
    /// the order of scheduling.
    pub fn pop(&mut self, limit: Instant) -> Option<(Instant, u64, T)> {
        if self.heap.peek()?.at > limit {
            return None;
        }
        self.heap.pop().map(|entry| (entry.at, entry.sequence, entry.what))
    }

    /// How many things are scheduled.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is scheduled.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Ord for Entry<T> {
    /// Reversed: the heap gives the greatest, the queue the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earliest_first_and_fifo_within_an_instant() {
        let mut queue = Queue::new();
        for (at, what) in [(5, 'c'), (1, 'a'), (5, 'd'), (1, 'b'), (9, 'e')] {
            queue.push(Instant::from_micros(at), what);
        }
        let mut taken = String::new();
        while let Some((_, _, what)) = queue.pop(Instant::from_micros(5)) {
            taken.push(what);
        }
        assert_eq!(taken, "abcd");
        assert_eq!(queue.len(), 1);
    }
}
