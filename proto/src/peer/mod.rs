//! The role that carries messages.
//!
//! Rules, one a file, know nothing of each other: `liveness`, `streams`, `retention`, `degree`,
//! `trees`, `announced`, `announcing`, `publish`, `repair`, `collect`, `views`, `rendezvous`,
//! `hedging`, `requests`, `topics`, `value`, `directory`, `links`, `lag`, `flow`, `frontier`,
//! `window`, `overload`, `proven`, `trust`, `silence`, `settling`, `holes`, `overview`, `outbox`.
//! What happens to a peer is told in flows that compose them: `handshake` (a link becomes a
//! neighbour), `neighbors` (finding, losing and suspecting them), `verdicts` (deaths that seeds
//! declare), `gossip` (batches in and out), `pacing` (publishers that wait), `grafting` (trees and
//! announcements), `catch_up` (heads, digests, pulls), `eclipse` (neighbours that keep news back),
//! `history` (what was published before), `holding` (what topics retain), `slow` (full queues),
//! `registration` (sessions with seeds and their answers), `seed_set` (who the seeds are),
//! `forgetting` (a peer that is gone), `hosting` and `filters` (topics that this peer creates, and
//! news of topics) and `commands` (what else the application asks). This file holds the parts
//! together and dispatches; it decides nothing.

pub mod event;
pub mod notice;
pub mod status;

mod announced;
mod announcing;
mod catch_up;
mod collect;
mod commands;
mod degree;
mod directory;
mod eclipse;
mod filters;
mod flow;
mod forgetting;
mod frontier;
mod gossip;
mod grafting;
mod handshake;
mod hedging;
mod history;
mod holding;
mod holes;
mod hosting;
mod lag;
mod links;
mod liveness;
mod neighbors;
mod news;
mod outbox;
mod overload;
mod overview;
mod own_topics;
mod pacing;
mod proven;
mod publish;
mod registration;
mod rendezvous;
mod repair;
mod requests;
mod retention;
mod sealing;
pub mod seed_set;
mod settling;
mod silence;
mod slow;
mod streams;
mod topics;
mod trees;
mod trust;
mod value;
mod verdicts;
mod views;
mod window;

#[cfg(test)]
mod tests;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::config::PeerConfig;
use crate::crypto::Signer;
use crate::filter::TopicFilter;
use crate::id::{Incarnation, LinkId, NodeId, Topic};
use crate::machine::{Input, LinkDown, Machine, Output};
use crate::stats::PeerStats;
use crate::time::Instant;
use crate::wire::frame::{Cause, Frame, PeerEntry};
use announced::Announced;
use announcing::Announcing;
use collect::Collections;
use event::{Command, Durable, Event};
use forgetting::Forgets;
use links::{Intent, Links};
use neighbors::Suspect;
use news::News;
use outbox::Outbox;
use proven::Proven;
use publish::Publisher;
use rendezvous::Rendezvous;
use repair::Repair;
use requests::Requests;
use status::{NeighborStatus, PeerStatus, StreamStatus, TopicStatus};
use topics::Topics;
use trust::Trust;
use views::Views;

/// How often a peer looks after its links, views and topics. A quarter of the default liveness
/// interval, so that a miss is noticed at most that much late.
const TICK: Duration = Duration::from_millis(250);

/// A peer's protocol.
#[derive(Debug)]
pub struct Peer {
    config: PeerConfig,
    signer: Signer,
    node: NodeId,
    incarnation: Incarnation,
    rng: ChaCha8Rng,
    now: Instant,
    out: Outbox,
    stats: PeerStats,
    links: Links,
    views: Views,
    topics: Topics,
    publisher: Publisher,
    repair: Repair,
    collections: Collections,
    proven: Proven,
    trust: Trust,
    announced: Announced,
    announcing: Announcing,
    news: News,
    rendezvous: Rendezvous,
    told: seed_set::Told,
    requests: Requests,
    forgets: Forgets,
    suspects: BTreeMap<NodeId, Suspect>,
    /// Filters of the application.
    filters: BTreeSet<TopicFilter>,
    overlay: Topic,
    had_quorum: bool,
    record_version: u64,
    schedule: Schedule,
    left: bool,
}

/// When recurring work is due.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    tick: Instant,
    shuffle: Instant,
    digest: Instant,
    heads: Instant,
    persist: Instant,
    persist_topics: Instant,
}

impl Peer {
    /// A peer that has just started.
    pub fn new(config: PeerConfig, signer: Signer, now: Instant) -> Self {
        let node = signer.node();
        let mut peer = Self {
            node,
            incarnation: config.identity.incarnation,
            rng: ChaCha8Rng::from_seed(config.identity.rng_seed),
            now,
            out: Outbox::default(),
            stats: PeerStats::default(),
            links: Links::default(),
            views: Views::new(node, &config.known_peers, &config.views),
            topics: Topics::default(),
            publisher: Publisher::default(),
            repair: Repair::default(),
            collections: Collections::default(),
            proven: Proven::default(),
            trust: Trust::new(config.gossip),
            announced: Announced::default(),
            announcing: Announcing::default(),
            news: News::default(),
            rendezvous: Rendezvous::new(&config.seeds, config.seed_backoff_max),
            told: seed_set::Told::default(),
            requests: Requests::default(),
            forgets: Forgets::default(),
            suspects: BTreeMap::new(),
            filters: BTreeSet::new(),
            overlay: Topic::overlay(),
            had_quorum: false,
            record_version: 0,
            schedule: Schedule {
                tick: now,
                shuffle: now + config.views.shuffle_interval,
                digest: now + config.repair.digest_interval,
                heads: now + Self::HEADS_EVERY,
                persist: now,
                persist_topics: now,
            },
            left: false,
            config,
            signer,
        };
        let overlay = peer.topics.enter(now, &peer.overlay, &peer.config);
        let overlay = overlay.expect("the first topic finds room");
        overlay.subscribed_at = Some(now);
        overlay.horizon = now;
        peer.remember_topics();
        if let Some(known) = peer.config.known_seeds.take() {
            peer.rendezvous.adopt(&known);
        }
        peer
    }

    /// Who this is.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// What others pass on of this peer.
    fn entry(&self) -> PeerEntry {
        PeerEntry {
            node: self.node,
            incarnation: self.incarnation,
            address: self.config.identity.address,
        }
    }

    /// Counters.
    pub fn stats(&self) -> &PeerStats {
        &self.stats
    }

    /// What it shows of itself.
    pub fn status(&self) -> PeerStatus {
        let neighbor = |link: &links::Link| {
            Some(NeighborStatus {
                peer: link.peer?,
                name: link.name.clone(),
                outbound: link.dial.is_some(),
                topics: link.interests.len(),
            })
        };
        let topic = |(topic, local): (&Topic, &topics::LocalTopic)| TopicStatus {
            topic: topic.clone(),
            subscribed: local.wanted,
            retains: local.value.current().is_some(),
            hosted: self.topics.hosts(topic),
            neighbors: local.links.len(),
            retained_batches: local.retention.len(),
            retained_bytes: local.retention.bytes(),
            streams: local.streams.len(),
        };
        PeerStatus {
            node: self.node,
            incarnation: self.incarnation,
            joined: self.rendezvous.joined(),
            quorum: self.rendezvous.quorum(),
            seeds: self.rendezvous.status(),
            neighbors: self.links.healthy().filter_map(|(_, link)| neighbor(link)).collect(),
            passive: self.views.passive().len(),
            topics: self.topics.local().map(topic).collect(),
            stats: self.stats,
        }
    }

    /// How it is with streams: those with holes first, then those with the greatest lag; at most
    /// `limit`, and how many there are in all. The protocol's own topics are left out.
    pub fn streams(&self, limit: usize) -> (usize, Vec<StreamStatus>) {
        overview::streams(&self.topics, limit)
    }

    /// Where its healthy neighbours are dialled: the overlay without the cost of a whole status.
    pub fn neighbor_addresses(&self) -> impl Iterator<Item = core::net::SocketAddr> + '_ {
        self.links.healthy().filter_map(|(_, link)| link.peer.map(|peer| peer.address))
    }

    fn on_frame(&mut self, id: LinkId, frame: Frame) {
        if !self.hear(id) {
            return;
        }
        match frame {
            Frame::Batch(frame) if frame.cause == Cause::History => {
                self.on_history_batch(id, &frame);
            }
            Frame::Batch(frame) if frame.cause == Cause::Retained => self.on_value(id, &frame),
            Frame::Batch(frame) => self.on_batch(id, frame),
            Frame::Hello(hello) => self.on_hello(id, *hello),
            Frame::Goodbye(goodbye) => self.on_goodbye(id, goodbye),
            Frame::Ping(nonce) => self.out.control(id, Frame::Pong(nonce)),
            Frame::Pong(nonce) => self.on_pong(id, nonce),
            Frame::Accept => self.on_accept(id),
            Frame::Refuse(alternatives) => self.on_refuse(id, &alternatives),
            Frame::Interests(interests) => self.on_interests(id, interests),
            Frame::Shuffle(peers) => self.on_shuffle(id, &peers),
            Frame::ShuffleReply(peers) => self.learn(&peers),
            Frame::Digest(digest) => self.on_digest(id, digest),
            Frame::Heads(heads) if self.rendezvous.is_session(id) => self.on_seed_heads(&heads),
            Frame::Heads(heads) => self.on_heads(id, heads),
            Frame::Pull(pull) => self.on_pull(id, &pull),
            Frame::PullDone(done) => self.on_pull_done(id, &done),
            Frame::History(history) => self.on_history(id, &history),
            Frame::HistoryDone(done) => self.on_history_done(id, &done),
            Frame::Announce(announce) => self.on_announce(id, &announce),
            Frame::Prune(prune) => self.on_prune(id, &prune),
            Frame::Graft(graft) => self.on_graft(id, &graft),
            Frame::GraftAll(topic) => self.on_graft_all(id, &topic),
            Frame::Reached(reached) => self.on_reached(id, &reached),
            from_seed => self.on_seed_frame(id, from_seed),
        }
    }

    fn on_tick(&mut self) {
        if self.now >= self.schedule.tick {
            let lateness = self.now.since(self.schedule.tick);
            self.schedule.tick = self.now + TICK;
            self.watch_links(lateness);
            self.expire_greetings();
            self.believe_seeds();
            self.seek_neighbors();
            self.expire_publishing();
            self.release_held();
            self.tell_what_was_shed();
            self.tend_windows();
            self.persist_views();
            self.persist_topics();
        }
        if self.now >= self.schedule.shuffle {
            self.schedule.shuffle = self.now + self.config.views.shuffle_interval;
            self.shuffle();
        }
        if self.now >= self.schedule.digest {
            self.schedule.digest = self.now + self.config.repair.digest_interval;
            self.send_digests();
        }
        if self.now >= self.schedule.heads {
            self.schedule.heads = self.now + Self::HEADS_EVERY;
            self.compare_with_seed();
        }
        self.tend_requests();
        self.tend_forgets();
        self.expire_waiting();
        self.send_due_news();
        self.graft_due();
        self.repair_due();
        self.collect_due();
    }
}

impl Machine for Peer {
    type Command = Command;
    type Event = Event;
    type Durable = Durable;

    fn handle(&mut self, now: Instant, input: Input<Command>) {
        debug_assert!(now >= self.now, "time goes back");
        self.now = now.max(self.now);
        if self.left {
            if let Input::Command(command) = input {
                self.refuse_after_leave(&command);
            }
            return;
        }
        match input {
            Input::LinkUp { link, node, remote, dialed } => {
                self.on_link_up(link, node, remote, dialed);
            }
            Input::LinkDown { link, cause: LinkDown::Closed } => {
                self.on_link_down(link, "connection lost");
            }
            Input::LinkDown { link, cause: LinkDown::Malformed(what) } => {
                self.on_malformed(link, what);
            }
            Input::DialFailed { dial, cause } => self.on_dial_failed(dial, cause),
            Input::Received { link, frame } => self.on_frame(link, frame),
            Input::Shed { link, class, frames, batches } => {
                self.on_shed(link, class, frames, &batches);
            }
            Input::Command(command) => self.on_command(command),
            Input::Persisted(_) => {}
            Input::Tick => self.on_tick(),
        }
    }

    fn poll_output(&mut self) -> Option<Output<Event, Durable>> {
        if let Some(output) = self.out.pop() {
            return Some(output);
        }
        self.flush_publications();
        self.flush_announcements();
        self.out.pop()
    }

    fn takes_traffic(&self) -> bool {
        self.left || !self.publisher.is_full()
    }

    fn next_deadline(&self) -> Option<Instant> {
        if self.left {
            return None;
        }
        let fixed =
            [self.schedule.tick, self.schedule.shuffle, self.schedule.digest, self.schedule.heads];
        let moving = [
            self.rendezvous.next_deadline(self.now),
            self.requests.next_deadline(),
            self.forgets.next_deadline(),
            self.publisher.next_deadline(),
            self.repair.next_deadline(),
            self.collections.next_deadline(),
            self.announced.next_deadline(),
            self.announcing.next_deadline(),
            self.news.next_deadline(),
        ];
        fixed.into_iter().chain(moving.into_iter().flatten()).min()
    }
}
