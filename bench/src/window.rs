//! Which numbers were seen already, in bounded memory.

use std::collections::VecDeque;

/// 64-bit words kept: a message may be four million numbers behind the newest one.
const WORDS_MAX: usize = 1 << 16;

/// What is known of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It comes for the first time.
    New,
    /// It came before.
    Again,
    /// It is before the window: it came before, or it was given up.
    TooOld,
}

/// A sliding window of bits over message numbers.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// The word that `words` begins with; all numbers before it were seen, or are given up.
    first: u64,
    words: VecDeque<u64>,
}

impl Window {
    /// Takes note of `number`.
    pub(crate) fn insert(&mut self, number: u64) -> Seen {
        let word = number / 64;
        let Some(ahead) = word.checked_sub(self.first) else { return Seen::TooOld };
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
        let seen = if self.words[at] & bit == 0 { Seen::New } else { Seen::Again };
        self.words[at] |= bit;
        while self.words.front() == Some(&u64::MAX) {
            self.words.pop_front();
            self.first += 1;
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_new_once() {
        let mut window = Window::default();
        for number in [5, 0, 1, 64, 3] {
            assert_eq!(window.insert(number), Seen::New);
            assert_eq!(window.insert(number), Seen::Again);
        }
        let rest = (0..128).filter(|number| window.insert(*number) == Seen::New).count();
        assert_eq!(rest, 123);
        assert!(window.words.is_empty());
        assert_eq!((window.insert(17), window.insert(128)), (Seen::TooOld, Seen::New));
    }

    #[test]
    fn memory_is_bounded() {
        let mut window = Window::default();
        assert_eq!((window.insert(0), window.insert(u64::MAX)), (Seen::New, Seen::New));
        assert!(window.words.len() <= WORDS_MAX);
        assert_eq!(window.insert(1), Seen::TooOld);
        let newest = [u64::MAX - 1, u64::MAX].map(|number| window.insert(number));
        assert_eq!(newest, [Seen::New, Seen::Again]);
    }
}
