//! The trace of a run: a hash over every input and output of every machine, in order, so that
//! two runs with the same hash did the same; and, on request, the lines of it as text.

use std::fmt::Arguments;
use std::io::Write;

use tidings_proto::Instant;

/// What happened to a node, for the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Tag {
    /// A machine was started.
    Start = 1,
    /// A machine was dropped.
    Crash,
    /// A link came up.
    LinkUp,
    /// A link went down.
    LinkDown,
    /// A dial failed.
    DialFailed,
    /// A frame was received.
    Received,
    /// Frames were shed.
    Shed,
    /// A command was given.
    Command,
    /// A record was written.
    Persisted,
    /// A deadline was reached.
    Tick,
    /// The machine dialled.
    Dial,
    /// The machine sent a frame.
    Send,
    /// The machine closed a link.
    Close,
    /// The machine wants a record written.
    Persist,
    /// The machine told the application or the log something.
    Event,
}

/// The hash so far, and the text file if there is one.
pub struct Trace {
    state: u64,
    entries: u64,
    text: Option<Box<dyn Write>>,
}

impl Trace {
    /// An empty trace; each line goes to `text`, if given.
    pub fn new(text: Option<Box<dyn Write>>) -> Self {
        Self { state: 0x6a09_e667_f3bc_c908, entries: 0, text }
    }

    /// Takes in an entry. `a` and `b` tell it from others of its kind.
    pub fn add(&mut self, now: Instant, node: u32, tag: Tag, a: u64, b: u64) {
        self.entries += 1;
        self.word(now.as_micros());
        self.word(u64::from(node) << 8 | tag as u64);
        self.word(a);
        self.word(b);
    }

    /// Whether lines are written: saves formatting them otherwise.
    pub fn has_text(&self) -> bool {
        self.text.is_some()
    }

    /// Writes a line. A file that cannot be written is given up: it is for reading only.
    pub fn line(&mut self, now: Instant, node: u32, tag: Tag, text: Arguments<'_>) {
        if let Some(out) = &mut self.text
            && writeln!(out, "{now:?} {node} {tag:?} {text}").is_err()
        {
            self.text = None;
        }
    }

    /// How many entries there are.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The hash, as 16 hexadecimal digits.
    pub fn hash(&self) -> String {
        format!("{:016x}", crate::rng::mix(self.state ^ self.entries))
    }

    /// One round of a folded multiplication (as in wyhash): each word changes the whole state.
    fn word(&mut self, word: u64) {
        let product =
            u128::from(self.state ^ word) * u128::from(0xa076_1d64_78bd_642f_u64 ^ self.entries);
        let folded = (product >> 64) ^ (product & u128::from(u64::MAX));
        self.state = u64::try_from(folded).expect("both halves fit") ^ self.state.rotate_left(23);
    }
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Trace({} after {})", self.hash(), self.entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_difference_changes_the_hash() {
        let hash = |entries: &[(u64, u32, Tag, u64)]| {
            let mut trace = Trace::new(None);
            for (at, node, tag, a) in entries {
                trace.add(Instant::from_micros(*at), *node, *tag, *a, 0);
            }
            trace.hash()
        };
        let base = [(1, 2, Tag::Tick, 3), (4, 5, Tag::Send, 6)];
        assert_eq!(hash(&base), hash(&base));
        for other in [
            [(1, 2, Tag::Tick, 3), (4, 5, Tag::Send, 7)],
            [(1, 2, Tag::Tick, 3), (4, 5, Tag::Close, 6)],
            [(1, 2, Tag::Tick, 3), (5, 5, Tag::Send, 6)],
            [(4, 5, Tag::Send, 6), (1, 2, Tag::Tick, 3)],
        ] {
            assert_ne!(hash(&base), hash(&other));
        }
        assert_ne!(hash(&base), hash(&base[..1]));
    }
}
