//! What goes wrong and when: a plan drawn from the seed before the run begins.
//!
//! At each step all random choices are drawn, whether their fault happens or not, so that
//! switching one kind of fault off leaves the others where they were.

mod trouble;

use crate::rng::Rng;
use crate::scenario::{Chaos, Churn, Scenario};

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it begins, in milliseconds.
    pub at_ms: u64,
    /// When it is over; never, for what stays as it is.
    pub until_ms: Option<u64>,
    /// What.
    pub what: What,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A node dies.
    Crash {
        /// Which.
        node: u32,
        /// With its host.
        silent: bool,
        /// What becomes of its disk.
        disk: DiskFate,
    },
    /// A node leaves in order.
    Leave {
        /// Which.
        node: u32,
    },
    /// A process is stopped.
    Pause {
        /// Which.
        node: u32,
    },
    /// Packets from a node to one that it has a link with vanish.
    Cut {
        /// From.
        node: u32,
        /// Chooses among its links.
        pick: u64,
    },
    /// Packets from one node to another vanish.
    Block {
        /// From.
        from: u32,
        /// To.
        to: u32,
    },
    /// Some nodes are apart from the rest.
    Split {
        /// Partitions that overlap have different numbers.
        number: u32,
        /// The nodes.
        group: Vec<u32>,
    },
    /// A link is reset.
    Reset {
        /// Chooses among all links.
        pick: u64,
    },
    /// A node is slow.
    Slow {
        /// Which.
        node: u32,
        /// An input takes this long.
        input_us: u32,
        /// It sends this much on each link.
        bytes_per_s: Option<u64>,
    },
    /// Packets are lost, these frames per million more are late.
    Loss(u32),
    /// Frames are damaged, as many per million.
    Damage(u32),
}

/// What becomes of the disk of a node that dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFate {
    /// It is as it was, but for what was not synced.
    Kept,
    /// It is gone.
    Lost,
    /// Some rows are damaged.
    Damaged,
}

impl DiskFate {
    fn of(lost: bool, damaged: bool) -> Self {
        match (lost, damaged) {
            (true, _) => Self::Lost,
            (false, true) => Self::Damaged,
            (false, false) => Self::Kept,
        }
    }
}

/// The longest stop of a process in a random plan: longer than three missed replies.
const PAUSE_MS_MAX: u64 = 8_000;

/// All that goes wrong in a run, in order of time.
pub fn plan(scenario: &Scenario, seed: u64) -> Vec<Fault> {
    let mut rng = Rng::new(seed, "faults");
    let mut faults = Vec::new();
    scheduled(scenario, &mut rng, &mut faults);
    for trouble in &scenario.trouble {
        trouble::plan(scenario, trouble, &mut rng, &mut faults);
    }
    if let Some(chaos) = &scenario.chaos {
        let faults = &mut faults;
        let mut draw = Draw { chaos, rng: &mut rng, faults, at_ms: chaos.from_ms };
        let mut number = 0;
        while draw.at_ms < chaos.until_ms {
            draw.step(scenario, number);
            draw.at_ms += chaos.step_ms;
            number += 1;
        }
    }
    faults.sort_by_key(|fault| fault.at_ms);
    faults
}

fn scheduled(scenario: &Scenario, rng: &mut Rng, faults: &mut Vec<Fault>) {
    let share = |nodes: u32, ppm: u32| {
        usize::try_from(u64::from(nodes) * u64::from(ppm) / 1_000_000).expect("at most all nodes")
    };
    // Topic 0 .. are hosted by the first peers, which must not be lost for good.
    let mut peers: Vec<u32> = (0..scenario.peers).map(|peer| peer + scenario.seeds).collect();
    rng.shuffle(&mut peers);
    let hosts = scenario.seeds + u32::from(scenario.topics);
    let mut doomed = peers.iter().copied().filter(|&peer| peer >= hosts);
    for crash in &scenario.crash {
        let nodes: Vec<u32> = if crash.seeds {
            (0..scenario.seeds).take(share(scenario.seeds, crash.ppm)).collect()
        } else {
            doomed.by_ref().take(share(scenario.peers, crash.ppm).max(1)).collect()
        };
        for node in nodes {
            let disk = DiskFate::of(crash.disk_lost, crash.disk_damaged);
            let what = What::Crash { node, silent: crash.silent, disk };
            let until_ms = crash.back_after_ms.map(|after| crash.at_ms + after);
            faults.push(Fault { at_ms: crash.at_ms, until_ms, what });
        }
    }
    let mut slowed = peers.iter().rev();
    for slow in &scenario.slow {
        for &node in slowed.by_ref().take(share(scenario.peers, slow.ppm).max(1)) {
            let (input_us, bytes_per_s) = (slow.input_us, slow.bytes_per_s);
            let what = What::Slow { node, input_us, bytes_per_s };
            let until_ms = Some(slow.at_ms + slow.for_ms);
            faults.push(Fault { at_ms: slow.at_ms, until_ms, what });
        }
    }
    for pause in &scenario.pause {
        for &node in peers.iter().take(share(scenario.peers, pause.ppm).max(1)) {
            let until_ms = Some(pause.at_ms + pause.for_ms);
            faults.push(Fault { at_ms: pause.at_ms, until_ms, what: What::Pause { node } });
        }
    }
    for cut in &scenario.cut {
        let what = What::Block { from: cut.from, to: cut.to };
        let until_ms = cut.for_ms.map(|lasts| cut.at_ms + lasts);
        faults.push(Fault { at_ms: cut.at_ms, until_ms, what });
    }
    for churn in &scenario.churn {
        scheduled_churn(churn, &peers[..], hosts, rng, faults);
    }
    for (number, split) in (0..).zip(&scenario.partition) {
        let first = if split.seeds_on_both_sides { scenario.seeds } else { 0 };
        let mut nodes: Vec<u32> = (first..scenario.peers + scenario.seeds).collect();
        rng.shuffle(&mut nodes);
        nodes.truncate(share(u32::try_from(nodes.len()).unwrap_or(u32::MAX), split.ppm));
        let what = What::Split { number, group: nodes };
        let until_ms = Some(split.at_ms + split.for_ms);
        faults.push(Fault { at_ms: split.at_ms, until_ms, what });
    }
}

/// One death after the other, evenly spread with jitter, so that each run has the same number.
fn scheduled_churn(
    churn: &Churn,
    peers: &[u32],
    hosts: u32,
    rng: &mut Rng,
    faults: &mut Vec<Fault>,
) {
    let span_ms = churn.until_ms.saturating_sub(churn.from_ms);
    let deaths = u128::from(span_ms) * u128::from(churn.ppm_per_hour) * peers.len() as u128
        / (3_600_000 * 1_000_000);
    let deaths = u64::try_from(deaths).unwrap_or(u64::MAX);
    for number in 0..deaths {
        let at_ms = churn.from_ms + (number * span_ms + rng.below(span_ms)) / deaths;
        let node = peers[rng.index(peers.len())];
        // The host of the topic is like the others here, but it must exist to create it.
        if node < hosts && at_ms < churn.from_ms + churn.back_after_ms {
            continue;
        }
        let what = What::Crash { node, silent: churn.silent, disk: DiskFate::Kept };
        faults.push(Fault { at_ms, until_ms: Some(at_ms + churn.back_after_ms), what });
    }
}

/// Draws the faults of one step after the other.
struct Draw<'a> {
    chaos: &'a Chaos,
    rng: &'a mut Rng,
    faults: &'a mut Vec<Fault>,
    at_ms: u64,
}

impl Draw<'_> {
    /// Draws a fault and adds it, if it happens.
    fn fault(&mut self, ppm: u32, longest_ms: u64, what: impl FnOnce(&mut Rng) -> What) -> bool {
        let happens = self.rng.chance(ppm);
        let lasts_ms = self.rng.between(1, longest_ms.min(self.chaos.longest_ms));
        let what = what(self.rng);
        if happens {
            let until_ms = Some((self.at_ms + lasts_ms).min(self.chaos.until_ms));
            self.faults.push(Fault { at_ms: self.at_ms, until_ms, what });
        }
        happens
    }

    fn step(&mut self, scenario: &Scenario, number: u32) {
        let chaos = self.chaos;
        let longest = chaos.longest_ms;
        let (seeds, peers) = (u64::from(scenario.seeds), u64::from(scenario.peers));
        let small = |number: u64| u32::try_from(number).expect("drawn below a u32");
        let crash = |rng: &mut Rng, first: u64, count: u64| What::Crash {
            node: small(first + rng.below(count)),
            silent: rng.chance(chaos.silent_ppm),
            disk: DiskFate::of(rng.chance(chaos.disk_lost_ppm), rng.chance(chaos.disk_damaged_ppm)),
        };
        let away = self.rng.chance(chaos.stay_away_ppm);
        if self.fault(chaos.crash_peer_ppm, longest, |rng| crash(rng, seeds, peers)) && away {
            self.stay_away(scenario);
        }
        if self.fault(chaos.crash_seed_ppm, longest, |rng| crash(rng, 0, seeds)) {
            self.spare_seeds(scenario);
        }
        self.fault(chaos.leave_ppm, longest, |rng| What::Leave {
            node: small(rng.below(seeds + peers)),
        });
        self.fault(chaos.pause_ppm, PAUSE_MS_MAX, |rng| What::Pause {
            node: small(rng.below(seeds + peers)),
        });
        self.fault(chaos.cut_ppm, longest, |rng| What::Cut {
            node: small(rng.below(seeds + peers)),
            pick: rng.any(),
        });
        self.fault(chaos.partition_ppm, longest, |rng| {
            let mut group: Vec<u32> = (0..small(seeds + peers)).collect();
            rng.shuffle(&mut group);
            group.truncate(1 + rng.index(group.len() / 2));
            What::Split { number, group }
        });
        self.fault(chaos.slow_ppm, longest, |rng| What::Slow {
            node: small(rng.below(seeds + peers)),
            input_us: small(rng.between(1_000, 20_000)),
            bytes_per_s: None,
        });
        self.fault(chaos.throttle_ppm, longest, |rng| What::Slow {
            node: small(rng.below(seeds + peers)),
            input_us: 0,
            bytes_per_s: Some(rng.between(4_000, 64_000)),
        });
        self.fault(chaos.reset_ppm, longest, |rng| What::Reset { pick: rng.any() });
        self.fault(chaos.loss_ppm, longest, |rng| What::Loss(small(rng.between(10_000, 200_000))));
        self.fault(chaos.damage_ppm, longest, |rng| What::Damage(small(rng.between(100, 5_000))));
    }

    /// The seed that was just drawn to crash is spared, if too many are away or only just back.
    fn spare_seeds(&mut self, scenario: &Scenario) {
        let Some(most) = self.chaos.seeds_away_max else { return };
        let away = |fault: &&Fault| {
            matches!(fault.what, What::Crash { node, disk, .. }
                if node < scenario.seeds && disk != DiskFate::Kept)
                && fault.until_ms.is_none_or(|end| end + self.chaos.seeds_rest_ms > self.at_ms)
        };
        if self.faults.iter().filter(away).count() > most as usize {
            self.faults.pop();
        }
    }

    /// The peer that was just drawn to crash never comes back, so that lists have somebody to
    /// lose; not one that hosts a topic.
    fn stay_away(&mut self, scenario: &Scenario) {
        let hosts = scenario.seeds + u32::from(scenario.topics);
        if let Some(Fault { until_ms, what: What::Crash { node, .. }, .. }) = self.faults.last_mut()
            && *node >= hosts
        {
            *until_ms = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_repeat_and_masks_leave_the_rest_where_it_was() {
        let mut scenario = Scenario::load("chaos").expect("legal");
        let all = plan(&scenario, 3);
        assert_eq!(all, plan(&scenario, 3));
        assert_ne!(all, plan(&scenario, 4));
        let calm = |faults: &[Fault]| {
            let kept = |fault: &&Fault| !matches!(fault.what, What::Pause { .. });
            faults.iter().filter(kept).cloned().collect::<Vec<_>>()
        };
        scenario.chaos.as_mut().expect("chaos").pause_ppm = 0;
        assert_eq!(calm(&all), plan(&scenario, 3));
    }

    #[test]
    fn faults_end_with_the_chaos_and_hosts_come_back() {
        let scenario = Scenario::load("chaos").expect("legal");
        let until = scenario.chaos.as_ref().expect("chaos").until_ms;
        for seed in 0..20 {
            for fault in plan(&scenario, seed) {
                assert!(fault.until_ms.is_none_or(|end| end <= until));
                let host = scenario.seeds;
                if let What::Crash { node, .. } = fault.what {
                    assert!(node > host || fault.until_ms.is_some());
                }
            }
        }
    }

    #[test]
    fn a_majority_of_the_seeds_keeps_its_memory_when_it_is_to() {
        let scenario = Scenario::load("seeds").expect("legal");
        let chaos = scenario.chaos.as_ref().expect("chaos");
        let mut crashes = 0;
        for seed in 0..20 {
            let crash = |fault: &Fault| match fault.what {
                What::Crash { node, disk, .. }
                    if node < scenario.seeds && disk != DiskFate::Kept =>
                {
                    Some(fault.clone())
                }
                _ => None,
            };
            let all: Vec<Fault> = plan(&scenario, seed).iter().filter_map(crash).collect();
            crashes += all.len();
            for one in &all {
                let away = all.iter().filter(|other| {
                    other.at_ms <= one.at_ms
                        && other.until_ms.expect("back") + chaos.seeds_rest_ms > one.at_ms
                });
                assert!(away.count() <= 2);
            }
        }
        assert!(crashes > 100, "{crashes}");
    }

    #[test]
    fn a_share_of_the_peers_crashes_at_once() {
        let scenario = Scenario::load("smoke").expect("legal");
        let faults = plan(&scenario, 1);
        let at = |ms| faults.iter().filter(|fault| fault.at_ms == ms).count();
        assert_eq!((at(15_000), at(20_000)), (3, 1));
    }
}
