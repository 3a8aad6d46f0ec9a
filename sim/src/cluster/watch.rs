//! What is looked at all the time: that the seeds keep what they acknowledged, and that their
//! tables come to be the same.

use std::time::Duration;

use super::Cluster;
use super::node::AnyNode;
use crate::check::happened;
use crate::check::kept::{self, Holding};
use crate::fault::What;

/// Liars lie at least so often.
const LIES_MIN: u64 = 100;

impl Cluster<'_> {
    /// S4 and L4, at this moment.
    pub(super) fn watch_seeds(&mut self) {
        let now = self.world.now();
        let members = self.members();
        let mut verdicts = std::mem::take(&mut self.world.host.verdicts);
        let world = &self.world;
        let seed = |node: u32| world.machine(node).and_then(AnyNode::seed);
        let roster = &world.host.roster;
        let holds = |node: u32, topic: u32| {
            let topic = roster.topic(u16::try_from(topic).ok()?);
            // What only those hold that were removed is lost.
            if !members.contains(&node) {
                return None;
            }
            // What a majority has accepted is acknowledged, and told to the others afterwards.
            // A seed that does not run holds what its disk does.
            let [known, accepted] = match seed(node) {
                Some(seed) => [seed.topic_record(topic), seed.accepted_record(topic)],
                None => world.host.disks[node as usize].topic(topic),
            };
            let record =
                [known, accepted].into_iter().flatten().max_by_key(|record| record.rank())?;
            Some(Holding { generation: record.generation, deleted: record.deleted })
        };
        let mut kept = world.host.kept.clone();
        kept.look(&mut verdicts, now, |node| seed(node).is_some(), holds);
        if let Some(converge) = &mut self.converge {
            let seeds = members.iter().copied();
            let hashes: Vec<_> =
                seeds.filter_map(|node| Some((node, seed(node)?.table_hash()))).collect();
            converge.look(&mut verdicts, now, &hashes, now >= self.calm_from);
        }
        self.world.host.kept = kept;
        self.world.host.verdicts = verdicts;
    }

    /// S4, in the end: who has long subscribed is known to subscribe, at every seed that was
    /// there long enough.
    pub(super) fn judge_subscriptions(&mut self) {
        let Some(within) = self.scenario.expect.tables_equal_within_ms else { return };
        let within = Duration::from_millis(within);
        let now = self.world.now();
        let scenario = self.scenario;
        let apps = &self.world.host;
        let mut unknown = Vec::new();
        for seed in self.members() {
            let old = apps.apps[seed as usize].started.is_some_and(|at| at + within <= now);
            let Some(machine) = self.world.machine(seed).and_then(AnyNode::seed) else { continue };
            for topic in (0..scenario.topics).filter(|_| old) {
                let name = apps.roster.topic(topic);
                let views = machine.topics(name.as_str(), 0, 1).items;
                let named = views.first().map_or(&[][..], |view| view.subscribers.as_slice());
                for peer in apps.roster.peers() {
                    let since = apps.since(peer, topic).filter(|at| *at + within <= now);
                    let id = apps.roster.id(peer).filter(|_| since.is_some());
                    if id.is_some_and(|id| named.binary_search(&id).is_err()) {
                        unknown.push((seed, (peer, topic)));
                    }
                }
            }
        }
        for (seed, subscriber) in unknown {
            kept::subscription(&mut self.world.host.verdicts, now, seed, subscriber, false);
        }
    }

    /// That what was planned has hurt.
    pub(super) fn judge_chaos(&mut self) {
        let seeds = self.scenario.seeds;
        let counts = self.fault_counts();
        let planned = |of: fn(&What, u32) -> bool| {
            self.faults.iter().filter(|fault| of(&fault.what, seeds)).count() as u64
        };
        let seed_crashes =
            |what: &What, seeds| matches!(what, What::Crash { node, .. } if *node < seeds);
        let kinds = [
            (
                "crashes of peers",
                planned(|what, seeds| matches!(what, What::Crash { node, .. } if *node >= seeds)),
                counts.peer_crashes,
            ),
            ("crashes of seeds", planned(seed_crashes), counts.seed_crashes),
            ("leaves", planned(|what, _| matches!(what, What::Leave { .. })), counts.leaves),
            ("pauses", planned(|what, _| matches!(what, What::Pause { .. })), counts.pauses),
            ("cuts", planned(|what, _| matches!(what, What::Cut { .. })), counts.cuts),
            (
                "partitions",
                planned(|what, _| matches!(what, What::Split { .. })),
                counts.partitions,
            ),
            ("resets", planned(|what, _| matches!(what, What::Reset { .. })), counts.resets),
            ("slow nodes", planned(|what, _| matches!(what, What::Slow { .. })), counts.slowed),
            (
                "losses of packets",
                planned(|what, _| matches!(what, What::Loss(_))),
                counts.late_frames,
            ),
            (
                "damages of frames",
                planned(|what, _| matches!(what, What::Damage(_))),
                counts.damaged_frames,
            ),
            ("lies", self.scenario.liars.as_ref().map_or(0, |_| LIES_MIN), counts.lies),
        ];
        let now = self.world.now();
        happened::judge(&mut self.world.host.verdicts, now, kinds);
    }
}
