//! What was published: the truth that deliveries are judged by.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes, BytesMut};
use tidings_proto::Instant;

use crate::rng::mix;

/// All publications of a run, numbered from 0 in order of time.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The publications.
    pub all: Vec<Publication>,
    streams: BTreeMap<StreamKey, u32>,
    /// For each stream, which publication has which sequence number.
    numbers: Vec<BTreeMap<u64, u32>>,
}

/// What names a stream: peer, incarnation, topic.
pub type StreamKey = (u32, u64, u16);

/// One publication.
#[derive(Clone, Copy, Debug)]
pub struct Publication {
    /// When the command was given.
    pub at: Instant,
    /// The peer.
    pub origin: u32,
    /// Its topic.
    pub topic: u16,
    /// What became of the command.
    pub state: State,
    /// When the last peer that was subscribed before had it.
    pub last: Instant,
    /// How many of those had it, the publisher not counted.
    pub receivers: u32,
}

/// What became of a publication's command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not answered.
    Asked,
    /// It is on its way, with this sequence number.
    Accepted(u64),
    /// Refused: nobody may see it.
    Refused,
}

impl Ledger {
    /// A new publication; returns its number and its body of `bytes`, at least 8.
    pub fn publish(&mut self, at: Instant, origin: u32, topic: u16, bytes: usize) -> (u32, Bytes) {
        let number = u32::try_from(self.all.len()).expect("fewer than 2^32 publications");
        let state = State::Asked;
        self.all.push(Publication { at, origin, topic, state, last: at, receivers: 0 });
        (number, body(number, bytes))
    }

    /// The publication that a body belongs to, if it is one of this run and undamaged.
    pub fn read(&self, found: &[u8]) -> Option<u32> {
        let number = u32::from_be_bytes(*found.first_chunk()?);
        let known = (number as usize) < self.all.len();
        (known && *found == *body(number, found.len())).then_some(number)
    }

    /// The number of a stream, given out at its first use.
    pub fn stream(&mut self, key: StreamKey) -> u32 {
        let next = u32::try_from(self.numbers.len()).expect("fewer than 2^32 streams");
        let stream = *self.streams.entry(key).or_insert(next);
        if stream == next {
            self.numbers.push(BTreeMap::new());
        }
        stream
    }

    /// Notes the sequence number of a publication; false when it has another one already.
    pub fn number(&mut self, stream: u32, seq: u64, publication: u32) -> bool {
        *self.numbers[stream as usize].entry(seq).or_insert(publication) == publication
    }

    /// The publications of a stream from one sequence number to another, as far as known.
    pub fn range(&self, stream: u32, from: u64, to: u64) -> impl Iterator<Item = u32> + '_ {
        let to = to.max(from);
        self.numbers[stream as usize].range(from..=to).map(|(_, publication)| *publication)
    }
}

/// Its number, then bytes that follow from it.
fn body(number: u32, bytes: usize) -> Bytes {
    let mut body = BytesMut::with_capacity(bytes);
    body.put_u32(number);
    let mut filler = mix(u64::from(number));
    while body.len() < bytes {
        let take = (bytes - body.len()).min(8);
        body.put_slice(&filler.to_be_bytes()[..take]);
        filler = filler.rotate_left(9).wrapping_add(1);
    }
    body.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_recognised_and_damage_is_not() {
        let mut ledger = Ledger::default();
        let (first, _) = ledger.publish(Instant::ZERO, 3, 0, 8);
        let (second, body) = ledger.publish(Instant::ZERO, 3, 0, 50);
        assert_eq!((first, second, body.len()), (0, 1, 50));
        assert_eq!(ledger.read(&body), Some(1));
        let mut damaged = body.to_vec();
        damaged[49] ^= 1;
        assert_eq!(ledger.read(&damaged), None);
        assert_eq!(ledger.read(b"xy"), None);
    }

    #[test]
    fn streams_are_numbered_and_ranges_found() {
        let mut ledger = Ledger::default();
        let stream = ledger.stream((1, 2, 3));
        assert_eq!((stream, ledger.stream((1, 3, 3)), ledger.stream((1, 2, 3))), (0, 1, 0));
        assert!(ledger.number(0, 5, 9) && ledger.number(0, 7, 10) && !ledger.number(0, 5, 10));
        assert_eq!(ledger.range(0, 5, 6).collect::<Vec<_>>(), [9]);
        assert_eq!(ledger.range(0, 1, u64::MAX).collect::<Vec<_>>(), [9, 10]);
    }
}
