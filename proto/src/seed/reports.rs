//! Who is accused by whom. An accusation makes a peer suspect; only this seed's own probe, and
//! those of the other seeds, decide.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use core::time::Duration;

use crate::id::{Incarnation, NodeId};
use crate::seed::confirm::Confirmation;
use crate::seed::event::Notice;
use crate::seed::probes::Probe;
use crate::seed::status::Death;
use crate::seed::verdicts::Brake;
use crate::seed::{Seed, Timer};
use crate::time::Instant;
use crate::wire::frame::{Frame, PeerState};
use crate::wire::record::SignedRecord;

/// Peers that are accused at once. Guess: every neighbour of 85 crashed peers.
const CASES_MAX: usize = 4_096;
/// Of these, by one peer: more than it has neighbours.
const CASES_PER_REPORTER_MAX: usize = 128;
/// Accusers of one peer that are remembered: more than a peer has neighbours.
const REPORTERS_MAX: usize = 64;
/// A vote counts for the time of so many probes, so that only those who found a peer dead at
/// about the same time judge it together. Its caster repeats it after every second probe's time
/// while it gets no answer, so one repetition may be lost.
const VOTE_KEPT_PROBES: u32 = 5;
/// A peer that has just answered is not probed again for this long.
const QUIET: Duration = Duration::from_secs(1);

/// What is held against one life of a peer.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) incarnation: Incarnation,
    pub(super) reporters: BTreeSet<NodeId>,
    /// Votes by seed, and when each came.
    pub(super) votes: BTreeMap<NodeId, (SignedRecord, Instant)>,
    /// Whether the votes stand, once there are enough.
    pub(super) confirmation: Option<Confirmation>,
    pub(super) probe: Probe,
    /// How the last probe of this seed went.
    pub(super) result: &'static str,
    /// Not probed before.
    quiet_until: Instant,
    /// The brake has counted it, and it has not answered since.
    counted: bool,
}

/// All cases, and what came of earlier ones.
#[derive(Debug, Default)]
pub(super) struct Reports {
    pub(super) cases: BTreeMap<NodeId, Case>,
    pub(super) brake: Brake,
    pub(super) deaths: VecDeque<Death>,
}

impl Reports {
    /// A seed's votes on peers that are not judged yet. Those of others are theirs to tell: they
    /// may have taken them back.
    pub(super) fn votes_of(&self, seed: NodeId) -> impl Iterator<Item = &SignedRecord> + '_ {
        let votes = self.cases.values().filter_map(move |case| case.votes.get(&seed));
        votes.map(|(vote, _)| vote)
    }
}

impl Reports {
    /// Whether one more may be accused, by this peer or by a seed.
    fn have_room_for(&self, reporter: Option<&NodeId>) -> bool {
        let by = |peer| self.cases.values().filter(move |case| case.reporters.contains(peer));
        let has_share = reporter.is_none_or(|peer| by(peer).count() < CASES_PER_REPORTER_MAX);
        self.cases.len() < CASES_MAX && has_share
    }

    /// Counts those whose probe by this seed runs for at most `left` any more, each once until it
    /// answers. What others report proves nothing of this seed.
    pub(super) fn count_silent(&mut self, now: Instant, left: Duration) {
        for (node, case) in self.cases.iter_mut().filter(|(_, case)| !case.counted) {
            if matches!(case.probe, Probe::Running { deadline, .. } if deadline.since(now) <= left)
            {
                case.counted = true;
                self.brake.suspected(now, *node);
            }
        }
    }
}

impl Case {
    pub(super) fn new(incarnation: Incarnation, now: Instant) -> Self {
        Self {
            incarnation,
            reporters: BTreeSet::new(),
            votes: BTreeMap::new(),
            confirmation: None,
            probe: Probe::Idle,
            result: "not probed",
            quiet_until: now,
            counted: false,
        }
    }

    pub(super) fn drop_old_votes(&mut self, now: Instant, kept: Duration) {
        self.votes.retain(|_, (_, at)| now.since(*at) < kept);
    }
}

impl Seed {
    /// A peer, a seed's vote, or this seed itself speaks against a life of a peer.
    pub(super) fn accuse(
        &mut self,
        now: Instant,
        node: NodeId,
        incarnation: Incarnation,
        reporter: NodeId,
    ) {
        let Some(accused) = self.registry.life(&node, incarnation) else { return };
        let (peer, state) = (accused.entry(), accused.state);
        let is_new = !self.reports.cases.contains_key(&node);
        let by_peer = self.registry.peer(&reporter).map(|_| &reporter);
        if is_new && !self.reports.have_room_for(by_peer) {
            self.stats.reports_shed += 1;
            return;
        }
        let new = || Case::new(incarnation, now);
        let case = self.reports.cases.entry(node).or_insert_with(new);
        if case.reporters.len() >= REPORTERS_MAX || !case.reporters.insert(reporter) {
            return;
        }
        let (idle, at) = (matches!(case.probe, Probe::Idle), case.quiet_until);
        if state == PeerState::Alive {
            self.registry.set_state(&node, PeerState::Suspect);
        }
        let reporter = self.address_of(&reporter);
        self.notice(Notice::Reported { peer, reporter });
        if idle && at <= now {
            self.start_probe(now, node);
        } else if idle {
            self.timers.set(Timer::Case(node), at);
        }
    }

    /// A reporter takes its word back; without any left, the peer is not suspect.
    pub(super) fn withdraw(
        &mut self,
        now: Instant,
        node: NodeId,
        incarnation: Incarnation,
        reporter: NodeId,
    ) {
        let Some(case) = self.reports.cases.get_mut(&node) else { return };
        let withdrawn = case.incarnation == incarnation && case.reporters.remove(&reporter);
        if withdrawn && case.reporters.is_empty() {
            self.refute(now, node, "the report was withdrawn");
        }
    }

    /// A peer proved that it lives.
    pub(super) fn heard_from(&mut self, now: Instant, node: NodeId, cause: &'static str) {
        let case = self.reports.cases.get(&node);
        if case.is_some_and(|case| !case.reporters.is_empty()) {
            self.refute(now, node, cause);
        }
    }

    /// Votes of other seeds stay: they reached the peer no better than this seed thought. Its own
    /// is withdrawn from them, so that a verdict rests on seeds that all miss the peer at once.
    fn refute(&mut self, now: Instant, node: NodeId, cause: &'static str) {
        let me = self.me();
        let Some(case) = self.reports.cases.get_mut(&node) else { return };
        case.reporters.clear();
        let (voted, life) = (case.votes.remove(&me).is_some(), case.incarnation);
        case.probe = Probe::Idle;
        case.result = cause;
        case.counted = false;
        case.quiet_until = now + QUIET;
        let at = case.quiet_until;
        self.timers.set(Timer::Case(node), at);
        self.registry.set_state(&node, PeerState::Alive);
        self.reports.brake.refuted(&node);
        if let Some(peer) = self.registry.peer(&node).map(|peer| peer.entry()) {
            self.notice(Notice::Refuted { peer, cause });
        }
        if voted {
            self.tell_seeds(&Frame::VoteWithdrawn(node, life));
        }
        self.lives_on(node);
    }

    /// Another seed has heard of a node that it voted against.
    pub(super) fn take_withdrawal(&mut self, from: NodeId, node: NodeId, life: Incarnation) {
        if let Some(case) =
            self.reports.cases.get_mut(&node).filter(|case| case.incarnation <= life)
        {
            case.votes.remove(&from);
        }
    }

    /// Drops a case without reporters once no vote of others counts any more.
    pub(super) fn tidy_case(&mut self, now: Instant, node: NodeId) {
        let kept = self.votes_kept();
        let Some(case) = self.reports.cases.get_mut(&node) else { return };
        case.drop_old_votes(now, kept);
        match case.votes.values().map(|(_, at)| *at).min() {
            Some(oldest) => self.timers.set(Timer::Case(node), oldest + kept),
            None => self.close_case(&node),
        }
    }

    /// The life that was accused is no longer listed, or nothing is held against it.
    pub(super) fn close_case(&mut self, node: &NodeId) {
        self.reports.cases.remove(node);
        self.timers.cancel(Timer::Case(*node));
        self.timers.cancel(Timer::Confirm(*node));
    }

    /// How long a vote counts.
    pub(super) fn votes_kept(&self) -> Duration {
        self.config.probe_timeout * VOTE_KEPT_PROBES
    }

    /// Where a reporter can be dialled.
    fn address_of(&self, node: &NodeId) -> std::net::SocketAddr {
        let peer = self.registry.peer(node).map(|peer| peer.entry().address);
        let seed = || self.sync.slot_of(node).map(|slot| slot.address);
        peer.or_else(seed).unwrap_or(self.config.identity.address)
    }
}
