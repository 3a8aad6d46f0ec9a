//! What scripted peers do.

use super::rig::{End, Mood, Rig, topic};
use crate::id::{LinkId, RequestId};
use crate::wire::frame::{
    Frame, Hello, PROTOCOL_VERSION, Propose, Purpose, Put, Register, Renew, Report, Role,
};
use crate::wire::record::{
    PeerRecord, Record, SignedRecord, SubscriptionRecord, TopicPolicy, TopicRecord,
};

impl Rig {
    pub(super) fn hello(&self, n: usize, purpose: Purpose) -> Hello {
        let peer = &self.peers[n];
        Hello {
            version: PROTOCOL_VERSION,
            cluster: "local".into(),
            role: Role::Peer,
            purpose,
            incarnation: peer.incarnation,
            address: peer.address,
            name: format!("peer-{n}"),
            wanted: Vec::new(),
            urgent: false,
        }
    }

    /// Connects a peer to a seed with a hello of its choice.
    pub(super) fn greet(&mut self, n: usize, seed: usize, hello: Hello) -> LinkId {
        let link = self.connect(End::Peer(n), End::Seed(seed));
        self.peers[n].sessions.insert(seed, link);
        self.carry(End::Peer(n), link, Frame::Hello(Box::new(hello)));
        link
    }

    pub(super) fn send(&mut self, n: usize, seed: usize, frame: Frame) {
        let link = *self.peers[n].sessions.get(&seed).expect("the peer has a session");
        self.carry(End::Peer(n), link, frame);
    }

    pub(super) fn record(&self, n: usize, version: u64, left: bool) -> SignedRecord {
        let peer = &self.peers[n];
        let record = PeerRecord {
            node: peer.signer.node(),
            incarnation: peer.incarnation,
            version,
            addresses: vec![peer.address],
            name: format!("peer-{n}"),
            left,
        };
        SignedRecord::sign(Record::Peer(record), &peer.signer)
    }

    /// Opens a session and registers.
    pub(super) fn join(&mut self, n: usize, seed: usize) {
        let hello = self.hello(n, Purpose::Session);
        self.greet(n, seed, hello);
        self.register(n, seed);
        self.run(5);
    }

    pub(super) fn register(&mut self, n: usize, seed: usize) {
        let record = self.record(n, 1, false);
        self.send(n, seed, Frame::Register(Box::new(Register { record })));
    }

    pub(super) fn renew(&mut self, n: usize, seed: usize, neighbors: &[usize]) {
        let neighbors = neighbors.iter().map(|n| self.peers[*n].signer.node()).collect();
        let incarnation = self.peers[n].incarnation;
        self.send(n, seed, Frame::Renew(Renew { incarnation, neighbors }));
        self.run(3);
    }

    /// Puts records that are the peer's own affair, and proposes those of topics.
    pub(super) fn put(&mut self, n: usize, seed: usize, records: Vec<SignedRecord>) {
        let request = RequestId(7);
        let is_topic = |signed: &SignedRecord| matches!(signed.record, Record::Topic(_));
        let (topics, records): (Vec<_>, Vec<_>) = records.into_iter().partition(is_topic);
        for record in topics {
            self.send(n, seed, Frame::Propose(Box::new(Propose { request, record })));
            self.run(20);
        }
        if !records.is_empty() {
            self.send(n, seed, Frame::Put(Put { request, records }));
        }
        self.run(5);
    }

    pub(super) fn subscription(
        &self,
        n: usize,
        name: &str,
        version: u64,
        on: bool,
    ) -> SignedRecord {
        let peer = &self.peers[n];
        let record = SubscriptionRecord {
            node: peer.signer.node(),
            incarnation: peer.incarnation,
            topic: topic(name),
            version,
            subscribed: on,
        };
        SignedRecord::sign(Record::Subscription(record), &peer.signer)
    }

    pub(super) fn topic_record(
        &self,
        n: usize,
        name: &str,
        (generation, version): (u64, u64),
        deleted: bool,
    ) -> SignedRecord {
        let peer = &self.peers[n];
        let record = TopicRecord {
            topic: topic(name),
            generation,
            version,
            host: peer.signer.node(),
            created_at_us: 5,
            policy: TopicPolicy::default(),
            deleted,
        };
        SignedRecord::sign(Record::Topic(record), &peer.signer)
    }

    pub(super) fn report(&mut self, n: usize, seed: usize, accused: usize, withdrawn: bool) {
        let peer = &self.peers[accused];
        let (node, incarnation, address) = (peer.signer.node(), peer.incarnation, peer.address);
        let report = Report { node, incarnation, address, withdrawn };
        self.send(n, seed, Frame::Report(report));
    }

    pub(super) fn crash(&mut self, n: usize) {
        self.peers[n].mood = Mood::Gone;
        self.break_links(End::Peer(n));
        self.peers[n].sessions.clear();
    }

    pub(super) fn thaw(&mut self, n: usize) {
        self.peers[n].mood = Mood::Well;
        for (link, frame) in std::mem::take(&mut self.peers[n].late) {
            self.peer_receives(n, link, frame);
        }
    }
}
