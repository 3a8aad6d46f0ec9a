//! A world filled with seeds, peers and applications, as a scenario says, and judged.

mod apps;
mod changes;
mod claims;
mod contests;
mod faults;
mod finish;
mod forgets;
mod lies;
mod node;
mod roster;
mod tally;
mod watch;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use tidings_proto::config::Dissemination;
use tidings_proto::crypto::Scheme;
use tidings_proto::peer::event::{Command, From};
use tidings_proto::wire::batch::Message;
use tidings_proto::wire::frame::Frame;
use tidings_proto::wire::record::TopicPolicy;
use tidings_proto::{Instant, Machine as _, PeerConfig, SeedConfig};

use crate::check::converge::Converge;
use crate::check::liveness::Death;
use crate::check::{Verdicts, bounds, bystanders, overlay, panic};
use crate::fault::{self, Fault, What};
use crate::network::NetworkConfig;
use crate::report::{Figures, Report};
use crate::rng::Rng;
use crate::scenario::{Beside, Scenario};
use crate::trace::Trace;
use crate::world::World;
use apps::{Apps, Token};
pub use faults::FaultCounts;
use node::AnyNode;
use roster::{Request, Roster};

/// Bounds are looked at this often, at so many nodes in turn: status takes longer to make than
/// most inputs to handle.
const INSPECT_EVERY: Duration = Duration::from_secs(1);
const INSPECT_NODES: u32 = 16;
/// How exactly it is known when an overlay was whole again.
const WHOLE_EVERY: Duration = Duration::from_millis(100);

/// Is shown every frame that reaches a machine.
pub struct Tap(Box<dyn FnMut(&Frame)>);

impl Tap {
    /// Shows frames to this function.
    pub fn new(show: impl FnMut(&Frame) + 'static) -> Self {
        Self(Box::new(show))
    }
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tap")
    }
}

/// How a scenario is run.
#[derive(Default)]
pub struct Options {
    /// Real signatures instead of checksums.
    pub ed25519: bool,
    /// Batches go out on all links.
    pub flood: bool,
    /// Nobody is slow, though the scenario says so.
    pub unslowed: bool,
    /// The report comes with a picture.
    pub plot: bool,
    /// Who is shown all frames.
    pub tap: Option<Tap>,
    /// Where each input and output is written as a line.
    pub trace: Option<Box<dyn Write>>,
}

/// A run under way.
struct Cluster<'a> {
    scenario: &'a Scenario,
    world: World<AnyNode, Apps>,
    faults: Vec<Fault>,
    counts: FaultCounts,
    patterns: Vec<Pattern>,
    deaths: Vec<(Death, u32)>,
    limits: (PeerConfig, SeedConfig),
    skews: Vec<i32>,
    inspected: u32,
    /// How many changes of the set of seeds have come about.
    changes_done: usize,
    /// Draws of the claims on names.
    draws: Rng,
    /// Draws of the contests.
    contest_draws: Rng,
    /// L4.
    converge: Option<Converge>,
    /// From then on nothing is wrong.
    calm_from: Instant,
    /// Counters of peers that died.
    buried: BTreeMap<String, u64>,
    /// How long the overlay was in parts after each disturbance.
    whole_after_ms: Vec<u64>,
}

/// A pattern of publications under way.
struct Pattern {
    origins: Vec<u32>,
    next: usize,
}

/// Runs a scenario, then as it says in other ways with the same seed number for comparison.
pub fn run_beside(scenario: &Scenario, seed: u64, options: Options) -> Report {
    let ed25519 = options.ed25519;
    let mut report = run(scenario, seed, options);
    for beside in &scenario.beside {
        let mut options = Options { ed25519, ..Options::default() };
        let mut changed = scenario.clone();
        match beside {
            Beside::Flood => options.flood = true,
            Beside::Lossless => changed.network.loss_ppm = 0,
            Beside::Unslowed => options.unslowed = true,
        }
        let other = run(&changed, seed, options);
        let figures = Some(Figures {
            last_receiver_ms: other.last_receiver_ms,
            redundancy: other.redundancy,
            hops_max: other.hops_max,
            latency_ms: other.latency_ms,
            bystanders_ms: other.bystanders_ms,
        });
        match beside {
            Beside::Flood => report.flood = figures,
            Beside::Lossless => report.lossless = figures,
            Beside::Unslowed => report.unslowed = figures,
        }
    }
    if let (Some(more_ppm), Some(other)) = (scenario.expect.bystanders_more_ppm, &report.unslowed) {
        let mut verdicts = Verdicts::default();
        let both = [report.bystanders_ms.p99, other.bystanders_ms.p99];
        bystanders::judge(&mut verdicts, Instant::from_millis(scenario.end_ms), both, more_ppm);
        report.violations += verdicts.total;
        report.first_violations.extend(verdicts.kept);
    }
    report
}

/// Runs a scenario with a seed number and reports what happened.
pub fn run(scenario: &Scenario, seed: u64, options: Options) -> Report {
    let plot = options.plot;
    let mut cluster = Cluster::new(scenario, seed, options);
    let position = cluster.world.position();
    let mut verdicts = Verdicts::default();
    let report = panic::catch(&mut verdicts, &position, move || {
        cluster.play();
        cluster.finish(seed, plot)
    });
    report.unwrap_or_else(|| Report::of_panic(scenario, seed, &verdicts))
}

/// The world of a run, without nodes.
fn world(scenario: &Scenario, seed: u64, options: &mut Options) -> World<AnyNode, Apps> {
    let scheme = if options.ed25519 { Scheme::Ed25519 } else { Scheme::Checksum };
    let contested = scenario.contest.iter().map(|contest| contest.names).max().unwrap_or(0);
    let names = scenario.claimed_names() + contested;
    let nodes = [scenario.seeds, scenario.peers];
    let mut roster = Roster::new(seed, scheme, nodes, (scenario.topics, names));
    roster.tune = scenario.tune;
    roster.seeds_first = scenario.seeds_first.unwrap_or(scenario.seeds);
    if options.flood {
        roster.dissemination = Dissemination::Flood;
    }
    let network = NetworkConfig {
        latency: scenario.network.latency,
        loss_ppm: scenario.network.loss_ppm,
        duplicate_ppm: scenario.network.duplicate_ppm,
        jitter_us: scenario.network.jitter_ms.saturating_mul(1_000),
        encode: scenario.network.encode,
        break_after_ms: scenario.network.break_after_ms,
        ..NetworkConfig::default()
    };
    let mut apps = Apps::new(roster, &scenario.expect, scenario.topics);
    apps.tap = options.tap.take();
    apps.disks_lie = scenario.disks_lie;
    World::new(seed, network, Trace::new(options.trace.take()), apps)
}

/// Adds all nodes, each of which will start; returns how far their clocks are off.
fn add_nodes(scenario: &Scenario, world: &mut World<AnyNode, Apps>, rng: &mut Rng) -> Vec<i32> {
    let skew = u64::from(scenario.skew_ppm);
    let mut skews = Vec::new();
    for node in 0..world.host.roster.nodes() {
        let id = world.host.roster.id(node).expect("a node of the roster");
        assert_eq!(world.add(id), node, "nodes are numbered alike everywhere");
        let drawn = rng.between(0, 2 * skew).cast_signed() - skew.cast_signed();
        skews.push(i32::try_from(drawn).expect("below a million"));
        let join_us = rng.below(scenario.join_ms.max(1) * 1_000);
        let at = if world.host.roster.is_seed(node) { 0 } else { join_us };
        world.at(Instant::from_micros(at), Token::Start(node));
    }
    skews
}

impl<'a> Cluster<'a> {
    fn new(scenario: &'a Scenario, seed: u64, mut options: Options) -> Self {
        let mut faults = fault::plan(scenario, seed);
        let slow = |fault: &Fault| match fault.what {
            What::Slow { node, .. } => Some(node),
            _ => None,
        };
        let mut slowed: Vec<u32> = faults.iter().filter_map(slow).collect();
        slowed.sort_unstable();
        faults.retain(|fault| !options.unslowed || slow(fault).is_none());
        let mut world = world(scenario, seed, &mut options);
        world.host.slow = slowed;
        let mut rng = Rng::new(seed, "cluster");
        let skews = add_nodes(scenario, &mut world, &mut rng);
        for (number, fault) in (0..).zip(&faults) {
            world.at(Instant::from_millis(fault.at_ms), Token::Fault(number));
        }
        let mut patterns = Vec::new();
        for (number, publish) in (0..).zip(&scenario.publish) {
            let mut origins: Vec<u32> = world.host.roster.peers().collect();
            rng.shuffle(&mut origins);
            origins.truncate(publish.origins as usize);
            patterns.push(Pattern { origins, next: 0 });
            world.at(Instant::from_millis(publish.from_ms), Token::Publish(number));
        }
        if let Some(first) = scenario.change.first() {
            world.at(Instant::from_millis(first.at_ms), Token::Change);
        }
        for (number, claim) in (0..).zip(&scenario.claim) {
            world.at(Instant::from_millis(claim.from_ms), Token::Claim(number));
        }
        for (number, contest) in (0..).zip(&scenario.contest) {
            world.at(Instant::from_millis(contest.from_ms), Token::Contest(number));
        }
        if scenario.forget_every_ms.is_some() {
            world.at(Instant::from_millis(scenario.join_ms), Token::Forget);
        }
        if let Some(liars) = &scenario.liars {
            let seeds = liars.seeds.unwrap_or((scenario.seeds - 1) / 2);
            world.host.lies.seeds = 0..seeds.min(scenario.seeds);
            world.at(Instant::from_millis(liars.from_ms), Token::Lie);
            world.at(Instant::from_millis(liars.from_ms), Token::Insist);
        }
        world.at(Instant::ZERO + INSPECT_EVERY, Token::Inspect);
        if scenario.expect.whole_within_ms.is_some() {
            for at_ms in scenario.disturbances_ms() {
                let at = Instant::from_millis(at_ms);
                world.at(at, Token::Whole(at));
            }
        }
        let over_ms = faults.iter().map(|fault| fault.until_ms.unwrap_or(fault.at_ms)).max();
        let bound = scenario.expect.tables_equal_within_ms.map(Duration::from_millis);
        Self {
            scenario,
            limits: world.host.roster.limits(),
            world,
            faults,
            counts: FaultCounts::default(),
            patterns,
            deaths: Vec::new(),
            skews,
            inspected: 0,
            changes_done: 0,
            draws: Rng::new(seed, "claims"),
            contest_draws: Rng::new(seed, "contests"),
            converge: bound.map(Converge::new),
            calm_from: Instant::from_millis(over_ms.unwrap_or(0)),
            buried: BTreeMap::new(),
            whole_after_ms: Vec::new(),
        }
    }

    fn play(&mut self) {
        let end = Instant::from_millis(self.scenario.end_ms);
        while let Some(token) = self.world.run(end) {
            match token {
                Token::Start(node) => self.start(node),
                Token::Ask { node, life, topic } => self.ask(node, life, topic),
                Token::Publish(pattern) => self.publish(pattern),
                Token::Claim(pattern) => self.claim(pattern),
                Token::Contest(pattern) => self.contest(pattern),
                Token::Fault(number) => self.fault(number),
                Token::Undo(number, life) => self.undo(number, life),
                Token::Stop(node, life) => self.stop(node, life),
                Token::Whole(since) => self.whole(since),
                Token::Delisted(number) => self.delisted(number),
                Token::Change => self.change_seeds(),
                Token::Forget => self.forget(),
                Token::Inspect => self.inspect(),
                Token::Lie => self.lie(),
                Token::Insist => self.insist(),
            }
        }
    }

    /// Starts a node, and what its application wants at once.
    fn start(&mut self, node: u32) {
        if self.world.machine(node).is_some() {
            return;
        }
        let now = self.world.now();
        self.world.host.started(now, node);
        let apps = &self.world.host;
        let disk = apps.disks[node as usize].clone();
        let life = apps.apps[node as usize].life;
        let machine = apps.roster.machine(node, now, &disk);
        self.world.host.disks[node as usize].damaged = false;
        self.world.start(node, self.skews[node as usize], machine);
        if self.world.host.roster.is_seed(node) {
            return;
        }
        for topic in self.wanted(node) {
            self.ask(node, life, topic);
        }
    }

    /// The topics that a peer subscribes to.
    fn wanted(&self, node: u32) -> Vec<u16> {
        (0..self.scenario.topics).filter(|&topic| self.scenario.wants(node, topic)).collect()
    }

    /// The application of a peer creates a topic, if it is its host, or subscribes to it.
    fn ask(&mut self, node: u32, life: u32, topic: u16) {
        let now = self.world.now();
        let apps = &mut self.world.host;
        let app = &apps.apps[node as usize];
        if app.life != life || app.started.is_none() || app.leaving {
            return;
        }
        if !self.world.is_running(node) {
            self.world.at(now + INSPECT_EVERY, Token::Ask { node, life, topic });
            return;
        }
        let apps = &mut self.world.host;
        let created = apps.apps[node as usize].created(topic);
        let name = apps.roster.topic(topic).clone();
        let command = if apps.roster.host(topic) == node && !created {
            let request = apps.request(now, node, Request::Create(topic));
            let policy = TopicPolicy::default();
            Command::CreateTopic { request, topic: name, exist_ok: true, policy }
        } else {
            let request = apps.request(now, node, Request::Subscribe(topic));
            Command::Subscribe { request, topic: name, from: From::New }
        };
        self.world.command(node, node::Command::Peer(command));
    }

    /// The next origin of a pattern publishes.
    fn publish(&mut self, number: u32) {
        let now = self.world.now();
        let publish = &self.scenario.publish[number as usize];
        if now >= Instant::from_millis(publish.until_ms) {
            return;
        }
        self.world.at(now + Duration::from_millis(publish.every_ms), Token::Publish(number));
        let pattern = &mut self.patterns[number as usize];
        let origin = pattern.origins[pattern.next % pattern.origins.len()];
        pattern.next += 1;
        let leaving = self.world.host.apps[origin as usize].leaving;
        if leaving || !self.world.is_running(origin) {
            self.world.host.tally.skipped += 1;
            return;
        }
        if !self.world.machine(origin).is_some_and(|peer| peer.takes_traffic()) {
            self.world.host.tally.held_back += 1;
            return;
        }
        let apps = &mut self.world.host;
        let (number, body) = apps.ledger.publish(now, origin, publish.topic, publish.bytes);
        let request = apps.request(now, origin, Request::Publish(number));
        let topic = apps.roster.topic(publish.topic).clone();
        let command = Command::Publish { request, topic, message: Message::new(body) };
        self.world.command(origin, node::Command::Peer(command));
    }

    /// Whether the overlay has become whole after a disturbance.
    fn whole(&mut self, since: Instant) {
        let Some(bound_ms) = self.scenario.expect.whole_within_ms else { return };
        let now = self.world.now();
        let after = now.since(since);
        let (live, edges) = self.graph();
        let parts = overlay::parts(self.world.host.roster.nodes(), &live, &edges);
        let bound = Duration::from_millis(bound_ms);
        overlay::whole(&mut self.world.host.verdicts, now, (after, bound), parts);
        if parts <= 1 {
            self.whole_after_ms.push(u64::from(now.millis_since(since)));
        } else if after < bound {
            self.world.at(now + WHOLE_EVERY, Token::Whole(since));
        }
    }

    /// Looks at the bounds of some nodes.
    fn inspect(&mut self) {
        let now = self.world.now();
        self.world.at(now + INSPECT_EVERY, Token::Inspect);
        self.watch_seeds();
        let nodes = self.world.host.roster.nodes();
        for _ in 0..INSPECT_NODES.min(nodes) {
            self.bounds(self.inspected % nodes);
            self.inspected += 1;
        }
    }

    fn bounds(&mut self, node: u32) {
        let now = self.world.now();
        let (peer, seed) = match self.world.machine(node) {
            Some(AnyNode::Peer(peer)) => (Some(peer.status()), None),
            Some(AnyNode::Seed(seed)) => (None, Some(seed.status())),
            None => return,
        };
        let verdicts = &mut self.world.host.verdicts;
        if let Some(status) = peer {
            bounds::peer(verdicts, now, node, &status, &self.limits.0);
        }
        if let Some(status) = seed {
            bounds::seed(verdicts, now, node, &status, &self.limits.1);
        }
    }
}
