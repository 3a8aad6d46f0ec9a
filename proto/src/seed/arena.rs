//! Things with small numbers instead of addresses: a table of a million of them takes no more
//! than they do, never moves, and others refer to them with four bytes.

/// Places that are made at once.
const CHUNK: usize = 1_024;

/// The things, by number.
#[derive(Debug)]
pub(super) struct Arena<T> {
    chunks: Vec<Box<[Option<T>]>>,
    free: Vec<u32>,
    /// Numbers that were ever given.
    used: u32,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), used: 0 }
    }
}

impl<T> Arena<T> {
    /// Keeps a thing; returns its number.
    pub(super) fn insert(&mut self, thing: T) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            let number = self.used;
            self.used = number.checked_add(1).expect("tables are capped far below 2^32");
            number
        });
        if number as usize / CHUNK >= self.chunks.len() {
            self.chunks.push((0..CHUNK).map(|_| None).collect());
        }
        self.chunks[number as usize / CHUNK][number as usize % CHUNK] = Some(thing);
        number
    }

    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.chunks.get(number as usize / CHUNK)?[number as usize % CHUNK].as_ref()
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.chunks.get_mut(number as usize / CHUNK)?[number as usize % CHUNK].as_mut()
    }

    /// Takes a thing out; its number is given to another one.
    pub(super) fn remove(&mut self, number: u32) -> Option<T> {
        let chunk = self.chunks.get_mut(number as usize / CHUNK)?;
        let thing = chunk[number as usize % CHUNK].take()?;
        self.free.push(number);
        Some(thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again_and_things_stay() {
        let mut arena = Arena::default();
        let numbers: Vec<u32> = (0..3_000).map(|n| arena.insert(n)).collect();
        assert!(numbers.iter().copied().eq(0..3_000));
        assert_eq!((arena.remove(7), arena.remove(7), arena.get(7)), (Some(7), None, None));
        assert_eq!((arena.insert(9), arena.get(7), arena.get(2_999)), (7, Some(&9), Some(&2_999)));
        *arena.get_mut(8).expect("there") = 1;
        assert_eq!((arena.get(8), arena.get(3_000), arena.get(9_999)), (Some(&1), None, None));
    }
}
