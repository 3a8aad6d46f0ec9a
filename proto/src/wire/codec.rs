//! Frames to bytes and back.
//!
//! `length u32 | kind u8 | body`, the length counting kind and body. Kind 255 is a batch, whose
//! body is `cause u8 | hop u8 | tree u8 | age_ms u32 | batch`.

use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::wire::DecodeError;
use crate::wire::batch::{BATCH_BYTES_MAX, Batch};
use crate::wire::frame::{self, BatchFrame, Cause, Frame};

/// Bytes before the kind: the length.
pub const LENGTH_BYTES: usize = 4;
/// The largest first frame on a link (design §7.29).
pub const FIRST_FRAME_BYTES_MAX: usize = 4 << 10;
/// The largest frame that is not a batch.
pub const CONTROL_BYTES_MAX: usize = 64 << 10;
/// The largest frame of all.
pub const FRAME_BYTES_MAX: usize = BATCH_BYTES_MAX + BATCH_PREFIX_BYTES;

/// Room for a control frame to begin with: an announcement of one batch takes 30 bytes.
const CONTROL_BYTES_USUAL: usize = 64;
const BATCH_KIND: u8 = 255;
/// The kind and the fields of a batch frame before the batch.
const BATCH_PREFIX_BYTES: usize = 1 + 7;
/// One past the kind of the last control frame, [`Frame::Reached`].
const CONTROL_KINDS: u8 = 56;

/// A frame as it goes out: a small head to copy, and the shared bytes of a batch.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// Length, kind and all of the body that is not shared.
    pub head: Vec<u8>,
    /// The batch, empty for other frames.
    pub tail: Bytes,
}

impl Encoded {
    /// Bytes on the link.
    pub fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Never true: a frame has a head.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty()
    }
}

/// Writes a frame.
pub fn encode(frame: &Frame) -> Encoded {
    match frame {
        Frame::Batch(frame) => {
            let mut head = Vec::with_capacity(LENGTH_BYTES + BATCH_PREFIX_BYTES);
            let length = BATCH_PREFIX_BYTES + frame.batch.bytes().len();
            head.put_u32(u32::try_from(length).expect("batches are capped"));
            head.put_u8(BATCH_KIND);
            head.put_u8(match frame.cause {
                Cause::Push => 0,
                Cause::Pull => 1,
                Cause::History => 2,
                Cause::Retained => 3,
            });
            head.put_u8(frame.hop);
            head.put_u8(frame.tree);
            head.put_u32(frame.age_ms);
            Encoded { head, tail: frame.batch.bytes().clone() }
        }
        control => {
            // The length is written when it is known, so that the body is not copied.
            let mut head = Vec::with_capacity(CONTROL_BYTES_USUAL);
            head.put_u32(0);
            let mut head =
                postcard::to_extend(control, head).expect("control frames can be written");
            let length = head.len() - LENGTH_BYTES;
            debug_assert!(length <= CONTROL_BYTES_MAX, "control frame too large: {control:?}");
            let length = u32::try_from(length).expect("control frames are small");
            head[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
            Encoded { head, tail: Bytes::new() }
        }
    }
}

/// What the next bytes of a link are.
#[derive(Debug, PartialEq)]
pub enum Decoded {
    /// A frame.
    Frame(Frame),
    /// A frame of a kind that this version does not know; it was skipped.
    Unknown(u8),
    /// The next frame is not complete: this many bytes in all are needed for it.
    Incomplete(usize),
}

/// How many bytes the frame has in all that begins with `head`, when enough of it is there to say.
/// That is as long as it may be, as far as `head` shows: nothing has to be kept before.
///
/// # Errors
/// The frame is longer than `limit` or than a frame of its kind may be, or has no kind.
pub fn frame_length(head: &[u8], limit: usize) -> Result<Option<usize>, DecodeError> {
    let Some(prefix) = head.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = u32::from_be_bytes(*prefix) as usize;
    let limit = limit.min(FRAME_BYTES_MAX);
    if length > limit {
        return Err(DecodeError::TooLarge { what: "frame", limit });
    }
    if length == 0 {
        return Err(DecodeError::Malformed("frame length"));
    }
    let is_control = head.get(LENGTH_BYTES).is_some_and(|kind| *kind != BATCH_KIND);
    if is_control && length > CONTROL_BYTES_MAX {
        return Err(DecodeError::TooLarge { what: "control frame", limit: CONTROL_BYTES_MAX });
    }
    Ok(Some(LENGTH_BYTES + length))
}

/// Takes the next frame from `buffer`, which may hold the beginning of a frame, one, or many.
/// A frame longer than `limit` is refused before it is read.
///
/// # Errors
/// What is wrong with the bytes; the link is of no use after it.
pub fn decode(buffer: &mut BytesMut, limit: usize) -> Result<Decoded, DecodeError> {
    let Some(total) = frame_length(buffer, limit)? else {
        return Ok(Decoded::Incomplete(LENGTH_BYTES));
    };
    let (Some(&kind), true) = (buffer.get(LENGTH_BYTES), buffer.len() >= total) else {
        return Ok(Decoded::Incomplete(total));
    };
    // A buffer that is split is shared from then on, which costs an allocation.
    let whole = buffer.len() == total;
    let frame = if whole { core::mem::take(buffer) } else { buffer.split_to(total) };
    let mut body = frame.freeze();
    body.advance(LENGTH_BYTES);
    match kind {
        BATCH_KIND => decode_batch(body).map(|frame| Decoded::Frame(Frame::Batch(frame))),
        kind if kind >= CONTROL_KINDS => Ok(Decoded::Unknown(kind)),
        _ => decode_control(&body).map(Decoded::Frame),
    }
}

fn decode_batch(mut body: Bytes) -> Result<BatchFrame, DecodeError> {
    if body.len() < BATCH_PREFIX_BYTES {
        return Err(DecodeError::Truncated);
    }
    body.advance(1);
    let cause = match body.get_u8() {
        0 => Cause::Push,
        1 => Cause::Pull,
        2 => Cause::History,
        3 => Cause::Retained,
        _ => return Err(DecodeError::Malformed("cause")),
    };
    let hop = body.get_u8();
    let tree = body.get_u8();
    let age_ms = body.get_u32();
    let batch: Arc<Batch> = Batch::decode(body)?;
    Ok(BatchFrame { cause, hop, tree, age_ms, batch })
}

fn decode_control(body: &[u8]) -> Result<Frame, DecodeError> {
    let (frame, rest) = postcard::take_from_bytes::<Frame>(body)
        .map_err(|_| DecodeError::Malformed("control frame"))?;
    if !rest.is_empty() {
        return Err(DecodeError::Malformed("control frame length"));
    }
    check_counts(&frame)?;
    Ok(frame)
}

/// The counts that receivers rely on. Sizes are already bounded by the length of the frame.
fn check_counts(frame: &Frame) -> Result<(), DecodeError> {
    let (what, count, limit) = match frame {
        Frame::Hello(hello) if hello.cluster.len() > frame::CLUSTER_BYTES_MAX => {
            ("cluster name", hello.cluster.len(), frame::CLUSTER_BYTES_MAX)
        }
        Frame::Hello(hello) if hello.name.len() > crate::wire::record::NAME_BYTES_MAX => {
            ("name", hello.name.len(), crate::wire::record::NAME_BYTES_MAX)
        }
        Frame::Hello(hello) => ("wanted topics", hello.wanted.len(), frame::WANTED_MAX),
        Frame::Goodbye(bye) => ("text", bye.text.len(), frame::TEXT_BYTES_MAX),
        Frame::Refuse(peers) | Frame::Shuffle(peers) | Frame::ShuffleReply(peers) => {
            ("peers", peers.len(), frame::SAMPLE_MAX)
        }
        Frame::Interests(interests) => ("interests", interests.len(), frame::INTERESTS_MAX),
        Frame::Heads(heads) => ("heads", heads.heads.len(), frame::HEADS_MAX),
        Frame::Pull(pull) => ("ranges", pull.ranges.len(), frame::RANGES_MAX),
        Frame::History(history) => ("ranges", history.have.len(), frame::RANGES_MAX),
        Frame::Registered(answer) => {
            ("peers", answer.peers.len().max(answer.seeds.len()), frame::SAMPLE_MAX)
        }
        Frame::Renew(renew) => ("neighbors", renew.neighbors.len(), frame::SAMPLE_MAX),
        Frame::Renewed(answer) => {
            ("peers", answer.targets.len().max(answer.seeds.len()), frame::SAMPLE_MAX)
        }
        Frame::Put(put) => ("records", put.records.len(), frame::RECORDS_MAX),
        Frame::PutDone(done) => ("records", done.refused.len(), frame::RECORDS_MAX),
        Frame::Sample(sample) => ("peers", sample.peers.len(), frame::SAMPLE_MAX),
        Frame::Found(found) => ("peers", found.subscribers.len(), frame::SAMPLE_MAX),
        Frame::List(list) => ("filter", list.filter.len(), frame::TEXT_BYTES_MAX),
        Frame::PeerPage(page) => ("items", page.items.len(), frame::PAGE_MAX),
        Frame::TopicPage(page) => ("items", page.items.len(), frame::PAGE_MAX),
        Frame::Dead(dead) => ("votes", dead.votes.len(), frame::SAMPLE_MAX),
        Frame::Records(records) => ("records", records.len(), frame::RECORDS_MAX),
        Frame::RecordsRequest(hashes) => {
            let longest = hashes.peers.len().max(hashes.subscriptions.len());
            ("ranges", longest.max(hashes.topics.len()), frame::RANGE_HASHES_MAX)
        }
        Frame::Leases(leases) => ("leases", leases.len(), frame::LEASES_MAX),
        Frame::Watch(watch) => {
            let count = watch.topics.len() + watch.filters.len() + watch.dropped.len();
            ("watches", count, frame::RECORDS_MAX)
        }
        Frame::TopicNews(records) => ("records", records.len(), frame::RECORDS_MAX),
        Frame::Votes(votes) => ("votes", votes.votes.len(), frame::RECORDS_MAX),
        Frame::Admin(_, frame::AdminCommand::Forget(who)) => {
            ("name", who.len(), frame::TEXT_BYTES_MAX)
        }
        Frame::AdminDone(_, answer) => match &**answer {
            frame::AdminAnswer::Set(view) => {
                ("seeds", view.seeds.len(), 2 * crate::wire::record::SEEDS_MAX)
            }
            frame::AdminAnswer::Refused(text) => ("text", text.len(), frame::TEXT_BYTES_MAX),
            frame::AdminAnswer::NoQuorum | frame::AdminAnswer::Forgotten(_) => return Ok(()),
        },
        Frame::Announce(announce) => ("batches", announce.batches.len(), frame::NAMES_MAX),
        Frame::Graft(graft) => ("origins", graft.items.len(), frame::NAMES_MAX),
        _ => return Ok(()),
    };
    if count > limit { Err(DecodeError::TooLarge { what, limit }) } else { Ok(()) }
}
