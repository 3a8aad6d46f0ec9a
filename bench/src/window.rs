//! Which numbers were seen already, in bounded memory.

use std::collections::VecDeque;

/// 64-bit words kept: a message may be four million numbers behind the newest one.
const WORDS_MAX: usize = 1 << 16;

/// A sliding window of bits over message numbers.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// The word that `words` begins with; all numbers before it were seen, or are given up.
    first: u64,
    words: VecDeque<u64>,
}

impl Window {
    /// Takes note of `number`. Says whether it is seen for the first time; a number that has
    /// left the window counts as seen.
    pub(crate) fn insert(&mut self, number: u64) -> bool {
        let word = number / 64;
        let Some(ahead) = word.checked_sub(self.first) else { return false };
        let mut at = usize::try_from(ahead).unwrap_or(usize::MAX);
        if at >= WORDS_MAX {
            let leaving = at - (WORDS_MAX - 1);
            self.words.drain(..leaving.min(self.words.len()));
            self.first = word - (WORDS_MAX as u64 - 1);
            at = WORDS_MAX - 1;
        }
        if self.words.len() <= at {
            self.words.resize(at + 1, 0);
        }
        let bit = 1 << (number % 64);
        let new = self.words[at] & bit == 0;
        self.words[at] |= bit;
        while self.words.front() == Some(&u64::MAX) {
            self.words.pop_front();
            self.first += 1;
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_new_once() {
        let mut window = Window::default();
        for number in [5, 0, 1, 64, 3] {
            assert!(window.insert(number));
            assert!(!window.insert(number));
        }
        let rest = (0..128).filter(|number| window.insert(*number)).count();
        assert_eq!(rest, 123);
        assert!(window.words.is_empty());
        assert!(!window.insert(17) && window.insert(128));
    }

    #[test]
    fn memory_is_bounded() {
        let mut window = Window::default();
        assert!(window.insert(0) && window.insert(u64::MAX));
        assert!(window.words.len() <= WORDS_MAX);
        assert!(!window.insert(1) && window.insert(u64::MAX - 1) && !window.insert(u64::MAX));
    }
}
