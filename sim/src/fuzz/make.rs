//! Frames as a script chooses them: legal ones and nonsense, from few nodes and topics, so that
//! they meet each other.

use std::sync::Arc;

use tidings_proto::crypto::Signer;
use tidings_proto::wire::batch::{Batch, BatchHeader, Message};
use tidings_proto::wire::frame::{
    Absence, Announce, BatchFrame, BatchName, Cause, Dead, Digest, Found, Frame, Goodbye, Graft,
    GraftItem, Head, Heads, Hello, Hosting, Interest, Kind, Lease, List, Lookup, Mode,
    PROTOCOL_VERSION, PeerEntry, Prune, Pull, PullDone, Purpose, Put, PutDone, Range, Reason,
    Register, Registered, Renew, Renewed, Report, Role, Sample, SampleRequest,
};
use tidings_proto::wire::record::{
    DeathVote, PeerRecord, Record, SignedRecord, SubscriptionRecord, TopicPolicy, TopicRecord,
};
use tidings_proto::{Incarnation, NodeId, Origin, RequestId, Topic};

use super::Script;
use crate::network::address;

/// Nodes that occur: 0 is the machine itself.
pub(super) const NODES: u8 = 8;
/// The first of the nodes that are seeds.
pub(super) const SEEDS: std::ops::Range<u8> = 5..NODES;
/// Topics that occur.
const TOPICS: usize = 3;
/// When batches are published: what a fresh machine believes to be the present.
pub(super) const WALL_US: i64 = 1_700_000_000_000_000;

pub(super) fn node(n: u8) -> NodeId {
    NodeId([n + 1; 32])
}

fn some_node(script: &mut Script<'_>) -> u8 {
    script.byte() % NODES
}

/// The topic that most is about.
pub(super) fn first_topic() -> Topic {
    Topic::new("t/0").expect("legal")
}

pub(super) fn topic(script: &mut Script<'_>) -> Topic {
    match script.below(TOPICS + 3) {
        TOPICS => Topic::overlay(),
        n if n > TOPICS => first_topic(),
        n => Topic::new(&format!("t/{n}")).expect("legal"),
    }
}

fn entry(script: &mut Script<'_>) -> PeerEntry {
    let n = some_node(script);
    PeerEntry { node: node(n), incarnation: incarnation(script), address: address(n.into()) }
}

fn entries(script: &mut Script<'_>) -> Vec<PeerEntry> {
    (0..script.below(5)).map(|_| entry(script)).collect()
}

fn incarnation(script: &mut Script<'_>) -> Incarnation {
    Incarnation(1 + u64::from(script.byte() % 3))
}

fn origin(script: &mut Script<'_>) -> Origin {
    Origin { node: node(some_node(script)), incarnation: Incarnation(1) }
}

fn request(script: &mut Script<'_>) -> RequestId {
    RequestId(script.below(12) as u64)
}

/// A number of a stream: near the beginning, or anywhere.
fn seq(script: &mut Script<'_>) -> u64 {
    match script.byte() {
        255 => u64::MAX - u64::from(script.byte()),
        n => u64::from(n % 24),
    }
}

/// Legal or not.
fn signed(script: &mut Script<'_>, record: Record) -> SignedRecord {
    let mut signed = SignedRecord::sign(record.clone(), &Signer::Checksum(record.owner()));
    if script.byte() == 0xff {
        signed.signature.0[0] ^= 1;
    }
    signed
}

fn record(script: &mut Script<'_>, n: u8) -> SignedRecord {
    let record = match script.below(8) {
        0..=2 => Record::Peer(PeerRecord {
            node: node(n),
            incarnation: incarnation(script),
            version: seq(script),
            addresses: (0..script.below(3)).map(|_| address(n.into())).collect(),
            name: String::new(),
            left: script.below(6) == 5,
        }),
        3 | 4 => Record::Subscription(SubscriptionRecord {
            node: node(n),
            incarnation: incarnation(script),
            topic: topic(script),
            version: seq(script),
            subscribed: script.below(3) > 0,
        }),
        5 | 6 => Record::Topic(TopicRecord {
            topic: topic(script),
            generation: seq(script),
            version: seq(script),
            host: node(n),
            created_at_us: WALL_US,
            policy: TopicPolicy::default(),
            deleted: script.below(4) == 3,
        }),
        _ => Record::DeathVote(DeathVote {
            voter: node(SEEDS.start + script.byte() % 3),
            node: node(n),
            incarnation: incarnation(script),
        }),
    };
    signed(script, record)
}

fn records(script: &mut Script<'_>, n: u8) -> Vec<SignedRecord> {
    (0..script.below(4)).map(|_| record(script, n)).collect()
}

/// The first frame of a link.
pub(super) fn hello(script: &mut Script<'_>, n: u8, usual: Purpose) -> Frame {
    let is_seed = SEEDS.contains(&n);
    let purposes = [Purpose::Neighbor, Purpose::Session, Purpose::Table, Purpose::Probe];
    let usual = if is_seed { Purpose::Table } else { usual };
    let purpose = if script.below(8) == 0 { purposes[script.below(4)] } else { usual };
    let role = if is_seed { Role::Seed } else { Role::Peer };
    Frame::Hello(Box::new(Hello {
        version: PROTOCOL_VERSION + u16::from(script.byte() == 0xff),
        cluster: "sim".into(),
        role,
        purpose,
        incarnation: incarnation(script),
        address: address(n.into()),
        name: String::new(),
        wanted: Vec::new(),
        urgent: script.below(2) == 0,
    }))
}

/// A batch of a few messages.
pub(super) fn batch(script: &mut Script<'_>) -> Arc<Batch> {
    let n = some_node(script);
    let header = BatchHeader {
        topic: topic(script),
        origin: Origin { node: node(n), incarnation: Incarnation(1) },
        address: address(n.into()),
        generation: u64::from(script.byte() % 3),
        first_seq: seq(script).max(1),
        published_at_us: if script.byte() == 0xff { 0 } else { WALL_US },
        count: 0,
    };
    let messages: Vec<_> = (0..=script.below(4)).map(|_| Message::new("x")).collect();
    let signer = if script.byte() == 0xff { node(0) } else { node(n) };
    Batch::sign(header, &messages, &Signer::Checksum(signer))
}

/// Any frame that the node `who` might send, to whom others come for this purpose; now and then
/// it speaks of another, or of what is out of place.
pub(super) fn frame(script: &mut Script<'_>, who: u8, purpose: Purpose) -> Frame {
    let n = if script.below(8) == 0 { some_node(script) } else { who };
    let from_seed = SEEDS.contains(&who);
    match (script.below(8), from_seed || purpose == Purpose::Session) {
        (0, _) => rendezvous(script, n, usize::from),
        (1, _) | (2, false) => overlay(script, n),
        (2, true) => spreading(script),
        (_, false) => spreading(script),
        // What seeds tell each other, what they answer, and what they are asked.
        (_, true) if from_seed && purpose == Purpose::Session => {
            rendezvous(script, n, |byte| 16 + usize::from(byte % 4))
        }
        (_, true) if from_seed => {
            rendezvous(script, n, |byte| [2, 3, 5, 8, 10, 12, 15][usize::from(byte % 7)])
        }
        (_, true) => {
            rendezvous(script, n, |byte| [0, 0, 4, 6, 6, 9, 11, 13, 14][usize::from(byte % 9)])
        }
    }
}

/// The short name of an origin that may be known.
fn name(script: &mut Script<'_>) -> u64 {
    let origin = origin(script);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&origin.node.0);
    hasher.update(&origin.incarnation.0.to_be_bytes());
    let hash = hasher.finalize();
    u64::from_be_bytes(*hash.as_bytes().first_chunk().expect("32 bytes"))
}

fn spreading(script: &mut Script<'_>) -> Frame {
    let topic = topic(script);
    match script.below(12) {
        0 => Frame::Announce(Announce {
            topic,
            batches: (0..script.below(4))
                .map(|_| BatchName { origin: name(script), first_seq: seq(script) })
                .collect(),
        }),
        1 => Frame::Prune(Prune { topic, origin: name(script), tree: script.byte() }),
        2 => Frame::Graft(Graft {
            topic,
            items: (0..script.below(4))
                .map(|_| GraftItem {
                    origin: name(script),
                    tree: script.byte(),
                    first_seq: seq(script),
                })
                .collect(),
        }),
        3 => Frame::GraftAll(topic),
        4 => Frame::Digest(Digest { topic, hash: [script.byte(); 32] }),
        5 => Frame::Heads(Heads {
            topic,
            heads: (0..script.below(4))
                .map(|_| Head {
                    origin: origin(script),
                    low: seq(script),
                    high: seq(script),
                    age_ms: script.number().into(),
                })
                .collect(),
            answer: script.below(2) == 0,
        }),
        6 => Frame::Pull(Pull {
            request: request(script),
            topic,
            ranges: (0..script.below(4))
                .map(|_| Range { origin: origin(script), from: seq(script), to: seq(script) })
                .collect(),
            age_max_ms: script.number().into(),
        }),
        7 => Frame::PullDone(PullDone {
            request: request(script),
            topic,
            more: script.below(2) == 0,
            begin: (script.below(2) == 0).then(|| seq(script)),
        }),
        _ => Frame::Batch(BatchFrame {
            cause: if script.below(3) == 0 { Cause::Pull } else { Cause::Push },
            hop: script.byte(),
            tree: script.byte(),
            age_ms: script.byte().into(),
            batch: batch(script),
        }),
    }
}

fn overlay(script: &mut Script<'_>, who: u8) -> Frame {
    match script.below(9) {
        0 => Frame::Ping(script.number().into()),
        1 => Frame::Pong(script.number().into()),
        2 => Frame::Accept,
        3 => Frame::Refuse(entries(script)),
        4 | 5 => {
            let modes = [Mode::Subscribes, Mode::Publishes, Mode::None];
            let interest = |script: &mut Script<'_>| Interest {
                topic: topic(script),
                mode: modes[script.below(3)],
            };
            Frame::Interests((0..script.below(4)).map(|_| interest(script)).collect())
        }
        6 => Frame::Shuffle(entries(script)),
        7 => Frame::ShuffleReply(entries(script)),
        _ if script.below(4) == 0 => {
            Frame::Goodbye(Goodbye { reason: Reason::Leaving, text: String::new() })
        }
        _ => hello(script, who, Purpose::Neighbor),
    }
}

/// `kind` makes the number of a kind from a byte.
fn rendezvous(script: &mut Script<'_>, n: u8, kind: fn(u8) -> usize) -> Frame {
    let kind = kind(script.byte()) % 20;
    let (id, total) = (request(script), u32::from(script.byte()));
    let lease_ms = u32::from(script.number()) * 10;
    let absence = Absence { gone_ms: lease_ms.into(), takeover_in_ms: 0, drop_in_ms: None };
    match kind {
        0 | 1 => Frame::Register(Box::new(Register { record: record(script, n) })),
        2 => Frame::Registered(Registered {
            lease_ms,
            peers: entries(script),
            total,
            seeds: vec![node(n)],
        }),
        3 => Frame::RegisterRefused(incarnation(script)),
        4 => Frame::Renew(Renew { incarnation: incarnation(script), neighbors: vec![node(n)] }),
        5 => Frame::Renewed(Renewed { lease_ms, targets: entries(script), seeds: vec![node(n)] }),
        6 | 7 => Frame::Put(Put { request: id, records: records(script, n) }),
        8 => Frame::PutDone(PutDone { request: id, refused: records(script, n) }),
        9 => Frame::SampleRequest(SampleRequest { request: id, topic: topic(script) }),
        10 => {
            let topic = topic(script);
            Frame::Sample(Sample { request: id, topic, peers: entries(script), total })
        }
        11 => Frame::Lookup(Lookup { request: id, topic: topic(script) }),
        12 => Frame::Found(Box::new(Found {
            request: id,
            topic: topic(script),
            record: (script.below(2) == 0).then(|| record(script, n)),
            forgotten: script.number().into(),
            subscribers: entries(script),
            total,
            hosting: match script.below(4) {
                0 => Hosting::None,
                1 => Hosting::Away(absence),
                2 => Hosting::Orphaned(absence),
                _ => Hosting::Here(entry(script)),
            },
        })),
        13 => {
            let kind = if script.below(2) == 0 { Kind::Peers } else { Kind::Topics };
            let (offset, limit) = (script.byte().into(), script.byte().into());
            Frame::List(List { request: id, kind, filter: "+/#".into(), offset, limit })
        }
        14 => Frame::Report(Report {
            node: node(n),
            incarnation: incarnation(script),
            address: address(n.into()),
            withdrawn: script.below(3) == 0,
        }),
        15 => Frame::Dead(Dead {
            node: node(n),
            incarnation: incarnation(script),
            votes: records(script, n),
        }),
        16 => Frame::Leases(vec![Lease {
            node: node(n),
            incarnation: incarnation(script),
            remaining_ms: lease_ms,
        }]),
        17 => Frame::TableDigest([script.byte(); 32]),
        18 => Frame::RecordsRequest(Box::default()),
        _ => Frame::Records(records(script, n)),
    }
}
