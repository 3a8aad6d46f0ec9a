//! A listed peer, in as few bytes as that takes: a seed may list a million of them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::{Deref, DerefMut};

use crate::crypto::Signature;
use crate::id::{Incarnation, NodeId, Topic};
use crate::time::Instant;
use crate::wire::frame::{PeerEntry, PeerState};
use crate::wire::record::{PeerRecord, Record, SignedRecord, SubscriptionRecord};

/// A listed peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) version: u64,
    pub(super) signature: Signature,
    /// Where it can be dialled first.
    pub(super) address: SocketAddr,
    /// And otherwise: few have more than one address.
    more: Option<Box<[SocketAddr]>>,
    pub(super) name: Box<str>,
    /// When it is dropped unless it renews.
    pub(super) lease: Instant,
    /// What it wants, and what it has said it no longer wants.
    pub(super) subscriptions: Subscriptions,
    /// Where it stands in the row from which samples are drawn.
    pub(super) place: u32,
    /// Alive or suspect.
    pub(super) state: PeerState,
    left: bool,
}

/// What is kept of a subscription record; the rest is its peer's.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) version: u64,
    pub(super) subscribed: bool,
    pub(super) signature: Signature,
}

/// Subscriptions by topic. Most peers of a large cluster have few, or none.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "8 bytes for a peer without any, instead of 24")]
pub(super) struct Subscriptions(Option<Box<BTreeMap<Topic, Subscription>>>);

static NONE: BTreeMap<Topic, Subscription> = BTreeMap::new();

impl Deref for Subscriptions {
    type Target = BTreeMap<Topic, Subscription>;

    fn deref(&self) -> &Self::Target {
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for Subscriptions {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.0.get_or_insert_default()
    }
}

impl Peer {
    /// A peer with this record, alive.
    pub(super) fn new(record: PeerRecord, signature: Signature, lease: Instant) -> Self {
        let mut peer = Self {
            node: record.node,
            incarnation: record.incarnation,
            version: 0,
            signature,
            address: first_address(&record),
            more: None,
            name: Box::default(),
            lease,
            subscriptions: Subscriptions::default(),
            place: 0,
            state: PeerState::Alive,
            left: false,
        };
        peer.set(record, signature);
        peer
    }

    /// Takes another record of the same life.
    pub(super) fn set(&mut self, record: PeerRecord, signature: Signature) {
        self.address = first_address(&record);
        let PeerRecord { version, addresses, name, left, .. } = record;
        let more = (addresses.len() > 1).then(|| addresses[1..].into());
        (self.version, self.more, self.name) = (version, more, name.into());
        (self.left, self.signature) = (left, signature);
    }

    /// Where it can be dialled, best first.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let more = self.more.as_deref().into_iter().flatten();
        std::iter::once(self.address).chain(more.copied())
    }

    pub(super) fn record(&self) -> PeerRecord {
        PeerRecord {
            node: self.node,
            incarnation: self.incarnation,
            version: self.version,
            addresses: self.addresses().collect(),
            name: self.name.to_string(),
            left: self.left,
        }
    }

    pub(super) fn entry(&self) -> PeerEntry {
        PeerEntry { node: self.node, incarnation: self.incarnation, address: self.address }
    }

    /// The record as its owner signed it.
    pub(super) fn signed(&self) -> SignedRecord {
        SignedRecord { record: Record::Peer(self.record()), signature: self.signature }
    }

    /// A subscription as its owner signed it.
    pub(super) fn signed_subscription(&self, topic: &Topic, of: &Subscription) -> SignedRecord {
        let record = SubscriptionRecord {
            node: self.node,
            incarnation: self.incarnation,
            topic: topic.clone(),
            version: of.version,
            subscribed: of.subscribed,
        };
        SignedRecord { record: Record::Subscription(record), signature: of.signature }
    }

    /// Topics that it wants, ordered.
    pub(super) fn topics(&self) -> impl Iterator<Item = &Topic> + '_ {
        self.subscriptions.iter().filter(|(_, s)| s.subscribed).map(|(topic, _)| topic)
    }

    /// Whether it says that it has left.
    pub(super) fn has_left(&self) -> bool {
        self.left
    }
}

/// A peer as others pass it on.
pub(super) fn entry(record: &PeerRecord) -> PeerEntry {
    PeerEntry { node: record.node, incarnation: record.incarnation, address: first_address(record) }
}

pub(super) fn first_address(record: &PeerRecord) -> SocketAddr {
    *record.addresses.first().expect("a legal record has an address")
}

/// The place of an address in the order in which people see peers, and a number that tells those
/// at one address apart. The bytes are in the order of addresses, and few.
pub(super) type AddressKey = [u8; 22];

/// The key of an address and a number.
pub(super) fn address_key(address: SocketAddr, number: u32) -> AddressKey {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut key = [0; 22];
    // IPv4 comes first, as it does in the order of addresses.
    let octets = if address.is_ipv4() { low(ip) } else { ip };
    key[..16].copy_from_slice(&octets.octets());
    key[16..18].copy_from_slice(&address.port().to_be_bytes());
    key[18..].copy_from_slice(&number.to_be_bytes());
    key
}

/// An IPv4 address below all IPv6 addresses that nodes have.
fn low(mapped: Ipv6Addr) -> Ipv6Addr {
    let mut octets = mapped.octets();
    octets[..12].fill(0);
    octets.into()
}

/// The number in a key.
pub(super) fn number_of(key: &AddressKey) -> u32 {
    let [.., a, b, c, d] = *key;
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_addresses() {
        let addresses =
            ["10.0.0.2:9", "10.0.0.10:7", "192.168.0.1:1", "[::ffff:1:2]:1", "[fe80::1]:2"];
        let keys = addresses.map(|address| address_key(address.parse().expect("legal"), 5));
        assert!(keys.is_sorted() && keys.iter().all(|key| number_of(key) == 5));
    }

    #[test]
    fn a_listed_peer_takes_few_bytes_and_gives_its_record_back() {
        // With the tables beside it a record takes less than 400 bytes: see `bench seed`.
        assert!(size_of::<Option<Peer>>() <= 200, "{}", size_of::<Option<Peer>>());
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        for addresses in [vec![address(1)], vec![address(1), address(2)]] {
            let record = PeerRecord {
                node: NodeId([1; 32]),
                incarnation: Incarnation(2),
                version: 3,
                addresses,
                name: "name".into(),
                left: true,
            };
            let peer = Peer::new(record.clone(), Signature([7; 64]), Instant::ZERO);
            assert_eq!(peer.record(), record);
            assert!(peer.subscriptions.is_empty() && peer.has_left());
        }
    }
}
