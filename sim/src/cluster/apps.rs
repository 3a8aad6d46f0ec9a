//! The applications of the peers: they create topics, subscribe, publish, and hand what they
//! are told to the judges.

use std::collections::BTreeSet;
use std::time::Duration;

use tidings_proto::peer::event::{Answer, CommandError, Event, Notice};
use tidings_proto::seed::event as seed_event;
use tidings_proto::seed::memory::apply;
use tidings_proto::wire::batch::Batch;
use tidings_proto::wire::frame::Frame;
use tidings_proto::{Instant, Origin, RequestId, Topic, peer};

use super::Tap;
use super::contests::Contests;
use super::lies::Lies;
use super::node::{self, AnyNode};
use super::roster::{Disk, Request, Roster};
use super::tally::Tally;
use crate::check::Verdicts;
use crate::check::answers::Answers;
use crate::check::dedup::Dedup;
use crate::check::evicted::Deaths;
use crate::check::genuine::Genuine;
use crate::check::kept::{Fact, Kept};
use crate::check::order::Order;
use crate::check::owners::Owners;
use crate::check::refused::Refused;
use crate::check::verdict::Certificates;
use crate::ledger::{Ledger, State};
use crate::network::index_of;
use crate::rng::mix;
use crate::scenario::Expect;
use crate::world::{Host, Timers};

/// A refused command is tried again after this: about what a person would wait.
const RETRY: Duration = Duration::from_millis(500);

/// An accused peer has this long to answer (design §5.19).
const PROBE: Duration = Duration::from_secs(2);
/// What a seed hears, another one may know after this: the longest way, and a packet that is
/// repeated.
const NEWS: Duration = Duration::from_millis(500);

/// What a cluster schedules.
#[derive(Clone, Copy, Debug)]
pub(super) enum Token {
    /// A node starts for the first time.
    Start(u32),
    /// An application asks for a topic (again).
    Ask {
        /// The peer.
        node: u32,
        /// Its life.
        life: u32,
        /// The topic.
        topic: u16,
    },
    /// A pattern of publications is due.
    Publish(u32),
    /// A pattern of claims is due.
    Claim(u32),
    /// A pattern of contests is due.
    Contest(u32),
    /// A fault begins.
    Fault(u32),
    /// A fault ends; for a node, if it is still in this life.
    Undo(u32, u32),
    /// A node that left ends its process.
    Stop(u32, u32),
    /// Since this disturbance, how long has the overlay been in parts?
    Whole(Instant),
    /// A death must be known by now.
    Delisted(u32),
    /// The set of seeds is to change.
    Change,
    /// An operator has a peer forgotten.
    Forget,
    /// Bounds are looked at.
    Inspect,
    /// Liars speak.
    Lie,
    /// Liars answer what they were asked.
    Insist,
}

/// The application of one peer.
#[derive(Clone, Debug)]
pub(super) struct App {
    /// Rises with each start.
    pub(super) life: u32,
    /// When this life began, if it goes on.
    pub(super) started: Option<Instant>,
    /// The peer is leaving.
    pub(super) leaving: bool,
    topics: Vec<Subscription>,
    /// Topics that this life has created.
    created: Vec<u16>,
}

impl App {
    /// Whether this life has created a topic.
    pub(super) fn created(&self, topic: u16) -> bool {
        self.created.contains(&topic)
    }
}

#[derive(Clone, Copy, Debug)]
struct Subscription {
    asked: Instant,
    since: Instant,
}

const NOT_SUBSCRIBED: Subscription =
    Subscription { asked: Instant::FAR_FUTURE, since: Instant::FAR_FUTURE };

/// All applications, logs, disks and judges of a run.
#[derive(Debug)]
pub(super) struct Apps {
    /// Who is there.
    pub(super) roster: Roster,
    /// What was published.
    pub(super) ledger: Ledger,
    /// What is measured.
    pub(super) tally: Tally,
    /// What the judges saw.
    pub(super) verdicts: Verdicts,
    /// S1.
    pub(super) dedup: Dedup,
    /// S9.
    pub(super) answers: Answers,
    /// Calls that found no majority.
    pub(super) refused: Refused,
    /// Messages that were given up: (message, node).
    pub(super) gaps: BTreeSet<(u32, u32)>,
    /// Applications, by node.
    pub(super) apps: Vec<App>,
    /// Disks, by node.
    pub(super) disks: Vec<Disk>,
    /// The disks of seeds forget all that they are told.
    pub(super) disks_lie: bool,
    /// S4.
    pub(super) kept: Kept,
    /// S5.
    pub(super) certificates: Certificates,
    pub(super) deaths: Deaths,
    /// S7.
    pub(super) owners: Owners,
    pub(super) contests: Contests,
    /// Nodes that are slow for a while, in order: L5 is about the others.
    pub(super) slow: Vec<u32>,
    /// Who is shown all frames.
    pub(super) tap: Option<Tap>,
    /// What seeds that lie are asked.
    pub(super) lies: Lies,
    genuine: Genuine,
    order: Order,
    turn: u32,
}

impl Apps {
    /// Nobody runs yet.
    pub(super) fn new(roster: Roster, expect: &Expect, topics: u16) -> Self {
        let nodes = roster.nodes() as usize;
        let app = App {
            life: 0,
            started: None,
            leaving: false,
            topics: vec![NOT_SUBSCRIBED; usize::from(topics)],
            created: Vec::new(),
        };
        Self {
            ledger: Ledger::default(),
            tally: Tally::new([expect.measure_from_ms, expect.measure_until_ms].map(|ms| {
                if ms == u64::MAX { Instant::FAR_FUTURE } else { Instant::from_millis(ms) }
            })),
            verdicts: Verdicts::default(),
            dedup: Dedup::new(nodes, Duration::from_millis(expect.surprise_ms)),
            answers: Answers::new(nodes),
            refused: Refused::new(expect.no_quorum_max),
            gaps: BTreeSet::new(),
            apps: vec![app; nodes],
            disks: vec![Disk::default(); nodes],
            disks_lie: false,
            kept: Kept::new(roster.seeds().end, expect.seeds_lost_max),
            certificates: Certificates::new(roster.seeds().end, PROBE, NEWS),
            deaths: Deaths::default(),
            owners: Owners::default(),
            contests: Contests::default(),
            slow: Vec::new(),
            tap: None,
            lies: Lies::default(),
            genuine: Genuine::new(roster.scheme()),
            order: Order::new(nodes),
            turn: 0,
            roster,
        }
    }

    /// A node starts.
    pub(super) fn started(&mut self, now: Instant, node: u32) {
        if !self.roster.is_seed(node) {
            let life = Roster::incarnation(now, &self.disks[node as usize]);
            self.certificates.began(node, life.0);
            self.deaths.began(node);
        }
        let app = &mut self.apps[node as usize];
        app.life += 1;
        app.started = Some(now);
        app.leaving = false;
    }

    /// A node's process ended, and its application with it.
    pub(super) fn ended(&mut self, node: u32) {
        let app = &mut self.apps[node as usize];
        app.started = None;
        app.topics.fill(NOT_SUBSCRIBED);
        app.created.clear();
        self.dedup.forget(node);
        self.order.forget(node);
        self.answers.forget(node);
        self.owners.forget(node);
        // Whom it has heard, a seed does not write down.
        if self.roster.is_seed(node) {
            self.certificates.seed_lost(node);
        }
    }

    /// The disk of a seed was lost, or a part of it.
    pub(super) fn disk_hurt(&mut self, now: Instant, node: u32) {
        if self.kept.seed_lost(node) {
            self.owners.void();
            self.contests.history.void(now.as_micros());
        }
    }

    /// A request of an application, about to be given to its peer.
    pub(super) fn request(&mut self, now: Instant, node: u32, request: Request) -> RequestId {
        self.turn = self.turn.wrapping_add(1);
        let id = request.id(self.turn);
        self.answers.asked(now, node, id.0);
        if let Request::Subscribe(topic) = request {
            self.apps[node as usize].topics[usize::from(topic)].asked = now;
        }
        id
    }

    /// When the subscription of a live peer was answered.
    pub(super) fn since(&self, node: u32, topic: u16) -> Option<Instant> {
        let since = self.apps[node as usize].topics[usize::from(topic)].since;
        (since < Instant::FAR_FUTURE).then_some(since)
    }

    fn answer(
        &mut self,
        timers: &mut Timers<'_, Token>,
        node: u32,
        request: RequestId,
        result: Result<Answer, CommandError>,
    ) {
        let now = timers.now();
        self.answers.answered(&mut self.verdicts, now, node, request.0);
        if let Err(CommandError::NoQuorum { .. }) = result {
            self.refused.refused(&mut self.verdicts, now, node, request.0);
        }
        let life = self.apps[node as usize].life;
        match (Request::from_id(request), result) {
            (Some(Request::Subscribe(topic)), Ok(_)) => {
                self.apps[node as usize].topics[usize::from(topic)].since = now;
            }
            (Some(Request::Create(topic)), Ok(answer)) => {
                self.acknowledged(topic, &answer);
                self.apps[node as usize].created.push(topic);
                timers.at(now, Token::Ask { node, life, topic });
            }
            (Some(Request::Create(topic) | Request::Subscribe(topic)), Err(_)) => {
                timers.at(now + RETRY, Token::Ask { node, life, topic });
            }
            (Some(Request::Publish(number)), Ok(Answer::Published { seq, .. })) => {
                self.ledger.all[number as usize].state = State::Accepted(seq);
            }
            (Some(Request::Publish(number)), _) => {
                self.tally.refused += 1;
                self.ledger.all[number as usize].state = State::Refused;
            }
            (Some(Request::Claim(act)), result) => self.claimed(now, act, result),
            (Some(Request::Contest(call)), result) => self.contested(now, call.into(), &result),
            (Some(Request::Leave), _) => timers.at(now + RETRY, Token::Stop(node, life)),
            (None, _) => {}
        }
    }

    /// A topic was created, says a majority of the seeds.
    pub(super) fn acknowledged(&mut self, topic: u16, answer: &Answer) {
        let Answer::Topic(info) = answer else { return };
        if !info.confirmed {
            return;
        }
        let host = self.roster.find(info.record.host).unwrap_or(u32::MAX);
        let fact = Fact { generation: info.record.generation, host };
        self.kept.acknowledged(topic.into(), fact);
    }

    fn deliver(&mut self, now: Instant, node: u32, batch: &Batch, from_seq: u64) {
        let header = batch.header();
        let verdicts = &mut self.verdicts;
        let sender = index_of(header.address);
        let topic = self.roster.topic_number(&header.topic).unwrap_or(u16::MAX);
        let from = from_seq.max(header.first_seq);
        let key = (sender.unwrap_or(u32::MAX), header.origin.incarnation.0, topic);
        let stream = self.ledger.stream(key);
        self.order.advanced(verdicts, now, node, stream, (from, header.last_seq(), false));
        let subscription = self.apps[node as usize].topics.get(usize::from(topic));
        let subscription = subscription.copied().unwrap_or(NOT_SUBSCRIBED);
        let mut first = true;
        for (seq, message) in batch.messages().filter(|(seq, _)| *seq >= from) {
            let Some(number) = self.ledger.read(&message.body) else {
                self.genuine.unknown(verdicts, now, node, batch);
                continue;
            };
            if std::mem::take(&mut first) {
                let id = sender.and_then(|sender| self.roster.id(sender));
                self.genuine.delivered(verdicts, now, node, batch, (number, id));
            }
            self.ledger.number(stream, seq, number);
            let publication = &mut self.ledger.all[number as usize];
            self.genuine.message(verdicts, now, node, publication, (seq, sender, topic));
            let times = [publication.at, subscription.asked];
            self.dedup.delivered(verdicts, now, node, number, times);
            self.tally.delivered += 1;
            if sender != Some(node) && subscription.since <= publication.at {
                publication.last = publication.last.max(now);
                publication.receivers += 1;
                if self.tally.covers(publication.at) {
                    let micros = now.since(publication.at).as_micros();
                    let micros = u64::try_from(micros).unwrap_or(u64::MAX);
                    self.tally.latency_us.saturating_record(micros.max(1));
                    let slow = |node: u32| self.slow.binary_search(&node).is_ok();
                    if !slow(node) && !slow(publication.origin) {
                        self.tally.bystanders_us.saturating_record(micros.max(1));
                    }
                }
            }
        }
    }

    fn gap(
        &mut self,
        now: Instant,
        node: u32,
        (topic, origin): (&Topic, Origin),
        [from, to]: [u64; 2],
    ) {
        let topic = self.roster.topic_number(topic).unwrap_or(u16::MAX);
        let sender = self.roster.find(origin.node).unwrap_or(u32::MAX);
        let stream = self.ledger.stream((sender, origin.incarnation.0, topic));
        self.order.advanced(&mut self.verdicts, now, node, stream, (from, to, true));
        self.gaps.extend(self.ledger.range(stream, from, to).map(|message| (message, node)));
    }

    fn topic_deleted(&mut self, timers: &mut Timers<'_, Token>, node: u32, topic: &Topic) {
        if let Some(topic) = self.roster.topic_number(topic) {
            let app = &mut self.apps[node as usize];
            app.topics[usize::from(topic)] = NOT_SUBSCRIBED;
            let life = app.life;
            timers.at(timers.now() + RETRY, Token::Ask { node, life, topic });
        }
    }

    fn notice(&mut self, now: Instant, node: u32, notice: &Notice) -> u64 {
        match notice {
            Notice::FirstReceipt { batch, from, hop } => {
                self.tally.first_receipt(now, *hop);
                10 ^ mix(batch.header().first_seq << 8 | u64::from(*hop)) ^ from.prefix()
            }
            Notice::DeadNode { peer, .. } => {
                self.tally.dead_nodes += 1;
                11 ^ peer.node.prefix()
            }
            Notice::Refuted { peer } => {
                self.tally.refuted += 1;
                12 ^ peer.node.prefix()
            }
            Notice::Returned { incarnation } => {
                self.tally.returned += 1;
                self.certificates.began(node, incarnation.0);
                13 ^ mix(incarnation.0)
            }
            Notice::Repaired { from, to, by, late: false, .. } => {
                self.tally.repaired += 1;
                14 ^ mix(*from) ^ mix(to.rotate_left(32)) ^ by.prefix()
            }
            Notice::LinkRefused { node, reason, .. } => {
                self.tally.links_refused += 1;
                15 ^ node.prefix() ^ (*reason as u64) << 8
            }
            Notice::NeighborUp { peer, .. } => 16 ^ peer.node.prefix(),
            Notice::NeighborDown { peer, .. } => 17 ^ peer.node.prefix(),
            Notice::SeedJoined { joined, .. } => 18 ^ (*joined as u64) << 8,
            Notice::SeedLost { joined, .. } => 19 ^ (*joined as u64) << 8,
            Notice::DeclaredDead { node, .. } => 20 ^ node.prefix(),
            _ => 21,
        }
    }

    fn peer_event(&mut self, timers: &mut Timers<'_, Token>, node: u32, event: Event) -> u64 {
        let now = timers.now();
        match event {
            Event::Answer { request, result } => {
                let digest = 1 ^ mix(request.0) ^ u64::from(result.is_ok()) << 8;
                self.answer(timers, node, request, result);
                digest
            }
            Event::Deliver { batch, from_seq } => {
                self.deliver(now, node, &batch, from_seq);
                2 ^ mix(from_seq) ^ batch.header().origin.node.prefix()
            }
            Event::Gap { topic, origin, from, to } => {
                self.gap(now, node, (&topic, origin), [from, to]);
                3 ^ mix(from) ^ mix(to).rotate_left(32) ^ origin.node.prefix()
            }
            Event::TopicDeleted { topic } => {
                self.topic_deleted(timers, node, &topic);
                4
            }
            Event::TopicAppeared { .. } => 5,
            Event::Notice(notice) => self.notice(now, node, &notice),
        }
    }
}

impl Host<AnyNode> for Apps {
    type Token = Token;

    fn event(&mut self, timers: &mut Timers<'_, Token>, node: u32, event: node::Event) -> u64 {
        match event {
            node::Event::Peer(event) => self.peer_event(timers, node, event),
            node::Event::Seed(seed_event::Event::Notice(notice)) => {
                if let seed_event::Notice::Dead { peer, .. } = notice {
                    self.tally.declared_dead += 1;
                    if let Some(dead) = self.roster.find(peer.node) {
                        let life = (dead, peer.incarnation.0);
                        let verdicts = &mut self.verdicts;
                        if self.certificates.declared(verdicts, timers.now(), node, life) {
                            self.deaths.declared(timers.now(), dead);
                        }
                    }
                }
                30
            }
            node::Event::Seed(seed_event::Event::Left { request }) => {
                self.answer(timers, node, request, Ok(Answer::Done));
                31
            }
            // Whoever asked for another set of seeds looks whether it has come about.
            node::Event::Seed(seed_event::Event::Admin { answer, .. }) => {
                self.tally.forgets(&answer);
                32
            }
        }
    }

    fn persisted(&mut self, node: u32, record: node::Durable) {
        let disk = &mut self.disks[node as usize];
        match record {
            node::Durable::Peer(peer::event::Durable::KnownPeers(peers)) => {
                disk.known_peers = peers;
            }
            node::Durable::Peer(peer::event::Durable::Topics(topics)) => {
                topics.apply(&mut disk.known_topics);
            }
            node::Durable::Peer(peer::event::Durable::Incarnation(incarnation)) => {
                disk.incarnation = incarnation.0;
            }
            node::Durable::Peer(peer::event::Durable::Seeds(known)) => {
                disk.known_seeds = Some(known);
            }
            node::Durable::Seed(_) if self.disks_lie => {}
            node::Durable::Seed(changes) => {
                changes.into_iter().for_each(|change| apply(&mut disk.rows, change));
            }
        }
    }

    fn received(&mut self, now: Instant, node: u32, from: u32, frame: &Frame, bytes: u32) {
        if let Some(Tap(show)) = &mut self.tap {
            show(frame);
        }
        self.lies.asked(node, from, frame);
        if self.roster.is_seed(node) && !self.roster.is_seed(from) {
            self.certificates.heard(now, node, from);
        }
        self.tally.frame(now, frame, bytes);
    }
}
