//! What a fuzzer calls: any bytes, as frames of a link and as scripts of what happens to a
//! machine. The corpora below `fuzz/corpus` are replayed by the ordinary tests through the same
//! functions.
//!
//! Each function panics where a promise is broken, and says otherwise how far the bytes reached,
//! so that a test can see that its corpus is worth something.

mod driver;
mod make;
mod peer;
mod seed;

use bytes::{Bytes, BytesMut};
use tidings_proto::crypto::Scheme;
use tidings_proto::wire::codec::{self, Decoded, FIRST_FRAME_BYTES_MAX, FRAME_BYTES_MAX};
use tidings_proto::wire::frame::Frame;

use crate::rng::Rng;
pub use peer::peer;
pub use seed::seed;

/// How far some bytes reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Frames that were read, or inputs that a machine was given.
    pub inputs: u64,
    /// Frames that a machine sent.
    pub sent: u64,
    /// Messages that an application was given.
    pub delivered: u64,
    /// Records that a seed took.
    pub records: u64,
}

impl Reach {
    /// Adds what others reached.
    pub fn add(&mut self, other: Self) {
        self.inputs += other.inputs;
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.records += other.records;
    }
}

/// What takes any bytes.
pub type Target = fn(&[u8]) -> Reach;

/// The targets of the fuzzer by name, which is that of their corpus.
pub const TARGETS: [(&str, Target); 3] = [("frames", frames), ("peer", peer), ("seed", seed)];

/// The bytes of a link, read as frames until they are none: what is read can be written, and is
/// the same when it is read again.
///
/// # Panics
/// When it is not.
pub fn frames(bytes: &[u8]) -> Reach {
    let mut reach = Reach::default();
    for limit in [FIRST_FRAME_BYTES_MAX, FRAME_BYTES_MAX] {
        let mut buffer = BytesMut::from(bytes);
        loop {
            let before = buffer.len();
            match codec::decode(&mut buffer, limit) {
                Ok(Decoded::Frame(frame)) => {
                    reach.inputs += 1;
                    assert!(buffer.len() < before, "a frame takes bytes");
                    check(&frame);
                }
                Ok(Decoded::Unknown(_)) => assert!(buffer.len() < before, "a frame takes bytes"),
                Ok(Decoded::Incomplete(wanted)) => {
                    assert!(wanted > buffer.len() && wanted <= limit + 4, "{wanted} of {limit}");
                    break;
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty(), "errors say what is wrong");
                    break;
                }
            }
        }
    }
    reach
}

/// What was read is written and read again.
fn check(frame: &Frame) {
    let encoded = codec::encode(frame);
    let mut again = BytesMut::with_capacity(encoded.len());
    again.extend_from_slice(&encoded.head);
    again.extend_from_slice(&encoded.tail);
    match codec::decode(&mut again, FRAME_BYTES_MAX) {
        Ok(Decoded::Frame(read)) => assert_eq!(read, *frame, "read again"),
        other => panic!("{frame:?} is written as {other:?}"),
    }
    assert!(again.is_empty(), "nothing is left of {frame:?}");
    if let Frame::Batch(frame) = frame {
        let batch = &frame.batch;
        let messages = batch.messages().count();
        assert_eq!(messages, usize::from(batch.header().count), "every message is there");
        // Damaged and forged ones are met all the time.
        let _ = batch.verify(Scheme::Checksum);
    }
}

/// Bytes read as numbers, choices and strings; zeros once they are used up.
#[derive(Debug)]
pub(crate) struct Script<'a> {
    rest: &'a [u8],
}

impl<'a> Script<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let (first, rest) = self.rest.split_first().unwrap_or((&0, &[]));
        self.rest = rest;
        *first
    }

    fn number(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound.max(1)
    }

    fn bytes(&mut self, count: usize) -> Bytes {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        Bytes::copy_from_slice(taken)
    }
}

/// Changes some of the bytes: one, a part, the order, or the length.
pub fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..=rng.below(4) {
        let at = rng.index(bytes.len().max(1));
        let any = u8::try_from(rng.below(256)).expect("at most 255");
        match rng.below(5) {
            0 => bytes.insert(at.min(bytes.len()), any),
            1 => bytes.truncate(at.max(1)),
            2 => {
                let part = bytes[at.min(bytes.len())..].to_vec();
                bytes.extend(part.iter().take(64));
            }
            3 if at + 1 < bytes.len() => bytes.swap(at, at + 1),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = any;
                }
            }
        }
    }
}
