//! What peers ask on their sessions.

use crate::id::{Incarnation, LinkId, NodeId, Topic};
use crate::seed::admin::Asker;
use crate::seed::event::Notice;
use crate::seed::links::Phase;
use crate::seed::listed::entry;
use crate::seed::merge::Merged;
use crate::seed::registry::Standing;
use crate::seed::{Seed, millis};
use crate::time::Instant;
use crate::wire::frame::{
    AdminCommand, Found, Frame, Heads, Lookup, PeerEntry, Put, PutDone, Reason, Register,
    Registered, Renew, Renewed, Report, SAMPLE_MAX, Sample, SampleRequest,
};
use crate::wire::record::{PeerRecord, Record, SignedRecord};

impl Seed {
    pub(super) fn session_frame(&mut self, now: Instant, link: LinkId, node: NodeId, frame: Frame) {
        match frame {
            Frame::Register(register) => self.register(now, link, node, *register),
            Frame::Renew(renew) => self.renew(now, link, node, renew),
            Frame::Put(put) => self.put(now, link, node, put),
            Frame::SampleRequest(request) => self.sample(link, node, request),
            Frame::Lookup(lookup) => self.lookup(now, link, node, lookup),
            Frame::Propose(propose) => self.propose(now, link, node, *propose),
            Frame::Watch(watch) => self.watch(now, link, watch),
            Frame::List(list) => self.list(link, &list),
            Frame::Admin(request, AdminCommand::Forget(who)) => {
                self.forget(now, Asker::Link(link, request), &who);
            }
            Frame::Report(report) => self.report(now, node, report),
            Frame::Heads(heads) => self.compare_heads(now, link, heads),
            _ => self.violation(now, link, "a frame that is not for a seed"),
        }
    }

    /// Remembers how far a peer is, and tells it where others are further.
    fn compare_heads(&mut self, now: Instant, link: LinkId, heads: Heads) {
        let (ahead, shed) = self.heads.compare(now, &heads.topic, &heads.heads);
        self.stats.heads_shed += shed;
        if !ahead.is_empty() {
            let answer = Heads { topic: heads.topic, heads: ahead, answer: true };
            self.send(link, Frame::Heads(answer));
        }
    }

    fn register(&mut self, now: Instant, link: LinkId, node: NodeId, register: Register) {
        let signed = register.record;
        if signed.record.owner() != node || !signed.verify(self.config.identity.scheme) {
            return self.violation(now, link, "a registration that its sender did not sign");
        }
        let Record::Peer(record) = signed.record.clone() else {
            return self.violation(now, link, "a registration without a peer's record");
        };
        if let Standing::Over(life) = self.registry.standing(&record, &signed.signature) {
            self.stats.records_refused += 1;
            return self.send(link, Frame::RegisterRefused(life));
        }
        let left = record.left;
        match self.merge_peer(now, record.clone(), signed.signature, self.config.lease) {
            Merged::Full => {
                return self.refuse(now, link, Reason::NotNeeded, "the table of peers is full");
            }
            Merged::Changed => self.tell_seeds_of_peer(signed),
            _ => {}
        }
        if left {
            self.set_registered(link, None);
            let peers = Vec::new();
            let (total, seeds) = (self.total(), self.sync.keys(self.me()));
            let answer = Registered { lease_ms: 0, peers, total, seeds };
            return self.send(link, Frame::Registered(answer));
        }
        // A seed that lost its memory does not count towards the majority that a peer looks for.
        if self.acceptors.is_learning() {
            if let Some(session) = self.links.session_mut(link) {
                session.waiting = true;
            }
            return;
        }
        self.registered(now, link, record);
    }

    /// This seed has learned what others know: registrations that waited for it are answered.
    pub(super) fn answer_waiting(&mut self, now: Instant) {
        let sessions: Vec<_> = self.links.sessions().map(|(node, link)| (*node, link)).collect();
        for (node, link) in sessions {
            let waits = self
                .links
                .session_mut(link)
                .is_some_and(|session| std::mem::take(&mut session.waiting));
            let record = self.registry.peer(&node).map(|peer| peer.record());
            match record {
                Some(record) if waits => self.registered(now, link, record),
                // Meanwhile its life ended; told so, it registers anew.
                None if waits => self.send(link, unknown_here()),
                _ => {}
            }
        }
    }

    fn registered(&mut self, now: Instant, link: LinkId, record: PeerRecord) {
        let node = record.node;
        self.registry.extend_lease(&node, now + self.config.lease);
        self.lease_renewed(now, node);
        self.stats.registrations += 1;
        let (peers, _) = self.draw(&Topic::overlay(), node);
        let (sample, count) = (peers.len(), self.registry.count());
        let (lease_ms, total) = (millis(self.config.lease), self.total());
        let seeds = self.sync.keys(self.me());
        if let Some(signed) = self.seed_set.clone() {
            self.send(link, Frame::SeedSet(Box::new(signed)));
        }
        self.send(link, Frame::Registered(Registered { lease_ms, peers, total, seeds }));
        if self.set_registered(link, Some(record.incarnation)) {
            let peer = entry(&record);
            let name = record.name;
            self.notice(Notice::Registered { peer, name, peers: count, sample });
        }
    }

    /// Remembers the life that is registered on a link. Returns whether it is another one.
    fn set_registered(&mut self, link: LinkId, life: Option<Incarnation>) -> bool {
        let session = self.links.session_mut(link);
        session.is_some_and(|session| std::mem::replace(&mut session.registered, life) != life)
    }

    fn renew(&mut self, now: Instant, link: LinkId, node: NodeId, renew: Renew) {
        if self.registry.life(&node, renew.incarnation).is_none() {
            return self.send(link, unknown_here());
        }
        self.stats.renewals += 1;
        self.registry.extend_lease(&node, now + self.config.lease);
        self.lease_renewed(now, node);
        self.overlay.report(node, renew.neighbors);
        let live = self.registry.ordered();
        let targets = self.overlay.targets(now, node, live, &mut self.rng);
        let targets = self.entries(&targets);
        let lease_ms = millis(self.config.lease);
        let seeds = self.sync.keys(self.me());
        self.send(link, Frame::Renewed(Renewed { lease_ms, targets, seeds }));
    }

    /// All records are checked before the first is taken. Where the peer is not listed any more,
    /// it is told so and will register and repeat everything; until then nothing is kept.
    fn put(&mut self, now: Instant, link: LinkId, node: NodeId, put: Put) {
        let scheme = self.config.identity.scheme;
        for signed in &put.records {
            // Votes are for seeds, and topics are agreed on, not put.
            let is_put = matches!(signed.record, Record::Peer(_) | Record::Subscription(_));
            if !is_put || signed.record.owner() != node {
                self.stats.records_refused += 1;
                return self.violation(now, link, "a record of another owner");
            }
            if !signed.verify(scheme) {
                self.stats.records_refused += 1;
                return self.violation(now, link, "a record that its owner did not sign");
            }
        }
        let (mut changed, mut refused, mut unlisted) = (Vec::new(), Vec::new(), false);
        for signed in put.records {
            match self.put_record(now, signed.clone()) {
                Merged::Changed => changed.push(signed),
                Merged::Known => {}
                Merged::Full => refused.push(signed),
                Merged::Unlisted => {
                    unlisted = true;
                    refused.push(signed);
                }
            }
        }
        if !changed.is_empty() {
            self.tell_seeds(&Frame::Records(changed));
        }
        self.stats.records_refused += refused.len() as u64;
        if unlisted {
            self.send(link, unknown_here());
        }
        self.send(link, Frame::PutDone(PutDone { request: put.request, refused }));
    }

    fn put_record(&mut self, now: Instant, signed: SignedRecord) -> Merged {
        let signature = signed.signature;
        match signed.record {
            Record::Subscription(record) => self.merge_subscription(record, signature),
            Record::Peer(record) if self.registry.peer(&record.node).is_some() => {
                self.merge_peer(now, record, signature, self.config.lease)
            }
            Record::Peer(_) => Merged::Unlisted,
            Record::Topic(_) | Record::DeathVote(_) | Record::SeedSet(_) => Merged::Known,
        }
    }

    fn sample(&mut self, link: LinkId, node: NodeId, asked: SampleRequest) {
        self.stats.samples += 1;
        let SampleRequest { request, topic } = asked;
        let (peers, total) = self.draw(&topic, node);
        self.send(link, Frame::Sample(Sample { request, topic, peers, total }));
    }

    pub(super) fn answer_lookup(&mut self, link: LinkId, node: NodeId, asked: Lookup) {
        self.watch_topic(link, &asked.topic);
        let Lookup { request, topic } = asked;
        let (subscribers, total) = self.draw(&topic, node);
        let record = self.index.get(&topic).and_then(|entry| entry.signed());
        let hosting = self.hosting(self.now, &topic);
        let forgotten = self.forgotten;
        let found = Found { request, topic, record, forgotten, subscribers, total, hosting };
        self.send(link, Frame::Found(Box::new(found)));
    }

    /// Random peers that want a topic, and how many do; every listed peer wants `$overlay`.
    fn draw(&mut self, topic: &Topic, asker: NodeId) -> (Vec<PeerEntry>, u32) {
        let count = self.sample_size();
        if *topic == Topic::overlay() {
            return (self.registry.sample(&mut self.rng, count, asker), self.total());
        }
        let Some(entry) = self.index.get(topic) else { return (Vec::new(), 0) };
        let sampler = &entry.subscribers;
        let total = u32::try_from(sampler.len()).unwrap_or(u32::MAX);
        let nodes = sampler.sample(&mut self.rng, count, Some(asker));
        (self.entries(&nodes), total)
    }

    fn report(&mut self, now: Instant, reporter: NodeId, report: Report) {
        let link = self.links.session(&reporter).and_then(|link| self.links.get(link));
        let registered = link.is_some_and(
            |link| matches!(&link.phase, Phase::Session(session) if session.registered.is_some()),
        );
        if !registered || self.registry.peer(&reporter).is_none() || reporter == report.node {
            return;
        }
        self.stats.reports += 1;
        if report.withdrawn {
            self.withdraw(now, report.node, report.incarnation, reporter);
        } else {
            self.accuse(now, report.node, report.incarnation, reporter);
        }
    }

    fn entries(&self, nodes: &[NodeId]) -> Vec<PeerEntry> {
        nodes.iter().filter_map(|node| Some(self.registry.peer(node)?.entry())).collect()
    }

    fn sample_size(&self) -> usize {
        self.config.sample.min(SAMPLE_MAX)
    }

    fn total(&self) -> u32 {
        u32::try_from(self.registry.count()).unwrap_or(u32::MAX)
    }
}

fn unknown_here() -> Frame {
    Frame::Renewed(Renewed { lease_ms: 0, targets: Vec::new(), seeds: Vec::new() })
}
