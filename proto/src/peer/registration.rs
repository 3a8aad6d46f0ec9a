//! Sessions with seeds: joining, renewing, asking.

use super::Peer;
use super::event::{Answer, CommandError, Event, Notice};
use super::links::{Intent, Phase};
use super::requests::{Goal, Pending};
use crate::id::{DialId, LinkId, RequestId, Topic};
use crate::time::Instant;
use crate::wire::frame::{
    Found, Frame, Hosting, Lookup, Outcome, PeerEntry, PeerItem, PeerState, Propose, Proposed, Put,
    PutDone, RECORDS_MAX, Reason, Register, Registered, Renew, Renewed, SAMPLE_MAX, Sample,
};
use crate::wire::record::{PeerRecord, Record, SignedRecord, SubscriptionRecord};

impl Peer {
    /// Dials seeds until a quorum is on its way, and renews leases.
    pub(super) fn tend_sessions(&mut self) {
        if let Some(link) = self.rendezvous.take_surplus(self.now) {
            self.refuse_link(link, Reason::NotNeeded, "was silent, and was replaced");
        }
        for address in self.rendezvous.to_dial(self.now, &mut self.rng) {
            let dial = self.out.dial(address, self.config.views.dial_timeout);
            self.stats.dials += 1;
            self.links.dialing(self.now, dial, Intent::Seed(address));
            self.rendezvous.dialing(self.now, address, dial);
        }
        for id in self.rendezvous.take_renewals(self.now, self.config.request_timeout) {
            let neighbors = self.links.healthy().map(|(_, link)| link.node).take(SAMPLE_MAX);
            let renew = Renew { incarnation: self.incarnation, neighbors: neighbors.collect() };
            self.out.control(id, Frame::Renew(renew));
        }
    }

    /// Introduces this peer to a seed.
    pub(super) fn register(&mut self, id: LinkId) {
        let record = self.own_record(false);
        self.out.control(id, Frame::Register(Box::new(Register { record })));
    }

    fn own_record(&mut self, left: bool) -> SignedRecord {
        self.record_version += 1;
        let identity = &self.config.identity;
        let record = PeerRecord {
            node: self.node,
            incarnation: self.incarnation,
            version: self.record_version,
            addresses: vec![identity.address],
            name: identity.name.clone(),
            left,
        };
        SignedRecord::sign(Record::Peer(record), &self.signer)
    }

    /// That this peer wants a topic, or no longer does.
    pub(super) fn subscription_record(&mut self, topic: &Topic, subscribed: bool) -> SignedRecord {
        self.topics.version += 1;
        let record = SubscriptionRecord {
            node: self.node,
            incarnation: self.incarnation,
            topic: topic.clone(),
            version: self.topics.version,
            subscribed,
        };
        SignedRecord::sign(Record::Subscription(record), &self.signer)
    }

    /// A dial to a seed came to nothing.
    pub(super) fn seed_failed(&mut self, dial: Option<DialId>, cause: &str) {
        let Some(dial) = dial else { return };
        let lost = self.rendezvous.lost(self.now, dial, &mut self.rng);
        let Some((seed, news)) = lost else { return };
        self.tell_seed_lost(seed, cause, news);
        self.tend_sessions();
    }

    /// The link with a seed is gone.
    pub(super) fn session_ended(&mut self, id: LinkId, cause: &str) {
        let Some((seed, news)) = self.rendezvous.lost(self.now, id, &mut self.rng) else { return };
        self.tell_seed_lost(seed, cause, news);
        self.forgets_lost(id);
        for request in self.requests.lost(id) {
            self.ask_next(request, false);
        }
        self.tend_sessions();
    }

    /// Once for each seed that is lost: that it stays so is no news.
    fn tell_seed_lost(&mut self, seed: std::net::SocketAddr, cause: &str, news: bool) {
        let joined = self.rendezvous.joined();
        if news {
            self.out.notice(Notice::SeedLost { seed, cause: cause.to_owned(), joined });
        }
        self.tell_quorum();
    }

    pub(super) fn tell_quorum(&mut self) {
        let has = self.rendezvous.joined() >= self.rendezvous.quorum();
        if has != self.had_quorum {
            self.had_quorum = has;
            self.out.notice(Notice::Quorum(has));
        }
    }

    pub(super) fn on_seed_frame(&mut self, id: LinkId, frame: Frame) {
        if !self.rendezvous.is_session(id) {
            return self.violation(id, "a peer sent what only seeds send");
        }
        self.rendezvous.heard(id);
        match frame {
            Frame::Registered(registered) => self.on_registered(id, &registered),
            Frame::RegisterRefused(dead) => self.on_register_refused(id, dead),
            Frame::Renewed(renewed) => self.on_renewed(id, &renewed),
            Frame::PutDone(done) => self.on_put_done(id, done),
            Frame::Sample(sample) => self.on_sample(id, &sample),
            Frame::Found(found) => self.on_found(id, *found),
            Frame::Proposed(proposed) => self.on_proposed(id, proposed),
            Frame::TopicNews(records) => self.on_seed_news(id, &records),
            Frame::Watched(request) => self.on_watched(id, request),
            Frame::PeerPage(page) => {
                let answer = Answer::Peers { total: page.total, items: page.items };
                self.on_page(id, page.request, answer);
            }
            Frame::TopicPage(page) => {
                let answer = Answer::Topics { total: page.total, items: page.items };
                self.on_page(id, page.request, answer);
            }
            Frame::AdminDone(request, answer) => self.on_forgotten(id, request, *answer),
            Frame::Dead(dead) => self.on_verdict(id, &dead),
            Frame::SeedSet(signed) => self.on_seed_set(id, &signed),
            _ => self.violation(id, "a seed sent what only peers send"),
        }
    }

    fn on_registered(&mut self, id: LinkId, registered: &Registered) {
        self.rendezvous.named(id, &registered.seeds);
        let lease_ms = registered.lease_ms;
        let joined = self.rendezvous.joined_by(self.now, id, lease_ms, &mut self.rng);
        let Some((seed, true)) = joined else { return };
        let notice = Notice::SeedJoined {
            seed,
            joined: self.rendezvous.joined(),
            quorum: self.rendezvous.quorum(),
            peers: registered.peers.clone(),
        };
        self.out.notice(notice);
        self.tell_quorum();
        self.learn(&registered.peers);
        let overlay = self.overlay.clone();
        self.offer_candidates(&overlay, &registered.peers, registered.total as usize);
        self.repeat_records(id);
        self.repeat_reports(id);
        for frame in self.requests.ask_also(self.now, id) {
            self.out.control(id, frame);
        }
        self.seek_neighbors();
    }

    /// Tells a seed everything that this peer owns.
    fn repeat_records(&mut self, id: LinkId) {
        for record in self.topics.hosted() {
            let propose = Propose { request: self.requests.next_id(), record: record.clone() };
            self.out.control(id, Frame::Propose(Box::new(propose)));
        }
        self.watch_on(id);
        let mut records = Vec::new();
        let subscribed: Vec<_> = self
            .topics
            .local()
            .filter(|(topic, local)| local.subscribed_at.is_some() && !topic.is_internal())
            .map(|(topic, _)| topic.clone())
            .collect();
        for topic in &subscribed {
            records.push(self.subscription_record(topic, true));
        }
        for chunk in records.chunks(RECORDS_MAX) {
            let request = self.requests.next_id();
            self.out.control(id, Frame::Put(Put { request, records: chunk.to_vec() }));
        }
    }

    fn on_renewed(&mut self, id: LinkId, renewed: &Renewed) {
        self.rendezvous.named(id, &renewed.seeds);
        if renewed.lease_ms == 0 {
            self.rendezvous.unregistered(self.now, id);
            return self.register(id);
        }
        self.rendezvous.joined_by(self.now, id, renewed.lease_ms, &mut self.rng);
        self.learn(&renewed.targets);
        for target in &renewed.targets {
            let linked = self.links.neighbor(&target.node).is_some();
            let room = self.links.dials() < self.config.views.dials_max;
            if !linked && room && !self.links.is_dialing(&target.node) {
                self.dial_neighbor(*target);
            }
        }
    }

    /// Peers that a seed named for a topic, `total` of them in all, this peer included.
    fn offer_candidates(&mut self, topic: &Topic, peers: &[PeerEntry], total: usize) {
        let own = self.node;
        let Some(local) = self.topics.get_mut(topic) else { return };
        let own_share = usize::from(local.subscribed_at.is_some());
        local.others = Some(total.saturating_sub(own_share).max(peers.len()));
        let dialable: Vec<_> =
            peers.iter().filter(|p| self.views.may_dial(self.now, &p.node)).copied().collect();
        local.offer(&dialable, &own);
    }

    fn on_sample(&mut self, id: LinkId, sample: &Sample) {
        let Some(pending) = self.answered(sample.request, id) else { return };
        pending.findings.answers += 1;
        self.requests.finish(sample.request, 1);
        if sample.topic == self.overlay {
            self.learn(&sample.peers);
        }
        self.offer_candidates(&sample.topic, &sample.peers, sample.total as usize);
        self.seek_neighbors();
    }

    fn on_page(&mut self, id: LinkId, request: RequestId, answer: Answer) {
        let Some(pending) = self.answered(request, id) else { return };
        pending.findings.answers += 1;
        let Some(pending) = self.requests.finish(request, 1) else { return };
        if let Goal::List(request) = pending.goal {
            self.out.answer(request, Ok(answer));
        }
    }

    /// Asks all joined seeds about a topic.
    pub(super) fn look_up(&mut self, topic: &Topic, goal: Goal) {
        let request = self.requests.next_id();
        let frame = Frame::Lookup(Lookup { request, topic: topic.clone() });
        self.ask(request, topic, goal, frame);
    }

    /// Puts a record to all joined seeds.
    pub(super) fn put(&mut self, topic: &Topic, goal: Goal, record: SignedRecord) {
        let request = self.requests.next_id();
        let frame = Frame::Put(Put { request, records: vec![record] });
        self.ask(request, topic, goal, frame);
    }

    pub(super) fn ask(&mut self, request: RequestId, topic: &Topic, goal: Goal, frame: Frame) {
        let sessions: Vec<_> = self.rendezvous.sessions().collect();
        for id in &sessions {
            self.out.control(*id, frame.clone());
        }
        // Without a quorum, new sessions have a while to come up.
        let deadline = self.now + self.config.request_timeout * 2;
        self.requests.open(self.now, request, (topic.clone(), goal, frame), &sessions, deadline);
        if self.rendezvous.total() == 0
            && let Some(pending) = self.requests.finish(request, 0)
        {
            self.conclude(pending, true);
        }
    }

    /// A seed answered on a link: its question.
    fn answered(&mut self, request: RequestId, id: LinkId) -> Option<&mut Pending> {
        let node = self.links.get(id)?.node;
        self.requests.answered(self.now, request, (id, node))
    }

    fn on_found(&mut self, id: LinkId, found: Found) {
        let scheme = self.config.identity.scheme;
        let forgotten = found.forgotten;
        let Some(pending) = self.answered(found.request, id) else { return };
        let findings = &mut pending.findings;
        findings.answers += 1;
        findings.total = findings.total.max(found.total);
        findings.offer_hosting(found.hosting);
        for peer in found.subscribers {
            let known = findings.subscribers.iter().any(|p| p.node == peer.node);
            if !known && findings.subscribers.len() < SAMPLE_MAX {
                findings.subscribers.push(peer);
            }
        }
        match found.record {
            Some(record) if record.verify(scheme) => findings.offer(record),
            Some(_) => return self.violation(id, "forged record"),
            None => {}
        }
        self.topics.directory.forgotten(forgotten);
        self.finish(found.request);
    }

    fn on_put_done(&mut self, id: LinkId, done: PutDone) {
        let scheme = self.config.identity.scheme;
        let Some(pending) = self.answered(done.request, id) else { return };
        match done.refused.into_iter().next() {
            None => pending.findings.answers += 1,
            Some(record) if record.verify(scheme) => {
                pending.findings.refusals += 1;
                pending.findings.offer(record);
            }
            Some(_) => return self.violation(id, "forged record"),
        }
        self.finish(done.request);
    }

    /// Has the seeds agree on a topic's record: one of them proposes it to all.
    pub(super) fn propose(&mut self, topic: &Topic, goal: Goal, record: SignedRecord) {
        let request = self.requests.next_id();
        let frame = Frame::Propose(Box::new(Propose { request, record }));
        let deadline = self.now + self.config.request_timeout * 3;
        self.ask_one(request, (topic.clone(), goal, frame), deadline);
        if self.rendezvous.total() == 0
            && let Some(pending) = self.requests.end(request)
        {
            self.conclude(pending, true);
        }
    }

    /// Asks one seed, which answers for all, and others when it does not answer.
    pub(super) fn ask_one(
        &mut self,
        request: RequestId,
        question: (Topic, Goal, Frame),
        deadline: Instant,
    ) {
        self.requests.open_alone(self.now, request, question, deadline);
        self.ask_next(request, false);
    }

    /// Asks another seed, those that are silent last; `anew`: if need be one that was asked before.
    pub(super) fn ask_next(&mut self, request: RequestId, anew: bool) {
        let sessions: Vec<_> = self.rendezvous.sessions().collect();
        let mut sessions = super::views::pick(&sessions, sessions.len(), &mut self.rng);
        sessions.sort_by_key(|link| self.rendezvous.is_silent(*link));
        if let Some((link, frame)) = self.requests.next_seed(self.now, request, &sessions, anew) {
            self.out.control(link, frame);
        }
    }

    fn on_proposed(&mut self, id: LinkId, proposed: Proposed) {
        let Proposed { request, outcome } = proposed;
        if let Outcome::Against(record) = &outcome {
            if !record.verify(self.config.identity.scheme) {
                return self.violation(id, "forged record");
            }
            self.on_topic_record(record, Some(self.now));
        }
        let Some(pending) = self.answered(request, id) else { return };
        match outcome {
            Outcome::Kept => pending.findings.answers += 1,
            Outcome::Against(record) => {
                pending.findings.refusals += 1;
                pending.findings.offer(*record);
            }
            Outcome::Full(limit) => {
                pending.findings.refusals += 1;
                pending.findings.full = Some(limit);
            }
            // Another one may reach more seeds; without one they are asked again after a while.
            Outcome::NoQuorum => {
                if let Some(link) = self.links.get(id) {
                    self.requests.could_not(request, &link.node);
                }
                return self.ask_next(request, false);
            }
        }
        self.finish(request);
    }

    fn on_watched(&mut self, id: LinkId, request: RequestId) {
        let Some(pending) = self.answered(request, id) else { return };
        pending.findings.answers += 1;
        self.finish(request);
    }

    pub(super) fn finish(&mut self, request: RequestId) {
        if let Some(pending) = self.requests.finish(request, self.rendezvous.quorum()) {
            self.conclude(pending, true);
        }
    }

    /// Asks further seeds where an answer takes longer than usual, and ends what took too long.
    pub(super) fn tend_requests(&mut self) {
        while let Some((request, again, silent)) = self.requests.pop_late(self.now) {
            self.stats.requests_late += 1;
            for link in silent {
                self.rendezvous.silent(self.now, link);
            }
            if again {
                self.ask_next(request, true);
            }
        }
        self.tend_sessions();
        let is_there = self.rendezvous.is_majority_there();
        for pending in self.requests.expired(self.now, is_there) {
            self.conclude(pending, false);
        }
    }

    /// A question ended, with a quorum of answers or without.
    fn conclude(&mut self, pending: Pending, quorum: bool) {
        let Pending { topic, goal, findings, .. } = pending;
        match &findings.record {
            Some(record) if findings.hosting == Hosting::Dropped => self.on_dropped(record),
            Some(record) => self.on_topic_record(record, Some(self.now)),
            None if quorum => self.topics.directory.forget_provisional(&topic),
            None => {}
        }
        if matches!(goal, Goal::Info(_) | Goal::Publish | Goal::Refresh) && quorum {
            self.offer_candidates(&topic, &findings.subscribers, findings.total as usize);
        }
        self.pursue(&topic, goal, &findings, quorum);
    }

    /// What the application gets when too few seeds answered.
    pub(super) fn no_quorum(&self) -> CommandError {
        CommandError::NoQuorum { quorum: self.rendezvous.quorum(), total: self.rendezvous.total() }
    }

    /// The peers that this peer knows itself, for lists without seeds.
    pub(super) fn known_peers(&self, filter: &str, offset: usize, limit: usize) -> Answer {
        let item = |peer: &PeerEntry, name: &str| PeerItem {
            node: peer.node,
            incarnation: peer.incarnation,
            address: peer.address,
            name: name.to_owned(),
            state: PeerState::Alive,
        };
        let neighbors =
            self.links.healthy().filter_map(|(_, link)| Some(item(&link.peer?, &link.name)));
        let passive = self.views.passive().iter().map(|peer| item(peer, ""));
        let own = core::iter::once(item(&self.entry(), &self.config.identity.name));
        let mut items: Vec<_> = own
            .chain(neighbors)
            .chain(passive)
            .filter(|item| {
                filter.is_empty()
                    || item.name.contains(filter)
                    || item.address.to_string().contains(filter)
                    || item.node.to_string().contains(filter)
            })
            .collect();
        items.sort_unstable_by_key(|item| item.address);
        let total = u32::try_from(items.len()).unwrap_or(u32::MAX);
        Answer::Peers { total, items: items.into_iter().skip(offset).take(limit).collect() }
    }

    /// Tells seeds and neighbours that this peer leaves.
    pub(super) fn leave(&mut self, request: RequestId) {
        for publication in self.publisher.clear() {
            self.out.answer(publication.request, Err(CommandError::Leaving));
        }
        self.leave_news();
        let record = self.own_record(true);
        let links: Vec<_> = self.links.iter().map(|(id, link)| (id, link.phase)).collect();
        for (id, phase) in links {
            if phase == Phase::Session {
                let request = self.requests.next_id();
                let put = Put { request, records: vec![record.clone()] };
                self.out.control(id, Frame::Put(put));
            }
            self.out.close(id, Reason::Leaving, "leaves the cluster");
        }
        self.out.event(Event::Answer { request, result: Ok(Answer::Done) });
        self.left = true;
    }
}
