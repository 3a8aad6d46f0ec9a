//! What of the next frame of a link has come.
//!
//! Each frame is put together in memory of its own size. A batch may be retained for long: it
//! would keep alive whatever was read with it, and a buffer that grows with what comes is copied
//! each time, and its pages are touched anew.

use bytes::{BufMut as _, BytesMut};
use tidings_proto::wire::DecodeError;
use tidings_proto::wire::codec::{self, Decoded, FIRST_FRAME_BYTES_MAX, FRAME_BYTES_MAX};
use tidings_proto::wire::frame::Frame;

/// The length and the kind: what is needed to know whether a frame may be as long as it says.
const HEAD_BYTES: usize = codec::LENGTH_BYTES + 1;
/// Memory for so much of a frame is taken before any of it came: whoever only says that a large
/// one follows does not get more. What a batch under load takes.
const AHEAD_BYTES_MAX: usize = 72 << 10;

/// The beginning of a link's next frame.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// The first bytes, until they are complete.
    head: [u8; HEAD_BYTES],
    head_length: usize,
    /// The frame, once its length is known and legal.
    frame: BytesMut,
    /// Its length in all; 0 while it is not known.
    wanted: usize,
    /// Until the first frame was read, none may be larger than a first frame is.
    greeted: bool,
    /// Frames of a kind that this version does not know.
    pub(crate) unknown_frames: u64,
}

impl Inbox {
    /// Takes all of `bytes`, and hands on the frames that are complete, each with its length in
    /// bytes.
    ///
    /// # Errors
    /// What is wrong with the bytes; the link is of no use after it.
    pub(crate) fn take(
        &mut self,
        mut bytes: &[u8],
        receive: &mut impl FnMut(Frame, usize),
    ) -> Result<(), DecodeError> {
        while !bytes.is_empty() {
            if self.wanted == 0 {
                bytes = self.take_head(bytes)?;
            } else {
                bytes = self.take_body(bytes);
            }
            if self.wanted > 0 && self.frame.len() == self.wanted {
                self.finish(receive)?;
            }
        }
        Ok(())
    }

    /// Forgets what has come of a frame.
    pub(crate) fn clear(&mut self) {
        (self.head_length, self.wanted, self.frame) = (0, 0, BytesMut::new());
    }

    fn limit(&self) -> usize {
        if self.greeted { FRAME_BYTES_MAX } else { FIRST_FRAME_BYTES_MAX }
    }

    fn take_head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], DecodeError> {
        let (first, rest) = bytes.split_at(bytes.len().min(HEAD_BYTES - self.head_length));
        self.head[self.head_length..self.head_length + first.len()].copy_from_slice(first);
        self.head_length += first.len();
        let head = &self.head[..self.head_length];
        // A length that is not legal is refused before the kind has come.
        let length = codec::frame_length(head, self.limit())?;
        if self.head_length == HEAD_BYTES {
            self.wanted = length.unwrap_or(HEAD_BYTES);
            self.frame = BytesMut::with_capacity(self.wanted.min(AHEAD_BYTES_MAX));
            self.frame.put_slice(head);
            self.head_length = 0;
        }
        Ok(rest)
    }

    fn take_body<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let missing = self.wanted - self.frame.len();
        let (now, rest) = bytes.split_at(bytes.len().min(missing));
        if self.frame.capacity() - self.frame.len() < now.len() {
            self.frame.reserve(missing);
        }
        self.frame.put_slice(now);
        rest
    }

    fn finish(&mut self, receive: &mut impl FnMut(Frame, usize)) -> Result<(), DecodeError> {
        let length = std::mem::take(&mut self.wanted);
        let mut frame = std::mem::take(&mut self.frame);
        match codec::decode(&mut frame, self.limit())? {
            Decoded::Frame(frame) => {
                self.greeted = true;
                receive(frame, length);
            }
            Decoded::Unknown(_) => self.unknown_frames += 1,
            Decoded::Incomplete(_) => return Err(DecodeError::Truncated),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_proto::crypto::Signer;
    use tidings_proto::wire::batch::{Batch, BatchHeader, Message};
    use tidings_proto::wire::frame::{BatchFrame, Cause};
    use tidings_proto::{Incarnation, Origin, Topic};

    fn batch(body: usize) -> Frame {
        let signer = Signer::ed25519(&[1; 32]);
        let header = BatchHeader {
            topic: Topic::overlay(),
            origin: Origin { node: signer.node(), incarnation: Incarnation(1) },
            address: ([127, 0, 0, 1], 1).into(),
            generation: 1,
            first_seq: 1,
            published_at_us: 0,
            count: 1,
        };
        let batch = Batch::sign(header, &[Message::new(vec![7; body])], &signer);
        Frame::Batch(BatchFrame { cause: Cause::Push, hop: 1, tree: 0, age_ms: 0, batch })
    }

    fn frames() -> Vec<Frame> {
        vec![Frame::Ping(1), batch(10), Frame::Ping(2), batch(200_000), Frame::Ping(3)]
    }

    fn bytes_of(frame: &Frame) -> Vec<u8> {
        let encoded = codec::encode(frame);
        [&encoded.head[..], &encoded.tail[..]].concat()
    }

    #[test]
    fn frames_come_whole_however_their_bytes_are_cut() {
        let all: Vec<u8> = frames().iter().flat_map(bytes_of).collect();
        for step in [1, 3, 5, 64, 16_384, all.len()] {
            let mut inbox = Inbox::default();
            let (mut seen, mut total) = (Vec::new(), 0);
            for part in all.chunks(step) {
                let mut receive = |frame, length| {
                    seen.push(frame);
                    total += length;
                };
                inbox.take(part, &mut receive).expect("legal");
            }
            assert_eq!((seen, total), (frames(), all.len()), "in steps of {step}");
            assert_eq!(inbox.frame.capacity(), 0, "nothing is kept");
        }
    }

    #[test]
    fn a_batch_keeps_its_own_memory_only() {
        let mut inbox = Inbox::default();
        let bytes = [bytes_of(&Frame::Ping(1)), bytes_of(&batch(60_000))].concat();
        let mut receive = |frame: Frame, length: usize| {
            if let Frame::Batch(frame) = frame {
                assert!(frame.batch.bytes().len() > 60_000 && length < 61_000);
            }
        };
        inbox.take(&bytes, &mut receive).expect("legal");
    }

    #[test]
    fn what_is_said_to_follow_takes_memory_when_it_comes() {
        let mut inbox = Inbox::default();
        inbox.take(&bytes_of(&Frame::Ping(1)), &mut |_, _| {}).expect("legal");
        let large = bytes_of(&batch(1 << 20));
        inbox.take(&large[..100], &mut |_, _| panic!("not complete")).expect("legal");
        assert!(inbox.frame.capacity() <= AHEAD_BYTES_MAX);
        let mut come = 0;
        inbox.take(&large[100..], &mut |_, length| come = length).expect("legal");
        assert_eq!(come, large.len());
    }

    #[test]
    fn a_length_that_is_not_legal_is_refused_before_anything_follows() {
        let refused = |bytes: &[u8]| Inbox::default().take(bytes, &mut |_, _| {}).is_err();
        assert!(refused(&5_000_u32.to_be_bytes()), "for a first frame");
        assert!(refused(&0_u32.to_be_bytes()));
        let mut inbox = Inbox::default();
        inbox.take(&bytes_of(&Frame::Ping(1)), &mut |_, _| {}).expect("legal");
        inbox.take(&5_000_u32.to_be_bytes(), &mut |_, _| {}).expect("legal after it");
        let mut inbox = Inbox::default();
        inbox.take(&bytes_of(&Frame::Ping(1)), &mut |_, _| {}).expect("legal");
        let long_ping = [&100_000_u32.to_be_bytes()[..], &[3]].concat();
        assert!(inbox.take(&long_ping, &mut |_, _| {}).is_err(), "no batch");
    }

    #[test]
    fn frames_of_unknown_kinds_are_skipped_and_counted() {
        let mut inbox = Inbox::default();
        let bytes = [vec![0, 0, 0, 2, 250, 0], bytes_of(&Frame::Ping(9))].concat();
        let mut seen = Vec::new();
        inbox.take(&bytes, &mut |frame, _| seen.push(frame)).expect("legal");
        assert_eq!((seen, inbox.unknown_frames), (vec![Frame::Ping(9)], 1));
    }
}
