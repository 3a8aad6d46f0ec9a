//! A table of bits, a row per message and a column per peer: who has what.

/// Rows of bits.
#[derive(Clone, Debug)]
pub struct Grid {
    words: usize,
    rows: Vec<u64>,
}

impl Grid {
    /// A grid without rows, of so many columns.
    pub fn new(columns: usize) -> Self {
        Self { words: columns.div_ceil(64).max(1), rows: Vec::new() }
    }

    /// Sets a bit, with as many rows as it takes; false when it was set already.
    pub fn set(&mut self, row: usize, column: u32) -> bool {
        let needed = (row + 1) * self.words;
        if self.rows.len() < needed {
            self.rows.resize(needed, 0);
        }
        let word = &mut self.rows[row * self.words + column as usize / 64];
        let bit = 1 << (column % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Whether a bit is set.
    pub fn has(&self, row: usize, column: u32) -> bool {
        let word = self.rows.get(row * self.words + column as usize / 64);
        word.is_some_and(|word| word & 1 << (column % 64) != 0)
    }

    /// Clears a column.
    pub fn clear(&mut self, column: u32) {
        let (at, bit) = (column as usize / 64, 1 << (column % 64));
        for row in self.rows.chunks_exact_mut(self.words) {
            row[at] &= !bit;
        }
    }

    /// The words of a row; none of a row without a bit behind all others.
    pub fn row(&self, row: usize) -> &[u64] {
        self.rows.get(row * self.words..(row + 1) * self.words).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_set_once_and_cleared_by_column() {
        let mut grid = Grid::new(100);
        assert!(grid.set(2, 99) && !grid.set(2, 99) && grid.set(0, 99) && grid.set(2, 35));
        assert!(grid.has(2, 99) && !grid.has(1, 99) && !grid.has(7, 0));
        grid.clear(99);
        assert!(!grid.has(2, 99) && !grid.has(0, 99) && grid.has(2, 35));
        assert_eq!((grid.row(2), grid.row(3)), (&[1 << 35, 0][..], &[][..]));
    }
}
