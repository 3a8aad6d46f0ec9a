use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::batch::{Batch, BatchHeader, Message};
use super::codec::{Decoded, FRAME_BYTES_MAX, decode, encode};
use super::frame::{
    AdminAnswer, AdminCommand, Ballot, BatchFrame, Cause, Decree, ForgetStep, Forgetting, Frame,
    Goodbye, Hello, HistoryDone, KnownTopic, Purpose, Reason, Role, Step, Watch,
};
use super::headers::Headers;
use super::record::{PeerRecord, Record, SignedRecord};
use crate::crypto::{Scheme, Signer, digest};
use crate::filter::TopicFilter;
use crate::id::{Incarnation, NodeId, Origin, RequestId, Topic};
use crate::wire::DecodeError;

fn signer() -> Signer {
    Signer::ed25519(&[7; 32])
}

fn batch(messages: &[Message]) -> std::sync::Arc<Batch> {
    let header = BatchHeader {
        topic: Topic::new("sport/football").expect("legal"),
        origin: Origin { node: signer().node(), incarnation: Incarnation(3) },
        address: "127.0.0.1:7201".parse().expect("address"),
        generation: 1,
        first_seq: 5,
        published_at_us: 1_700_000_000_000_000,
        count: 0,
    };
    Batch::sign(header, messages, &signer())
}

fn bytes_of(frame: &Frame) -> BytesMut {
    let encoded = encode(frame);
    let mut bytes = BytesMut::from(&encoded.head[..]);
    bytes.extend_from_slice(&encoded.tail);
    bytes
}

fn hello() -> Frame {
    Frame::Hello(Box::new(Hello {
        version: 1,
        cluster: "local".into(),
        role: Role::Peer,
        purpose: Purpose::Neighbor,
        incarnation: Incarnation(9),
        address: "[::1]:7200".parse().expect("address"),
        name: "ada".into(),
        wanted: vec![u64::MAX; 3],
        urgent: true,
    }))
}

#[test]
fn headers_travel_and_bad_ones_cost_only_themselves() {
    let headers = Headers::new([("kind", "goal"), ("minute", "90")]).expect("legal");
    let with = Message { headers: headers.clone(), body: "x".into() };
    let sent = batch(&[with, Message::new("y")]);
    let received = Batch::decode(sent.bytes().clone()).expect("decodes");
    let read: Vec<_> = received.messages().map(|(_, message)| message.headers).collect();
    assert_eq!(read, [headers, Headers::default()]);
    assert_eq!(received.malformed_headers(), 0);

    let mut bytes = sent.bytes().to_vec();
    let at = bytes.windows(6).position(|six| six == b"minute").expect("encoded as it is");
    bytes[at] = 0xff;
    let received = Batch::decode(bytes.into()).expect("decodes all the same");
    assert_eq!(received.malformed_headers(), 1);
    let read: Vec<_> = received.messages().map(|(_, m)| (m.headers, m.body)).collect();
    assert_eq!(read, [(Headers::default(), "x".into()), (Headers::default(), "y".into())]);
}

#[test]
fn batch_survives_the_wire_and_is_verified() {
    let sent = batch(&[Message::new("a"), Message::new(""), Message::new(vec![0; 70_000])]);
    let received = Batch::decode(sent.bytes().clone()).expect("decodes");
    assert_eq!(received, sent);
    assert!(received.verify(Scheme::Ed25519));
    let sequences: Vec<_> = received.messages().map(|(seq, m)| (seq, m.body.len())).collect();
    assert_eq!(sequences, [(5, 1), (6, 0), (7, 70_000)]);
    assert_eq!(received.header().last_seq(), 7);
}

#[test]
fn any_changed_byte_of_a_batch_is_noticed() {
    let sent = batch(&[Message::new("hello")]);
    for at in 0..sent.bytes().len() {
        let mut bytes = sent.bytes().to_vec();
        bytes[at] ^= 1;
        let accepted = Batch::decode(bytes.into()).is_ok_and(|b| b.verify(Scheme::Ed25519));
        assert!(!accepted, "byte {at}");
    }
}

#[test]
fn any_changed_byte_of_batches_signed_together_is_noticed() {
    let header = batch(&[Message::new("x")]).header().clone();
    let second = BatchHeader { first_seq: 6, ..header.clone() };
    let (one, two) = ([Message::new("a")], [Message::new("b")]);
    let signed = Batch::sign_all(vec![(header, &one), (second, &two)], &signer());
    assert_eq!(signed[0].claim(), signed[1].claim());
    for sent in signed {
        assert!(sent.verify(Scheme::Ed25519));
        for at in 0..sent.bytes().len() {
            let mut bytes = sent.bytes().to_vec();
            bytes[at] ^= 1;
            let accepted = Batch::decode(bytes.into()).is_ok_and(|b| b.verify(Scheme::Ed25519));
            assert!(!accepted, "byte {at}");
        }
    }
}

#[test]
fn a_batch_of_the_former_layout_is_checked_by_its_own_digest() {
    let now = batch(&[Message::new("kept on disk")]);
    let mut bytes = now.bytes()[..now.bytes().len() - 66].to_vec();
    bytes[0] = 2;
    let signature = signer().sign_digest(&digest("tidings batch 2", &bytes));
    bytes.extend([0, 0]);
    bytes.extend(signature.0);
    let former = Batch::decode(bytes.clone().into()).expect("decodes");
    assert!(former.verify(Scheme::Ed25519));
    assert_eq!((former.header(), former.bytes().len()), (now.header(), now.bytes().len()));
    bytes[0] = 3;
    assert!(!Batch::decode(bytes.into()).expect("decodes").verify(Scheme::Ed25519));
}

#[test]
fn golden_bytes_of_a_batch_prefix() {
    let sent = batch(&[Message::new("hi")]);
    let prefix: String = sent.bytes()[..16].iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(prefix, "030e73706f72742f666f6f7462616c6c");
    // layout, topic, key, address, four u64, count, one message, proof without a path
    assert_eq!(sent.bytes().len(), 1 + 15 + 32 + 7 + 32 + 2 + (6 + 2) + 2 + 64);
}

#[test]
fn golden_bytes_of_control_frames() {
    assert_eq!(&bytes_of(&Frame::Ping(1))[..], [0, 0, 0, 2, 2, 1]);
    assert_eq!(&bytes_of(&Frame::Accept)[..], [0, 0, 0, 1, 4]);
    let bye = Frame::Goodbye(Goodbye { reason: Reason::Leaving, text: "x".into() });
    assert_eq!(&bytes_of(&bye)[..], [0, 0, 0, 4, 1, 0, 1, b'x']);
    let hashes = crate::wire::frame::RangeHashes {
        peers: vec![1],
        subscriptions: Vec::new(),
        topics: vec![2, 300],
    };
    let request = bytes_of(&Frame::RecordsRequest(Box::new(hashes)));
    assert_eq!(&request[..], [0, 0, 0, 8, 32, 1, 1, 0, 2, 2, 0xac, 2]);
    let topic = Topic::new("a").expect("legal");
    assert_eq!(&bytes_of(&Frame::GraftAll(topic.clone()))[..], [0, 0, 0, 3, 36, 1, b'a']);
    let filters = vec![TopicFilter::new("#").expect("legal")];
    let known = KnownTopic { topic: topic.clone(), generation: 2, version: 3 };
    let watch = Frame::Watch(Watch {
        request: RequestId(7),
        topics: vec![known],
        filters,
        dropped: Vec::new(),
    });
    assert_eq!(&bytes_of(&watch)[..], [0, 0, 0, 11, 41, 7, 1, 1, b'a', 2, 3, 1, 1, b'#', 0]);
    let ballot = Ballot { round: 5, seed: NodeId([9; 32]) };
    let decree = bytes_of(&Frame::Decree(Decree { topic, set: 4, ballot, step: Step::Accepted }));
    assert_eq!(decree[..9], [0, 0, 0, 38, 44, 1, b'a', 4, 5]);
    assert_eq!(decree[9..], [&[9; 32][..], &[3]].concat());
    assert_eq!(&bytes_of(&Frame::VotesRequest)[..], [0, 0, 0, 1, 45]);
    let done = HistoryDone { request: RequestId(5), next: None, holds: true };
    assert_eq!(&bytes_of(&Frame::HistoryDone(done))[..], [0, 0, 0, 4, 38, 5, 0, 1]);
    let asked = bytes_of(&Frame::VoteAsked(NodeId([9; 32]), Incarnation(3), RequestId(5)));
    assert_eq!(asked[..5], [0, 0, 0, 35, 48]);
    assert_eq!(asked[5..], [&[9; 32][..], &[3, 5]].concat());
    let stands = bytes_of(&Frame::VoteStands(NodeId([9; 32]), Incarnation(3), RequestId(5)));
    assert_eq!(stands[..5], [0, 0, 0, 35, 49]);
    assert_eq!(&bytes_of(&Frame::Settled(3))[..], [0, 0, 0, 2, 51, 3]);
    let show = Frame::Admin(RequestId(5), AdminCommand::ShowSet);
    assert_eq!(&bytes_of(&show)[..], [0, 0, 0, 3, 52, 5, 0]);
    let none = Frame::AdminDone(RequestId(5), Box::new(AdminAnswer::NoQuorum));
    assert_eq!(&bytes_of(&none)[..], [0, 0, 0, 3, 53, 5, 2]);
    let forget = Frame::Admin(RequestId(5), AdminCommand::Forget("a".into()));
    assert_eq!(&bytes_of(&forget)[..], [0, 0, 0, 5, 52, 5, 3, 1, b'a']);
    let (node, incarnation, round) = (NodeId([9; 32]), Incarnation(3), RequestId(5));
    let gone = Forgetting { node, incarnation, round, step: ForgetStep::Gone };
    let gone = bytes_of(&Frame::Forgetting(gone));
    assert_eq!(gone[..5], [0, 0, 0, 36, 54]);
    assert_eq!(gone[5..], [&[9; 32][..], &[3, 5, 1]].concat());
}

#[test]
fn frames_are_taken_one_by_one_from_any_split() {
    let pushed = Frame::Batch(BatchFrame {
        cause: Cause::Push,
        hop: 1,
        tree: 2,
        age_ms: 3,
        batch: batch(&[Message::new("x")]),
    });
    let frames = [hello(), Frame::Ping(7), pushed, Frame::Accept];
    let stream: Vec<u8> = frames.iter().flat_map(|f| bytes_of(f).to_vec()).collect();
    let mut buffer = BytesMut::new();
    let mut received = Vec::new();
    for byte in stream {
        buffer.extend_from_slice(&[byte]);
        while let Decoded::Frame(frame) = decode(&mut buffer, FRAME_BYTES_MAX).expect("decodes") {
            received.push(frame);
        }
    }
    assert_eq!(received, frames);
}

#[test]
fn oversized_lengths_are_refused_before_the_bytes_come() {
    let mut large = BytesMut::from(&u32::MAX.to_be_bytes()[..]);
    assert!(matches!(decode(&mut large, FRAME_BYTES_MAX), Err(DecodeError::TooLarge { .. })));
    let mut control = BytesMut::from(&[0, 2, 0, 0, 0][..]);
    assert!(matches!(decode(&mut control, FRAME_BYTES_MAX), Err(DecodeError::TooLarge { .. })));
    let mut first = bytes_of(&Frame::Shuffle(Vec::new()));
    assert!(matches!(decode(&mut first, 0), Err(DecodeError::TooLarge { .. })));
    let mut empty = BytesMut::from(&[0, 0, 0, 0][..]);
    assert_eq!(decode(&mut empty, FRAME_BYTES_MAX), Err(DecodeError::Malformed("frame length")));
}

#[test]
fn unknown_kinds_are_skipped() {
    let mut buffer = BytesMut::from(&[0, 0, 0, 3, 200, 1, 2][..]);
    buffer.extend_from_slice(&bytes_of(&Frame::Accept));
    assert_eq!(decode(&mut buffer, FRAME_BYTES_MAX), Ok(Decoded::Unknown(200)));
    assert_eq!(decode(&mut buffer, FRAME_BYTES_MAX), Ok(Decoded::Frame(Frame::Accept)));
}

#[test]
fn records_are_bound_to_their_owner() {
    let record = PeerRecord {
        node: signer().node(),
        incarnation: Incarnation(1),
        version: 1,
        addresses: vec!["127.0.0.1:1".parse().expect("address")],
        name: "ada".into(),
        left: false,
    };
    let signed = SignedRecord::sign(Record::Peer(record.clone()), &signer());
    assert!(signed.verify(Scheme::Ed25519));
    let forged = Record::Peer(PeerRecord { left: true, ..record.clone() });
    assert!(!SignedRecord { record: forged, ..signed }.verify(Scheme::Ed25519));
    let homeless = Record::Peer(PeerRecord { addresses: Vec::new(), ..record });
    assert!(!SignedRecord::sign(homeless, &signer()).verify(Scheme::Ed25519));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut buffer = BytesMut::from(&bytes[..]);
        while let Ok(Decoded::Frame(_) | Decoded::Unknown(_)) = decode(&mut buffer, FRAME_BYTES_MAX)
        {}
        let _ = Batch::decode(Bytes::from(bytes));
    }

    #[test]
    fn damaged_frames_never_panic(at in 0usize..500, value: u8) {
        let mut frame = bytes_of(&Frame::Batch(BatchFrame {
            cause: Cause::Pull, hop: 0, tree: 0, age_ms: 0,
            batch: batch(&[Message::new("one"), Message::new("two")]),
        }));
        let at = at % frame.len();
        frame[at] = value;
        if let Ok(Decoded::Frame(Frame::Batch(frame))) = decode(&mut frame, FRAME_BYTES_MAX) {
            let _ = frame.batch.messages().count();
        }
    }
}
