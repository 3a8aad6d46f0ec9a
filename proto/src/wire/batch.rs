//! The batch: the unit of gossip. Consecutive messages of one stream, signed by their origin,
//! forwarded as the same bytes by everybody else.
//!
//! Fixed layout, integers big-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 1 | layout version, 3; what was kept on disk may have 2, of which another digest is signed |
//! | 1 + t | topic: length, then UTF-8 |
//! | 32 | origin's public key |
//! | 1 + 4 or 16 + 2 | origin's advertised address: 4 or 6, address, port |
//! | 8 | incarnation |
//! | 8 | generation of the topic |
//! | 8 | sequence number of the first message, from 1 |
//! | 8 | published at, microseconds since 1970 |
//! | 2 | number of messages n, from 1 |
//! | n × (2 + h + 4 + b) | messages: length and [headers](crate::wire::headers), length and body |
//! | 66 to 258 | [proof](crate::wire::proof) that the origin signed all bytes before it |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::crypto::{Digest, Scheme, Signer, digest, long_digest};
use crate::id::{Incarnation, NodeId, Origin, Topic};
use crate::wire::DecodeError;
use crate::wire::headers::{self, Headers};
use crate::wire::proof::{self, Claim, PROOF_BYTES_MAX};

/// The largest body of one message, in bytes (design limit; NATS has the same default).
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// The largest headers of one message, in bytes.
pub const HEADERS_BYTES_MAX: usize = 8 << 10;
/// The most messages in one batch (design §4.8).
pub const BATCH_MESSAGES_MAX: usize = 256;
/// A batch is closed when its messages reach this many bytes (design §4.8); one message may be
/// larger, and is then alone in its batch.
pub const BATCH_BYTES_TARGET: usize = 64 << 10;
/// The largest encoded batch: one message of the largest size and the fields around it.
pub const BATCH_BYTES_MAX: usize = MESSAGE_BYTES_MAX + HEADERS_BYTES_MAX + 1024;

/// The fields before the messages, with the longest topic and address.
const HEADER_BYTES_MAX: usize = 1 + 256 + 32 + 19 + 8 * 4 + 2;
const LAYOUT: u8 = 3;
const DOMAIN: &str = "tidings batch 3";
/// What peers kept on disk before may be of this layout, which differs in its digest only.
const FORMER_LAYOUT: u8 = 2;
const FORMER_DOMAIN: &str = "tidings batch 2";

/// One application message.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Message {
    /// Texts beside the body.
    pub headers: Headers,
    /// The body, at most [`MESSAGE_BYTES_MAX`].
    pub body: Bytes,
}

impl Message {
    /// A message without headers.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { headers: Headers::default(), body: body.into() }
    }

    /// Bytes that this message takes in a batch.
    pub fn encoded_len(&self) -> usize {
        6 + self.headers.encoded().len() + self.body.len()
    }
}

/// What the origin says of a batch; everything in it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The topic.
    pub topic: Topic,
    /// The publisher and its life.
    pub origin: Origin,
    /// Where the publisher can be dialled.
    pub address: SocketAddr,
    /// Which creation of the topic this was published to; 0 for internal topics.
    pub generation: u64,
    /// Sequence number of the first message, from 1.
    pub first_seq: u64,
    /// When it was signed, in microseconds since 1970 by the origin's clock. Information only.
    pub published_at_us: i64,
    /// Number of messages, at least 1.
    pub count: u16,
}

impl BatchHeader {
    /// Sequence number of the last message.
    pub fn last_seq(&self) -> u64 {
        self.first_seq.saturating_add(u64::from(self.count).saturating_sub(1))
    }
}

/// A batch as received or made: its bytes never change, and are shared by all who hold it.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch {
    header: BatchHeader,
    messages_at: usize,
    /// Where the proof begins, and what is signed ends.
    proof_at: usize,
    malformed_headers: u16,
    bytes: Bytes,
}

impl Batch {
    /// Makes and signs a batch. `header.count` is taken from `messages`.
    ///
    /// # Panics
    /// As [`Self::sign_all`].
    pub fn sign(header: BatchHeader, messages: &[Message], signer: &Signer) -> Arc<Self> {
        Self::sign_all(vec![(header, messages)], signer).remove(0)
    }

    /// Makes batches and signs them together, for the price of one signature. `header.count` is
    /// taken from the messages.
    ///
    /// # Panics
    /// When a message or their number is over the limits, which the caller has checked.
    pub fn sign_all(batches: Vec<(BatchHeader, &[Message])>, signer: &Signer) -> Vec<Arc<Self>> {
        let unsigned: Vec<_> =
            batches.into_iter().map(|(header, messages)| Unsigned::new(header, messages)).collect();
        let leaves: Vec<Digest> = unsigned.iter().map(|one| leaf(&one.bytes)).collect();
        let proofs = proof::prove(&leaves, signer);
        unsigned.into_iter().zip(proofs).map(|(one, proof)| one.with_proof(&proof)).collect()
    }

    /// Reads a batch and checks its structure, not its signature.
    ///
    /// # Errors
    /// The first thing that is wrong with the bytes.
    pub fn decode(bytes: Bytes) -> Result<Arc<Self>, DecodeError> {
        if bytes.len() > BATCH_BYTES_MAX {
            return Err(DecodeError::TooLarge { what: "batch", limit: BATCH_BYTES_MAX });
        }
        let mut reader = Reader { rest: &bytes };
        let header = reader.header()?;
        let messages_at = bytes.len() - reader.rest.len();
        let mut malformed_headers = 0;
        for _ in 0..header.count {
            let headers = usize::from(reader.u16()?);
            check_limit("message headers", headers, HEADERS_BYTES_MAX)?;
            // Its origin is at fault, not who passes it on: the message arrives without them.
            malformed_headers += u16::from(!headers::is_legal(reader.take(headers)?));
            let body = reader.u32()? as usize;
            check_limit("message", body, MESSAGE_BYTES_MAX)?;
            reader.take(body)?;
        }
        proof::check(reader.rest)?;
        let proof_at = bytes.len() - reader.rest.len();
        Ok(Arc::new(Self { header, messages_at, proof_at, malformed_headers, bytes }))
    }

    /// Whether the origin signed these bytes.
    pub fn verify(&self, scheme: Scheme) -> bool {
        let Claim { root, signature } = self.claim();
        scheme.key(&self.header.origin.node).verify(&root, &signature)
    }

    /// What the origin is said to have signed, for this batch and those signed with it.
    pub fn claim(&self) -> Claim {
        let (signed, proof) = self.bytes.split_at(self.proof_at);
        proof::claim(leaf(signed), proof)
    }

    /// What the origin says of it.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The encoded batch.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many messages have headers that cannot be read, and come without them.
    pub fn malformed_headers(&self) -> u16 {
        self.malformed_headers
    }

    /// The message that its topic retains, if this batch is one: it is alone in it.
    pub fn retained(&self) -> Option<Message> {
        let (_, only) = self.messages().next().filter(|_| self.header.count == 1)?;
        only.headers.get(headers::RETAIN).is_some().then_some(only)
    }

    /// The messages with their sequence numbers, without copying.
    pub fn messages(&self) -> impl Iterator<Item = (u64, Message)> + '_ {
        let mut at = self.messages_at;
        (0..u64::from(self.header.count)).map(move |i| {
            let headers = Headers::decode(self.slice(&mut at, 2)).unwrap_or_default();
            let body = self.slice(&mut at, 4);
            (self.header.first_seq.saturating_add(i), Message { headers, body })
        })
    }

    /// Reads a length of `width` bytes and that many bytes; `decode` proved that they exist.
    fn slice(&self, at: &mut usize, width: usize) -> Bytes {
        let length = self.bytes[*at..*at + width].iter().fold(0, |n, b| n << 8 | usize::from(*b));
        let start = *at + width;
        *at = start + length;
        self.bytes.slice(start..*at)
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let BatchHeader { topic, origin, first_seq, count, .. } = &self.header;
        write!(f, "Batch({topic} {:?} {first_seq}+{count} <{} b>)", origin.node, self.bytes.len())
    }
}

/// What of a batch is signed, as a digest.
fn leaf(signed: &[u8]) -> Digest {
    if signed.first() == Some(&FORMER_LAYOUT) {
        digest(FORMER_DOMAIN, signed)
    } else {
        long_digest(DOMAIN, signed)
    }
}

/// A batch without its proof.
struct Unsigned {
    header: BatchHeader,
    messages_at: usize,
    bytes: BytesMut,
}

impl Unsigned {
    fn new(mut header: BatchHeader, messages: &[Message]) -> Self {
        assert!(!messages.is_empty() && messages.len() <= BATCH_MESSAGES_MAX, "batch size");
        header.count = u16::try_from(messages.len()).expect("checked above");
        let length: usize = messages.iter().map(Message::encoded_len).sum();
        let mut bytes = BytesMut::with_capacity(length + HEADER_BYTES_MAX + PROOF_BYTES_MAX);
        put_header(&mut bytes, &header);
        let messages_at = bytes.len();
        for message in messages {
            let headers = message.headers.encoded();
            bytes.put_u16(u16::try_from(headers.len()).expect("headers within limit"));
            bytes.put_slice(headers);
            bytes.put_u32(u32::try_from(message.body.len()).expect("body within limit"));
            bytes.put_slice(&message.body);
        }
        Self { header, messages_at, bytes }
    }

    fn with_proof(mut self, proof: &[u8]) -> Arc<Batch> {
        let proof_at = self.bytes.len();
        self.bytes.put_slice(proof);
        Arc::new(Batch {
            header: self.header,
            messages_at: self.messages_at,
            proof_at,
            malformed_headers: 0,
            bytes: self.bytes.freeze(),
        })
    }
}

fn put_header(out: &mut BytesMut, header: &BatchHeader) {
    out.put_u8(LAYOUT);
    let topic = header.topic.as_str();
    out.put_u8(u8::try_from(topic.len()).expect("a topic has at most 255 bytes"));
    out.put_slice(topic.as_bytes());
    out.put_slice(&header.origin.node.0);
    match header.address.ip() {
        IpAddr::V4(ip) => {
            out.put_u8(4);
            out.put_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.put_u8(6);
            out.put_slice(&ip.octets());
        }
    }
    out.put_u16(header.address.port());
    out.put_u64(header.origin.incarnation.0);
    out.put_u64(header.generation);
    out.put_u64(header.first_seq);
    out.put_i64(header.published_at_us);
    out.put_u16(header.count);
}

fn check_limit(what: &'static str, length: usize, limit: usize) -> Result<(), DecodeError> {
    if length > limit { Err(DecodeError::TooLarge { what, limit }) } else { Ok(()) }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn header(&mut self) -> Result<BatchHeader, DecodeError> {
        if !matches!(self.u8()?, LAYOUT | FORMER_LAYOUT) {
            return Err(DecodeError::Malformed("batch layout"));
        }
        let length = usize::from(self.u8()?);
        let topic = core::str::from_utf8(self.take(length)?)
            .map_err(|_| DecodeError::Malformed("topic"))
            .and_then(|name| Topic::any(name).map_err(|_| DecodeError::Malformed("topic")))?;
        let node = NodeId(self.array()?);
        let ip = match self.u8()? {
            4 => IpAddr::V4(Ipv4Addr::from(self.array::<4>()?)),
            6 => IpAddr::V6(Ipv6Addr::from(self.array::<16>()?)),
            _ => return Err(DecodeError::Malformed("address family")),
        };
        let address = SocketAddr::new(ip, self.u16()?);
        let origin = Origin { node, incarnation: Incarnation(self.u64()?) };
        let generation = self.u64()?;
        let first_seq = self.u64()?;
        let published_at_us = i64::from_be_bytes(self.array()?);
        let count = self.u16()?;
        let in_range = first_seq > 0 && first_seq.checked_add(u64::from(count)).is_some();
        if count == 0 || usize::from(count) > BATCH_MESSAGES_MAX || !in_range {
            return Err(DecodeError::Malformed("batch sequence"));
        }
        Ok(BatchHeader { topic, origin, address, generation, first_seq, published_at_us, count })
    }
}
