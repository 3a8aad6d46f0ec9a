//! The end of a run: the judges that look at the whole, and the report.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use tidings_proto::seed::status::PeerView;
use tidings_proto::wire::frame::PeerState;
use tidings_proto::{Instant, NodeId, Peer, Seed};

use super::node::AnyNode;
use super::{Cluster, FaultCounts};
use crate::check::converge::Converge;
use crate::check::delivery::{self, Ending, Found};
use crate::check::{liveness, overlay};
use crate::ledger::Publication;
use crate::network::index_of;
use crate::plot::Plot;
use crate::report::{Judged, Latency, Report};
use crate::wire::KINDS;

/// Peers of a seed's list are asked for in pages of this size.
const PAGE: usize = 1_000;

impl Cluster<'_> {
    pub(super) fn finish(mut self, seed: u64, plot: bool) -> Report {
        let plot = plot.then(|| self.plot(seed));
        for node in 0..self.world.host.roster.nodes() {
            self.bounds(node);
        }
        let found = self.judge_delivery();
        self.judge_answers();
        self.judge_deaths();
        self.judge_lists();
        self.judge_subscriptions();
        self.judge_seed_set();
        self.judge_chaos();
        let linear = self.judge_history();
        let parts = self.judge_overlay();
        let counters = self.counters();
        let count = |name| counters.get(name).copied().unwrap_or_default();
        let [grafts, prunes, repairs] = ["grafts_sent", "prunes_sent", "repairs"].map(count);
        let [last_ms, last_ms_max] = self.last_receivers();
        let world = &self.world;
        let apps = &world.host;
        let tally = &apps.tally;
        let kinds = |values: &[u64; KINDS.len()]| {
            KINDS.iter().zip(values).map(|(kind, n)| ((*kind).to_owned(), *n)).collect()
        };
        Report {
            scenario: self.scenario.name.clone(),
            seed,
            peers: self.scenario.peers,
            seeds: self.scenario.seeds,
            virtual_s: world.now().as_micros() as f64 / 1e6,
            published: apps.ledger.all.len() as u64,
            refused: tally.refused,
            skipped: tally.skipped,
            held_back: tally.held_back,
            deliveries: tally.delivered,
            redundancy: tally.redundancy(),
            hops_max: tally.hops_max(),
            last_receiver_ms: last_ms,
            last_receiver_ms_max: last_ms_max,
            latency_ms: latency(&tally.latency_us),
            bystanders_ms: latency(&tally.bystanders_us),
            judged: Judged { linear, ..self.judged() },
            delivered_share: found.share(),
            expected: found.expected,
            missed: found.missed,
            gaps: found.gaps,
            lost: found.lost,
            duplicates: apps.dedup.duplicates(),
            parts: parts as u64,
            dead_nodes: tally.dead_nodes,
            declared_dead: tally.declared_dead,
            violations: apps.verdicts.total,
            first_violations: apps.verdicts.kept.clone(),
            faults: self.fault_counts(),
            bytes: kinds(&tally.bytes),
            frames: kinds(&tally.frames),
            grafts,
            prunes,
            repairs,
            whole_after_ms: self.whole_after_ms.clone(),
            counters,
            inputs: world.counts.inputs,
            trace_hash: world.trace.hash(),
            wall_s: 0.0,
            plot,
            flood: None,
            lossless: None,
            unslowed: None,
        }
    }

    /// Faults of the plan, and those that the world counts.
    pub(super) fn fault_counts(&self) -> FaultCounts {
        let counts = &self.world.counts;
        FaultCounts {
            stalls: counts.stalled,
            late_frames: counts.retransmitted,
            damaged_frames: counts.damaged,
            duplicated_frames: counts.duplicated,
            writes_lost: counts.writes_lost,
            ..self.counts
        }
    }

    fn plot(&self, seed: u64) -> Plot {
        let (live, edges) = self.graph();
        let place = |node: &u32| live.binary_search(node).ok();
        let one_way = edges.iter().filter_map(|(a, b)| Some((place(a)?, place(b)?)));
        let mut edges: Vec<_> = one_way.map(|(a, b)| (a.min(b), a.max(b))).collect();
        edges.sort_unstable();
        edges.dedup();
        let seconds = |ms: u64| ms as f64 / 1_000.0;
        let faults = self
            .faults
            .iter()
            .map(|fault| (seconds(fault.at_ms), seconds(fault.until_ms.unwrap_or(fault.at_ms))));
        let heard = self.world.host.ledger.all.iter().filter(|one| one.receivers > 0);
        let point = |one: &Publication| {
            let took_ms = one.last.since(one.at).as_secs_f64() * 1_000.0;
            (one.at.as_micros() as f64 / 1e6, took_ms)
        };
        Plot {
            title: format!("{}, seed {seed}", self.scenario.name),
            latency: heard.map(point).collect(),
            faults: faults.collect(),
            end_s: self.world.now().as_micros() as f64 / 1e6,
            peers: live.len(),
            edges,
        }
    }

    fn judge_delivery(&mut self) -> Found {
        let now = self.world.now();
        let expect = &self.scenario.expect;
        let apps = &mut self.world.host;
        let alive: Vec<Option<Instant>> = apps.apps.iter().map(|app| app.started).collect();
        let mut verdicts = std::mem::take(&mut apps.verdicts);
        let before = verdicts.clone();
        let ending = Ending {
            ledger: &apps.ledger,
            has: apps.dedup.grid(),
            gaps: &apps.gaps,
            grace: Duration::from_millis(expect.grace_ms),
            from: Instant::from_millis(expect.complete_from_ms),
            gaps_allowed: expect.gaps,
        };
        let wants = |node, topic| self.scenario.wants(node, topic);
        // Who was never answered is not excused by it.
        let since = |node: u32, topic| {
            let started = alive[node as usize].filter(|_| wants(node, topic));
            apps.since(node, topic).or(started)
        };
        let found = delivery::judge(&ending, &mut verdicts, now, since, &alive);
        apps.verdicts = if expect.complete { verdicts } else { before };
        delivery::share(&mut apps.verdicts, now, found, expect.delivered_min_ppm);
        found
    }

    /// The crashed must have been declared dead in time, and nobody else.
    fn judge_deaths(&mut self) {
        let now = self.world.now();
        let expect = &self.scenario.expect;
        let within = expect.dead_within_ms.map(Duration::from_millis);
        let apps = &mut self.world.host;
        apps.deaths.judge(&mut apps.verdicts, now, within, expect.evicted_max);
    }

    /// An order must explain all that was seen of contested names.
    fn judge_history(&mut self) -> u64 {
        let apps = &mut self.world.host;
        apps.contests.history.judge(&mut apps.verdicts) as u64
    }

    fn judge_answers(&mut self) {
        let now = self.world.now();
        let limit = Duration::from_millis(self.scenario.expect.answered_within_ms);
        let apps = &mut self.world.host;
        let alive = |node: u32| apps.apps[node as usize].started.is_some();
        apps.answers.finish(&mut apps.verdicts, now, limit, alive);
    }

    /// The living must be listed by every seed that was there long enough.
    fn judge_lists(&mut self) {
        let Some(within) = self.scenario.expect.delisted_within_ms.map(Duration::from_millis)
        else {
            return;
        };
        let now = self.world.now();
        for seed in self.members() {
            let Some(AnyNode::Seed(machine)) = self.world.machine(seed) else { continue };
            let old = self.world.host.apps[seed as usize].started;
            if old.is_none_or(|started| started + within > now) {
                continue;
            }
            let listed = listed(machine, self.world.local_now(seed));
            let apps = &mut self.world.host;
            for node in apps.roster.peers() {
                let (Some(started), Some(id)) =
                    (apps.apps[node as usize].started, apps.roster.id(node))
                else {
                    continue;
                };
                let listed = listed.binary_search(&id).is_ok();
                let verdicts = &mut apps.verdicts;
                liveness::alive(verdicts, now, seed, (node, started), (within, listed));
            }
        }
    }

    /// The live peers, and the links among them that both ends would count on.
    pub(super) fn graph(&self) -> (Vec<u32>, Vec<(u32, u32)>) {
        let (mut live, mut edges) = (Vec::new(), Vec::new());
        let roster = &self.world.host.roster;
        for node in roster.peers() {
            let Some(AnyNode::Peer(peer)) = self.world.machine(node) else { continue };
            live.push(node);
            let known = |other: &u32| *other < roster.nodes();
            let others = peer.neighbor_addresses().filter_map(index_of);
            edges.extend(others.filter(known).map(|other| (node, other)));
        }
        // An edge counts when its other end lives: links to the dead hold nothing together.
        edges.retain(|(_, other)| live.binary_search(other).is_ok());
        (live, edges)
    }

    /// How much the judges of the seeds had to judge: nothing judged proves nothing.
    fn judged(&self) -> Judged {
        let apps = &self.world.host;
        let longest = |judge: &Converge| judge.longest().as_millis();
        Judged {
            topics_kept: apps.kept.judged(),
            forgotten: apps.tally.forgotten,
            not_forgotten: apps.tally.not_forgotten,
            verdicts_of_death: apps.certificates.judged(),
            claims: apps.owners.judged(),
            linear: 0,
            no_quorum: apps.refused.count(),
            death_p99_ms: apps.deaths.p99().as_micros() as f64 / 1_000.0,
            evicted: apps.deaths.evicted(),
            tables_equal: self.converge.as_ref().map_or(0, Converge::compared),
            tables_differed_ms: u64::try_from(self.converge.as_ref().map_or(0, longest))
                .unwrap_or(u64::MAX),
        }
    }

    /// All counters of all peers, the dead included.
    fn counters(&self) -> BTreeMap<String, u64> {
        let mut counters = self.buried.clone();
        for node in self.world.host.roster.peers() {
            if let Some(AnyNode::Peer(peer)) = self.world.machine(node) {
                add_counters(&mut counters, peer);
            }
        }
        counters
    }

    /// The live peers must be one overlay.
    fn judge_overlay(&mut self) -> usize {
        let now = self.world.now();
        let nodes = self.world.host.roster.nodes();
        let (live, edges) = self.graph();
        let mut verdicts = std::mem::take(&mut self.world.host.verdicts);
        let before = verdicts.clone();
        let parts = overlay::judge(&mut verdicts, now, nodes, &live, &edges);
        self.world.host.verdicts = if self.scenario.expect.one_overlay { verdicts } else { before };
        parts
    }

    /// How long a message took to its last receiver: the median over all messages, and the most.
    fn last_receivers(&self) -> [f64; 2] {
        let apps = &self.world.host;
        let measured =
            apps.ledger.all.iter().filter(|one| one.receivers > 0 && apps.tally.covers(one.at));
        let mut all: Vec<Duration> = measured.map(|one| one.last.since(one.at)).collect();
        all.sort_unstable();
        let ms = |at: Option<&Duration>| at.map_or(0.0, |last| last.as_secs_f64() * 1_000.0);
        [ms(all.get(all.len() / 2)), ms(all.last())]
    }
}

fn latency(of: &Histogram<u64>) -> Latency {
    let quantile = |q| of.value_at_quantile(q) as f64 / 1_000.0;
    let max = of.max() as f64 / 1_000.0;
    Latency { p50: quantile(0.5), p99: quantile(0.99), p999: quantile(0.999), max }
}

/// Adds what a peer has counted.
pub(super) fn add_counters(counters: &mut BTreeMap<String, u64>, peer: &Peer) {
    for (name, _, value) in peer.stats().list() {
        *counters.entry(name.to_owned()).or_insert(0) += value;
    }
}

/// Whether a seed offers a peer to others.
pub(super) fn is_listed(peer: &PeerView) -> bool {
    peer.state != PeerState::Dead
}

/// All peers that a seed lists, in the order of their ids.
fn listed(seed: &Seed, local: Instant) -> Vec<NodeId> {
    let mut all = Vec::new();
    loop {
        let page = seed.peers(local, "", all.len(), PAGE);
        if page.items.is_empty() {
            break;
        }
        all.extend(page.items);
    }
    let mut ids: Vec<NodeId> =
        all.iter().filter(|peer| is_listed(peer)).map(|peer| peer.node).collect();
    ids.sort_unstable();
    ids
}
