//! Storage with reusable places: a key names one occupant of a place and none that came later.

/// Names an occupant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The place.
    pub index: u32,
    /// How many occupants the place had before.
    pub generation: u32,
}

/// Occupants in places.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    /// An empty slab.
    pub fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    /// Takes a place.
    pub fn insert(&mut self, value: T) -> Key {
        if let Some(index) = self.free.pop() {
            let place = &mut self.places[index as usize];
            place.1 = Some(value);
            return Key { index, generation: place.0 };
        }
        let index = u32::try_from(self.places.len()).expect("fewer than 2^32 at once");
        self.places.push((0, Some(value)));
        Key { index, generation: 0 }
    }

    /// The occupant, unless it is gone.
    pub fn get(&self, key: Key) -> Option<&T> {
        let place = self.places.get(key.index as usize)?;
        if place.0 == key.generation { place.1.as_ref() } else { None }
    }

    /// The occupant, unless it is gone.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.0 == key.generation { place.1.as_mut() } else { None }
    }

    /// Frees a place and returns its occupant, unless it is gone already.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.0 != key.generation {
            return None;
        }
        let value = place.1.take()?;
        place.0 = place.0.wrapping_add(1);
        self.free.push(key.index);
        Some(value)
    }

    /// How many occupants there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there is no occupant.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key of the first occupant at `index` or after it, around the end.
    pub fn key_from(&self, index: usize) -> Option<Key> {
        let places = self.places.len();
        (0..places).map(|step| (index + step) % places).find_map(|index| {
            let (generation, occupant) = &self.places[index];
            occupant.as_ref()?;
            Some(Key { index: u32::try_from(index).ok()?, generation: *generation })
        })
    }

    /// Places, free ones included.
    pub fn capacity(&self) -> usize {
        self.places.len()
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_does_not_reach_a_later_occupant() {
        let mut slab = Slab::new();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_eq!((first.index, slab.len()), (second.index, 1));
        assert_eq!((slab.get(first), slab.get(second)), (None, Some(&'b')));
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.key_from(0), Some(second));
    }
}
