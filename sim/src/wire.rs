//! Frames as the network sees them: what kind they are, how long, and, when a run asks for it,
//! as bytes that may be damaged.

use bytes::BytesMut;
use tidings_proto::wire::DecodeError;
use tidings_proto::wire::codec::{self, Decoded, FIRST_FRAME_BYTES_MAX, FRAME_BYTES_MAX};
use tidings_proto::wire::frame::Frame;
use tidings_proto::wire::kind::FrameKind;

use crate::rng::Rng;

/// The kinds of frames that reports tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Batches sent because they are new.
    Push,
    /// Batches sent because they were pulled.
    Repair,
    /// Pings and pongs.
    Liveness,
    /// Views: hello, accept, refuse, interests, shuffles, goodbyes.
    Overlay,
    /// Announcements, prunes, grafts, how far streams have come along them.
    Trees,
    /// Heads, digests, pulls.
    Sync,
    /// Between peers and seeds.
    Seeds,
    /// Between seeds.
    Tables,
}

/// Names of [`Kind`]s, in order.
pub const KINDS: [&str; 8] =
    ["push", "repair", "liveness", "overlay", "trees", "sync", "seeds", "tables"];

/// The kind of a frame.
pub fn kind(frame: &Frame) -> Kind {
    match FrameKind::of(frame) {
        FrameKind::Push => Kind::Push,
        FrameKind::Repair => Kind::Repair,
        FrameKind::Liveness => Kind::Liveness,
        FrameKind::Overlay => Kind::Overlay,
        FrameKind::Announce | FrameKind::Prune | FrameKind::Graft | FrameKind::Frontier => {
            Kind::Trees
        }
        FrameKind::Digest | FrameKind::Heads | FrameKind::Pull => Kind::Sync,
        FrameKind::Seeds => Kind::Seeds,
        FrameKind::Tables => Kind::Tables,
    }
}

/// How many bytes a frame takes on a link, before encryption. The two that are most frequent
/// are known without encoding them.
pub fn size(frame: &Frame) -> usize {
    match frame {
        Frame::Batch(frame) => 12 + frame.batch.bytes().len(),
        // Length, kind and a nonce of 7 bits a byte.
        Frame::Ping(nonce) | Frame::Pong(nonce) => {
            5 + (64 - nonce.leading_zeros()).div_ceil(7).max(1) as usize
        }
        frame => codec::encode(frame).len(),
    }
}

/// Writes a frame behind what is in `buffer`.
pub fn append(buffer: &mut BytesMut, frame: &Frame) {
    let encoded = codec::encode(frame);
    buffer.extend_from_slice(&encoded.head);
    buffer.extend_from_slice(&encoded.tail);
}

/// Takes the next whole frame from what a link has received; unknown kinds are skipped, as
/// drivers do.
///
/// # Errors
/// What is wrong with the bytes.
pub fn take(buffer: &mut BytesMut, first: bool) -> Result<Option<Frame>, &'static str> {
    let limit = if first { FIRST_FRAME_BYTES_MAX } else { FRAME_BYTES_MAX };
    loop {
        match codec::decode(buffer, limit) {
            Ok(Decoded::Frame(frame)) => return Ok(Some(frame)),
            Ok(Decoded::Unknown(_)) => {}
            Ok(Decoded::Incomplete(_)) => return Ok(None),
            Err(DecodeError::TooLarge { what, .. }) => return Err(what),
            Err(DecodeError::Truncated) => return Err("truncated"),
            Err(DecodeError::Malformed(what)) => return Err(what),
        }
    }
}

/// Damages bytes in one of the ways that a broken or hostile sender might: changes some, cuts
/// the end off, repeats all of them, or replaces them by random ones.
pub fn damage(bytes: &mut BytesMut, rng: &mut Rng) {
    let way = rng.below(4);
    let at = rng.index(bytes.len());
    match way {
        0 => {
            for _ in 0..=rng.below(3) {
                let at = rng.index(bytes.len());
                bytes[at] ^= u8::try_from(1 + rng.below(255)).expect("at most 255");
            }
        }
        1 => bytes.truncate(at),
        2 => {
            let copy = bytes.clone();
            bytes.extend_from_slice(&copy);
        }
        _ => {
            for byte in bytes.iter_mut().skip(5) {
                *byte = u8::try_from(rng.below(256)).expect("at most 255");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_proto::Topic;
    use tidings_proto::wire::frame::{Digest, Goodbye, Reason};

    fn frames() -> Vec<Frame> {
        let nonces = [0, 1, 127, 128, 16_383, 16_384, u64::MAX >> 1, u64::MAX];
        let mut frames: Vec<Frame> = nonces.map(Frame::Ping).to_vec();
        frames.push(Frame::Accept);
        frames.push(Frame::Goodbye(Goodbye { reason: Reason::Leaving, text: "bye".into() }));
        frames.push(Frame::Digest(Digest { topic: Topic::overlay(), hash: [7; 32] }));
        frames
    }

    #[test]
    fn sizes_are_those_of_the_codec() {
        for frame in frames() {
            assert_eq!(size(&frame), codec::encode(&frame).len(), "{frame:?}");
        }
        assert_eq!(KINDS[kind(&Frame::Ping(1)) as usize], "liveness");
        assert_eq!(KINDS.len(), Kind::Tables as usize + 1);
    }

    #[test]
    fn damaged_streams_end_and_never_panic() {
        let mut rng = Rng::new(1, "damage");
        let mut malformed = 0;
        for _ in 0..2_000 {
            let mut buffer = BytesMut::new();
            for frame in frames() {
                let mut bytes = BytesMut::new();
                append(&mut bytes, &frame);
                if rng.chance(100_000) {
                    damage(&mut bytes, &mut rng);
                }
                buffer.extend_from_slice(&bytes);
            }
            while let Some(frame) = take(&mut buffer, false).unwrap_or_else(|_| {
                malformed += 1;
                None
            }) {
                assert!((kind(&frame) as usize) < KINDS.len());
            }
        }
        assert!(malformed > 100, "{malformed}");
    }
}
