//! Faults of the plan, as they begin and end.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_proto::peer::event::Command;
use tidings_proto::{Instant, NodeId, Seed, seed};

use super::apps::Token;
use super::finish::add_counters;
use super::node::AnyNode;
use super::roster::{Disk, Request};
use super::{Cluster, node};
use crate::check::liveness::{self, Death};
use crate::fault::{DiskFate, What};
use crate::world::Crash;

/// Faults that took place: a plan may hit nodes that are down already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FaultCounts {
    /// Peers that crashed.
    pub peer_crashes: u64,
    /// Seeds that crashed.
    pub seed_crashes: u64,
    /// Of those, seeds that lost their disks.
    pub disks_lost: u64,
    /// Seeds that crashed with damaged disks.
    pub disks_damaged: u64,
    /// Writes that a crash took along.
    pub writes_lost: u64,
    /// Nodes that left in order.
    pub leaves: u64,
    /// Nodes that were started again.
    pub restarts: u64,
    /// Processes that were stopped for a while.
    pub pauses: u64,
    /// Paths cut in one direction.
    pub cuts: u64,
    /// Partitions.
    pub partitions: u64,
    /// Links reset.
    pub resets: u64,
    /// Nodes that were slow, or had slow links, for a while.
    pub slowed: u64,
    /// Frames sent twice.
    pub duplicated_frames: u64,
    /// Streams that a cut or partition stopped.
    pub stalls: u64,
    /// Frames that were late because packets were lost.
    pub late_frames: u64,
    /// Frames damaged.
    pub damaged_frames: u64,
    /// Lies told.
    pub lies: u64,
}

impl FaultCounts {
    /// Adds the faults of another run.
    pub fn add(&mut self, other: &Self) {
        self.peer_crashes += other.peer_crashes;
        self.seed_crashes += other.seed_crashes;
        self.disks_lost += other.disks_lost;
        self.disks_damaged += other.disks_damaged;
        self.writes_lost += other.writes_lost;
        self.leaves += other.leaves;
        self.restarts += other.restarts;
        self.pauses += other.pauses;
        self.cuts += other.cuts;
        self.partitions += other.partitions;
        self.resets += other.resets;
        self.slowed += other.slowed;
        self.duplicated_frames += other.duplicated_frames;
        self.stalls += other.stalls;
        self.late_frames += other.late_frames;
        self.damaged_frames += other.damaged_frames;
        self.lies += other.lies;
    }

    /// Each kind by name.
    pub fn list(&self) -> [(&'static str, u64); 17] {
        [
            ("peer_crashes", self.peer_crashes),
            ("seed_crashes", self.seed_crashes),
            ("disks_lost", self.disks_lost),
            ("disks_damaged", self.disks_damaged),
            ("writes_lost", self.writes_lost),
            ("leaves", self.leaves),
            ("restarts", self.restarts),
            ("pauses", self.pauses),
            ("cuts", self.cuts),
            ("partitions", self.partitions),
            ("resets", self.resets),
            ("slowed", self.slowed),
            ("duplicated_frames", self.duplicated_frames),
            ("stalls", self.stalls),
            ("late_frames", self.late_frames),
            ("damaged_frames", self.damaged_frames),
            ("lies", self.lies),
        ]
    }
}

impl Cluster<'_> {
    pub(super) fn fault(&mut self, number: u32) {
        let what = self.faults[number as usize].what.clone();
        let mut node_hit = None;
        let happened = match what {
            What::Crash { node, silent, disk } => {
                node_hit = Some(node);
                let how = if silent { Crash::Host } else { Crash::Process };
                self.crash(node, how, disk)
            }
            What::Leave { node } => {
                node_hit = Some(node);
                self.leave(node)
            }
            What::Pause { node } => {
                node_hit = Some(node);
                let paused = self.world.pause(node);
                self.counts.pauses += u64::from(paused);
                paused
            }
            What::Cut { node, pick } => self.cut(number, node, pick),
            What::Block { from, to } => {
                self.world.cut(from, to);
                self.counts.cuts += 1;
                true
            }
            What::Split { number, group } => {
                self.world.split(number, &group);
                self.counts.partitions += 1;
                true
            }
            What::Reset { pick } => {
                self.counts.resets += u64::from(self.world.reset_a_link(pick));
                false
            }
            What::Slow { node, input_us, bytes_per_s } => {
                self.world.slow_down(node, input_us);
                self.world.throttle(node, bytes_per_s);
                self.counts.slowed += 1;
                true
            }
            What::Loss(ppm) => {
                self.world.loss_ppm = self.scenario.network.loss_ppm + ppm;
                true
            }
            What::Damage(ppm) => {
                self.world.damage_ppm = ppm;
                true
            }
        };
        if happened && let Some(until_ms) = self.faults[number as usize].until_ms {
            let life = node_hit.map_or(0, |node| self.world.host.apps[node as usize].life);
            self.world.at(Instant::from_millis(until_ms), Token::Undo(number, life));
        }
    }

    pub(super) fn undo(&mut self, number: u32, life: u32) {
        let what = self.faults[number as usize].what.clone();
        let same = |node: u32| self.world.host.apps[node as usize].life == life;
        match what {
            What::Crash { node, .. } | What::Leave { node } => {
                if same(node) && self.world.machine(node).is_none() {
                    self.counts.restarts += 1;
                    self.start(node);
                } else if same(node) {
                    // Still on its way out: a leave takes a moment.
                    self.world.at(self.world.now() + STOPPING, Token::Undo(number, life));
                }
            }
            What::Pause { node } => {
                if same(node) {
                    self.world.resume(node);
                }
            }
            What::Cut { node, pick } => {
                let to = u32::try_from(pick).expect("a cut that happened names a node");
                self.world.mend(node, to);
            }
            What::Block { from, to } => self.world.mend(from, to),
            What::Split { number, .. } => self.world.join(number),
            What::Reset { .. } => {}
            What::Slow { node, .. } => {
                self.world.slow_down(node, 0);
                self.world.throttle(node, None);
            }
            What::Loss(_) => self.world.loss_ppm = self.scenario.network.loss_ppm,
            What::Damage(_) => self.world.damage_ppm = 0,
        }
    }

    /// The process of a node that left ends.
    pub(super) fn stop(&mut self, node: u32, life: u32) {
        let app = &self.world.host.apps[node as usize];
        if app.life == life && app.leaving && self.world.crash(node, Crash::Process) {
            self.world.host.ended(node);
            if !self.world.host.roster.is_seed(node) {
                self.died(node);
            }
        }
    }

    fn crash(&mut self, node: u32, how: Crash, fate: DiskFate) -> bool {
        let may_lose_disk = self.may_lose_disk(node);
        if let Some(AnyNode::Peer(peer)) = self.world.machine(node) {
            add_counters(&mut self.buried, peer);
        }
        if !self.world.crash(node, how) {
            return false;
        }
        let now = self.world.now();
        let apps = &mut self.world.host;
        apps.ended(node);
        let disk = &mut apps.disks[node as usize];
        let fate = if may_lose_disk { fate } else { DiskFate::Kept };
        let hurt = match fate {
            DiskFate::Kept => false,
            DiskFate::Lost => {
                *disk = Disk::default();
                true
            }
            DiskFate::Damaged => disk.damage(&mut self.draws),
        };
        if apps.roster.is_seed(node) {
            self.counts.seed_crashes += 1;
            self.counts.disks_lost += u64::from(fate == DiskFate::Lost);
            self.counts.disks_damaged += u64::from(fate == DiskFate::Damaged && hurt);
            if hurt {
                apps.disk_hurt(now, node);
            }
        } else {
            self.counts.peer_crashes += 1;
            self.died(node);
        }
        true
    }

    fn died(&mut self, node: u32) {
        let at = self.world.now();
        self.world.host.deaths.crashed(at, node);
        let number = u32::try_from(self.deaths.len()).expect("fewer than 2^32 deaths");
        let life = self.world.host.apps[node as usize].life;
        self.deaths.push((Death { node, at }, life));
        if let Some(within) = self.scenario.expect.delisted_within_ms {
            let calm = self.scenario.chaos.as_ref().map_or(0, |chaos| chaos.until_ms);
            let known = at.max(Instant::from_millis(calm)) + Duration::from_millis(within);
            self.world.at(known, Token::Delisted(number));
        }
    }

    fn leave(&mut self, node: u32) -> bool {
        if !self.world.is_running(node) || self.world.host.apps[node as usize].leaving {
            return false;
        }
        self.counts.leaves += 1;
        let now = self.world.now();
        let apps = &mut self.world.host;
        apps.apps[node as usize].leaving = true;
        let life = apps.apps[node as usize].life;
        let request = apps.request(now, node, Request::Leave);
        let command = if apps.roster.is_seed(node) {
            node::Command::Seed(seed::event::Command::Leave { request })
        } else {
            node::Command::Peer(Command::Leave { request })
        };
        self.world.command(node, command);
        // A driver waits for the goodbyes, but not for long.
        self.world.at(now + STOPPING, Token::Stop(node, life));
        true
    }

    /// Cuts a path to a node that `node` has a link with, and remembers which.
    fn cut(&mut self, number: u32, node: u32, pick: u64) -> bool {
        let linked = self.world.linked(node);
        let Ok(at) = usize::try_from(pick % linked.len().max(1) as u64) else { return false };
        let Some(&to) = linked.get(at) else { return false };
        self.world.cut(node, to);
        self.counts.cuts += 1;
        self.faults[number as usize].what = What::Cut { node, pick: u64::from(to) };
        true
    }

    /// A death was long enough ago: no seed that was there all the time may list the peer.
    pub(super) fn delisted(&mut self, number: u32) {
        let (death, life) = self.deaths[number as usize];
        let Some(within) = self.scenario.expect.delisted_within_ms.map(Duration::from_millis)
        else {
            return;
        };
        let apps = &self.world.host;
        let seeds = self.members();
        let Some(id) = apps.roster.id(death.node) else { return };
        if apps.apps[death.node as usize].life != life {
            return;
        }
        for seed in seeds {
            let local = self.world.local_now(seed);
            let machine = self.world.machine(seed).and_then(AnyNode::seed);
            let listed = machine.is_some_and(|machine| lists(machine, local, id));
            let now = self.world.now();
            let verdicts = &mut self.world.host.verdicts;
            liveness::dead(verdicts, now, seed, death, (within, listed));
        }
    }
}

/// From a leave to the end of the process at the latest.
const STOPPING: Duration = Duration::from_millis(500);

/// Whether a seed lists a node as anything but dead.
fn lists(seed: &Seed, local: Instant, id: NodeId) -> bool {
    let page = seed.peers(local, &id.to_string(), 0, 4);
    page.items.iter().any(|peer| peer.node == id && super::finish::is_listed(peer))
}
