//! Minorities of the seeds that fail, one after the other: what `scripts/chaos.sh` does to real
//! processes.

use super::{DiskFate, Fault, What};
use crate::rng::Rng;
use crate::scenario::{Scenario, Trouble};

/// Partitions of this kind have numbers from here on, beyond those of chaos.
const SPLITS_FROM: u32 = 1 << 20;

/// Adds the failures of a scenario.
pub(super) fn plan(scenario: &Scenario, of: &Trouble, rng: &mut Rng, faults: &mut Vec<Fault>) {
    if of.input_us > 0 {
        faults.extend((0..scenario.seeds).map(|node| Fault {
            at_ms: of.from_ms,
            until_ms: Some(of.until_ms),
            what: What::Slow { node, input_us: of.input_us, bytes_per_s: None },
        }));
    }
    let mut at_ms = of.from_ms;
    for number in SPLITS_FROM.. {
        let seeds = victims(scenario, of, rng);
        let kind = rng.below(4);
        let away_ms = of.away_ms + rng.below(of.away_ms.max(1));
        let end_ms = at_ms + if kind < 2 { away_ms } else { of.stopped_ms };
        if end_ms + of.rest_ms > of.until_ms {
            return;
        }
        let mut fault = |what| faults.push(Fault { at_ms, until_ms: Some(end_ms), what });
        if kind == 3 {
            fault(What::Split { number, group: seeds });
        } else {
            for node in seeds {
                fault(match kind {
                    0 => What::Crash { node, silent: false, disk: DiskFate::Kept },
                    1 => What::Crash { node, silent: false, disk: DiskFate::Lost },
                    _ => What::Pause { node },
                });
            }
        }
        at_ms = end_ms + of.rest_ms;
    }
}

/// The largest minority, now and then only one.
fn victims(scenario: &Scenario, of: &Trouble, rng: &mut Rng) -> Vec<u32> {
    let most = of.seeds_max.unwrap_or((scenario.seeds - 1) / 2) as usize;
    let count = if rng.below(4) == 0 { 1 } else { most };
    let mut all: Vec<u32> = (0..scenario.seeds).collect();
    rng.shuffle(&mut all);
    all.truncate(count);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_a_minority_fails_at_any_time() {
        let scenario = Scenario::load("minority").expect("legal");
        for seed in 0..20 {
            let mut faults = Vec::new();
            plan(&scenario, &scenario.trouble[0], &mut Rng::new(seed, "test"), &mut faults);
            faults.retain(|fault| !matches!(fault.what, What::Slow { .. }));
            assert!(faults.len() > 8, "{faults:?}");
            for one in &faults {
                let same = faults.iter().filter(|fault| {
                    fault.at_ms <= one.at_ms && fault.until_ms.expect("it ends") > one.at_ms
                });
                let count = |fault: &Fault| match &fault.what {
                    What::Split { group, .. } => group.len(),
                    _ => 1,
                };
                assert!(same.map(count).sum::<usize>() <= 2);
            }
        }
    }
}
