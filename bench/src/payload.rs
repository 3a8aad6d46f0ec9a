//! What a benchmark message looks like: 32 bytes of header, then filler that does not compress.
//!
//! Little endian: mark u32, phase u8, zero u8, publisher u16, number u64, sent at u64 (nanoseconds
//! of [`now_ns`]), salt u64. The salt keeps two messages from being equal.

use std::sync::OnceLock;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Bytes of the header, and so of the smallest message.
pub(crate) const HEADER_BYTES: usize = 32;
/// The first bytes of each message: whatever else arrives is counted as bad.
const MARK: [u8; 4] = *b"TDB1";

/// The part of a run that a message belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Finds out whether the overlay is complete.
    Probe,
    /// Not counted.
    WarmUp,
    /// Counted.
    Measured,
}

impl Phase {
    /// How many there are.
    pub(crate) const COUNT: usize = 3;

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Probe, Self::WarmUp, Self::Measured].into_iter().find(|phase| *phase as u8 == byte)
    }
}

/// What a message says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) phase: Phase,
    /// The peer that publishes it.
    pub(crate) publisher: u16,
    /// Counts the messages of a phase, from 0, over all publishers.
    pub(crate) number: u64,
    /// Just before it was handed over.
    pub(crate) sent_ns: u64,
}

impl Header {
    /// The header of `body`, unless it is none.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let head = body.first_chunk::<HEADER_BYTES>()?;
        if head[..4] != MARK {
            return None;
        }
        let u64_at = |at: usize| head[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        Some(Self {
            phase: Phase::from_byte(head[4])?,
            publisher: u16::from_le_bytes([head[6], head[7]]),
            number: u64_at(8)?,
            sent_ns: u64_at(16)?,
        })
    }

    fn write(self, head: &mut [u8], salt: u64) {
        head[..4].copy_from_slice(&MARK);
        head[4] = self.phase as u8;
        head[5] = 0;
        head[6..8].copy_from_slice(&self.publisher.to_le_bytes());
        head[8..16].copy_from_slice(&self.number.to_le_bytes());
        head[16..24].copy_from_slice(&self.sent_ns.to_le_bytes());
        head[24..32].copy_from_slice(&salt.to_le_bytes());
    }
}

/// Makes messages of one size.
#[derive(Debug)]
pub(crate) struct Maker {
    template: Vec<u8>,
    rng: StdRng,
}

impl Maker {
    /// Messages of `size` bytes, at least [`HEADER_BYTES`].
    pub(crate) fn new(size: usize, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut template = vec![0; size.max(HEADER_BYTES)];
        rng.fill_bytes(&mut template);
        Self { template, rng }
    }

    /// A message that is sent now.
    pub(crate) fn make(&mut self, phase: Phase, publisher: usize, number: u64) -> Bytes {
        let mut body = BytesMut::from(&self.template[..]);
        let publisher = u16::try_from(publisher).unwrap_or(u16::MAX);
        let salt = self.rng.next_u64();
        Header { phase, publisher, number, sent_ns: now_ns() }.write(&mut body, salt);
        body.freeze()
    }
}

/// Nanoseconds of the monotonic clock since the first call in this process.
pub(crate) fn now_ns() -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(ORIGIN.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_as_it_was_written() {
        let mut maker = Maker::new(100, 7);
        let first = maker.make(Phase::Measured, 513, 99);
        let second = maker.make(Phase::Measured, 513, 99);
        assert_eq!(first.len(), 100);
        assert_ne!(first, second);
        let header = Header::read(&first).expect("a header");
        assert_eq!((header.phase, header.publisher, header.number), (Phase::Measured, 513, 99));
        assert!(header.sent_ns <= now_ns());
        assert_eq!(Header::read(&first[..31]), None);
        assert_eq!(Header::read(&[0; 64]), None);
        assert_eq!(Maker::new(1, 7).make(Phase::Probe, 0, 0).len(), HEADER_BYTES);
    }
}
