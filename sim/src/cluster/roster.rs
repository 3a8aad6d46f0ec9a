//! Who is in a run, and how their machines are made.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tidings_proto::config::{Dissemination, Identity};
use tidings_proto::crypto::{Scheme, Signer};
use tidings_proto::peer::seed_set::KnownSeeds;
use tidings_proto::seed::memory::{Key, Memory, Row};
use tidings_proto::wire::frame::PeerEntry;
use tidings_proto::wire::record::{Record, SignedRecord, TopicRecord};
use tidings_proto::{
    Incarnation, Instant, NodeId, Peer, PeerConfig, RequestId, Seed, SeedConfig, Topic,
};

use super::node::AnyNode;
use crate::network::address;
use crate::rng::{Rng, bytes32};
use crate::scenario::Tune;

/// When the runs begin: 14 November 2023, in microseconds since 1970.
const WALL_US: i64 = 1_700_000_000_000_000;

/// Rows that are damaged at once.
const DAMAGED_ROWS_MAX: u64 = 3;

/// The nodes of a run: seeds first, then peers; and its topics.
#[derive(Debug)]
pub(super) struct Roster {
    seed: u64,
    scheme: Scheme,
    /// How the peers spread batches.
    pub(super) dissemination: Dissemination,
    /// What else differs from the defaults.
    pub(super) tune: Tune,
    seeds: u32,
    /// So many of them are configured; the others wait to be added.
    pub(super) seeds_first: u32,
    ids: Vec<NodeId>,
    /// The nodes in the order of their ids.
    by_id: Vec<u32>,
    topics: Vec<Topic>,
}

/// What a node keeps over restarts.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    /// The last incarnation that reached the disk.
    pub(super) incarnation: u64,
    /// The peers it knew.
    pub(super) known_peers: Vec<PeerEntry>,
    /// The seeds, as it has come to know them.
    pub(super) known_seeds: Option<KnownSeeds>,
    /// The topics it knew.
    pub(super) known_topics: BTreeMap<Topic, SignedRecord>,
    /// What a seed keeps.
    pub(super) rows: BTreeMap<Key, Row>,
    /// Some rows were damaged, and are not read.
    pub(super) damaged: bool,
}

impl Disk {
    /// The record of a topic in the table of topics, and the one that was accepted last.
    pub(super) fn topic(&self, topic: &Topic) -> [Option<&TopicRecord>; 2] {
        let row = |key: Key| match self.rows.get(&key)? {
            Row::Topic(signed) => Some(&signed.record),
            Row::Register { accepted, .. } => accepted.as_ref().map(|vote| &vote.record.record),
            _ => None,
        };
        [Key::Topic(topic.clone()), Key::Register(topic.clone())].map(|key| match row(key)? {
            Record::Topic(record) => Some(record),
            _ => None,
        })
    }

    /// Some rows change by themselves. Whoever reads the disk notices, and first of all writes
    /// down that this seed has to learn; false when there is nothing to damage.
    pub(super) fn damage(&mut self, rng: &mut Rng) -> bool {
        for _ in 0..rng.between(1, DAMAGED_ROWS_MAX) {
            let at = rng.index(self.rows.len().max(1));
            let Some(key) = self.rows.keys().nth(at).cloned() else { break };
            self.rows.remove(&key);
            self.damaged = true;
        }
        if let Some(Row::Membership(of)) = self.rows.get_mut(&Key::Membership) {
            of.votes = false;
        }
        self.damaged
    }
}

impl Roster {
    /// The nodes of the run numbered `seed`, its topics, and behind these the contested names.
    pub(super) fn new(
        seed: u64,
        scheme: Scheme,
        [seeds, peers]: [u32; 2],
        (topics, claims): (u16, u32),
    ) -> Self {
        let topic = |n: u32| Topic::new(&format!("topic/{n}")).expect("legal");
        // Half of what peers contest are topics, half are names.
        let contested = |n: u32| match n % 2 {
            0 => Topic::new(&format!("claim/{n}")).expect("legal"),
            _ => Topic::of_name(&format!("claim/{n}")).expect("legal"),
        };
        let topics = (0..u32::from(topics)).map(topic).chain((0..claims).map(contested));
        let mut roster = Self {
            seed,
            scheme,
            dissemination: Dissemination::Trees,
            tune: Tune::default(),
            seeds,
            seeds_first: seeds,
            ids: vec![],
            by_id: vec![],
            topics: topics.collect(),
        };
        roster.ids = (0..seeds + peers).map(|node| roster.signer(node).node()).collect();
        roster.by_id = (0..seeds + peers).collect();
        roster.by_id.sort_by_key(|&node| roster.ids[node as usize]);
        roster
    }

    /// How signatures are made.
    pub(super) fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// A node's identity.
    pub(super) fn id(&self, node: u32) -> Option<NodeId> {
        self.ids.get(node as usize).copied()
    }

    /// The node with an identity.
    pub(super) fn find(&self, id: NodeId) -> Option<u32> {
        let at = self.by_id.binary_search_by_key(&id, |&node| self.ids[node as usize]).ok()?;
        Some(self.by_id[at])
    }

    /// All nodes.
    pub(super) fn nodes(&self) -> u32 {
        u32::try_from(self.ids.len()).expect("fewer than 2^24 nodes")
    }

    /// All seeds: the first nodes.
    pub(super) fn seeds(&self) -> std::ops::Range<u32> {
        0..self.seeds
    }

    /// The seeds that are configured.
    pub(super) fn first_seeds(&self) -> std::ops::Range<u32> {
        0..self.seeds_first
    }

    /// All peers.
    pub(super) fn peers(&self) -> std::ops::Range<u32> {
        self.seeds..self.nodes()
    }

    /// Whether a node is a seed.
    pub(super) fn is_seed(&self, node: u32) -> bool {
        node < self.seeds
    }

    /// The peer that creates a topic.
    pub(super) fn host(&self, topic: u16) -> u32 {
        self.seeds + u32::from(topic) % (self.nodes() - self.seeds)
    }

    /// A topic by its number.
    pub(super) fn topic(&self, topic: u16) -> &Topic {
        &self.topics[usize::from(topic)]
    }

    /// The number of a topic.
    pub(super) fn topic_number(&self, topic: &Topic) -> Option<u16> {
        let at = self.topics.iter().position(|known| known == topic)?;
        u16::try_from(at).ok()
    }

    /// The next life of a node. As the real driver does it: rising even when the disk was lost.
    pub(super) fn incarnation(born: Instant, disk: &Disk) -> Incarnation {
        let wall_ms = u64::try_from(wall_us(born) / 1_000).unwrap_or_default();
        Incarnation(wall_ms.max(disk.incarnation + 1))
    }

    /// The machine of a node's next life, whose clock begins at zero now, at `born`.
    pub(super) fn machine(&self, node: u32, born: Instant, disk: &Disk) -> AnyNode {
        let wall_us = wall_us(born);
        let incarnation = Self::incarnation(born, disk);
        let identity = Identity {
            cluster: "sim".into(),
            name: String::new(),
            address: address(node),
            incarnation,
            scheme: self.scheme,
            wall_origin_us: wall_us,
            rng_seed: bytes32(self.seed ^ incarnation.0, "machine", u64::from(node)),
        };
        let mut seeds: Vec<SocketAddr> = self.first_seeds().map(address).collect();
        let now = Instant::ZERO;
        if self.is_seed(node) {
            if node >= self.seeds_first {
                seeds.push(address(node));
            }
            let mut config = SeedConfig::new(identity, seeds);
            self.tune.apply_to_seed(&mut config);
            let rows = disk.rows.values().cloned().collect();
            let memory = Memory { rows, damaged: disk.damaged };
            AnyNode::Seed(Box::new(Seed::new(config, self.signer(node), memory, now)))
        } else {
            let mut config = self.peer_config(identity, seeds);
            config.known_peers.clone_from(&disk.known_peers);
            config.known_topics = disk.known_topics.values().cloned().collect();
            config.known_seeds.clone_from(&disk.known_seeds);
            AnyNode::Peer(Box::new(Peer::new(config, self.signer(node), now)))
        }
    }

    /// A configuration with the limits that peers of this run have, for judges.
    pub(super) fn limits(&self) -> (PeerConfig, SeedConfig) {
        let identity = Identity {
            cluster: String::new(),
            name: String::new(),
            address: address(0),
            incarnation: Incarnation(0),
            scheme: self.scheme,
            wall_origin_us: 0,
            rng_seed: [0; 32],
        };
        let peer = self.peer_config(identity.clone(), Vec::new());
        let mut seed = SeedConfig::new(identity, Vec::new());
        self.tune.apply_to_seed(&mut seed);
        (peer, seed)
    }

    fn peer_config(&self, identity: Identity, seeds: Vec<SocketAddr>) -> PeerConfig {
        let mut config = PeerConfig::new(identity, seeds);
        config.dissemination = self.dissemination;
        self.tune.apply(&mut config);
        config
    }

    /// How a node signs.
    pub(super) fn signer(&self, node: u32) -> Signer {
        match self.scheme {
            Scheme::Ed25519 => Signer::ed25519(&bytes32(self.seed, "secret", u64::from(node))),
            Scheme::Checksum => {
                Signer::Checksum(NodeId(bytes32(self.seed, "node", u64::from(node))))
            }
        }
    }
}

fn wall_us(at: Instant) -> i64 {
    WALL_US + i64::try_from(at.as_micros()).unwrap_or(i64::MAX - WALL_US)
}

/// What a request was for; a request's number says it all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// To create a topic.
    Create(u16),
    /// To subscribe to a topic.
    Subscribe(u16),
    /// To publish.
    Publish(u32),
    /// To leave.
    Leave,
    /// An act on a contested name.
    Claim(u32),
    /// A call on a name that is contested without regard for others.
    Contest(u32),
}

impl Request {
    /// Its number. `turn` tells apart requests for the same thing.
    pub(super) fn id(self, turn: u32) -> RequestId {
        let (kind, number) = match self {
            Self::Create(topic) => (1, u32::from(topic)),
            Self::Subscribe(topic) => (2, u32::from(topic)),
            Self::Publish(publication) => (3, publication),
            Self::Leave => (4, 0),
            Self::Claim(act) => (5, act),
            Self::Contest(call) => (6, call),
        };
        RequestId(kind << 56 | u64::from(turn & 0xff_ffff) << 32 | u64::from(number))
    }

    /// What a number was for.
    pub(super) fn from_id(id: RequestId) -> Option<Self> {
        let number = u32::try_from(id.0 & u64::from(u32::MAX)).ok()?;
        match id.0 >> 56 {
            1 => u16::try_from(number).ok().map(Self::Create),
            2 => u16::try_from(number).ok().map(Self::Subscribe),
            3 => Some(Self::Publish(number)),
            4 => Some(Self::Leave),
            5 => Some(Self::Claim(number)),
            6 => Some(Self::Contest(number)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_known_by_their_numbers() {
        let mut all = vec![Request::Create(3), Request::Subscribe(9), Request::Publish(77)];
        all.extend([Request::Leave, Request::Claim(5), Request::Contest(6)]);
        for request in all {
            assert_eq!(Request::from_id(request.id(5)), Some(request));
            assert_ne!(request.id(5), request.id(6));
        }
        assert_eq!(Request::from_id(RequestId(1)), None);
    }

    #[test]
    fn identities_are_those_of_the_signers() {
        for scheme in [Scheme::Checksum, Scheme::Ed25519] {
            let roster = Roster::new(1, scheme, [2, 3], (2, 1));
            assert_eq!((roster.nodes(), roster.host(1)), (5, 3));
            assert_eq!(roster.topic_number(roster.topic(1)), Some(1));
            assert_eq!(roster.topic(2).as_str(), "claim/0");
            for node in 0..5 {
                assert_eq!(roster.find(roster.id(node).expect("a node")), Some(node));
            }
            assert_eq!(roster.find(NodeId([0; 32])), None);
        }
    }
}
