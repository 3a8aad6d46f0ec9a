//! When the overlay is complete: probes from random peers until they reach everybody.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::MissedTickBehavior;

use crate::payload::{Maker, Phase};
use crate::plan::{Plan, Scenario};
use crate::system::Publisher;
use crate::tally::{PROBES_MAX, Tally};

/// Bytes of a probe.
const PROBE_BYTES: usize = 64;
/// Between two probes.
const PROBE_GAP: Duration = Duration::from_millis(50);
/// A probe has this long to get everywhere before it counts as lost.
const PROBE_TIME: Duration = Duration::from_secs(1);
/// A probe that is not taken by then is given up.
const PUBLISH_TIME: Duration = Duration::from_secs(2);
/// Complete is an overlay after so many whole probes in a row.
const STREAK: usize = 3;

/// The first probe that reached everybody.
#[derive(Debug)]
pub(crate) struct Ready {
    /// Its number.
    pub(crate) probe: usize,
    /// When it had.
    pub(crate) at_ns: u64,
    /// How many were sent until the overlay counted as complete.
    pub(crate) sent: usize,
}

/// Probes until the overlay is complete.
pub(crate) async fn probe(
    plan: &Plan,
    tally: &Tally,
    publishers: &[Publisher],
) -> anyhow::Result<Ready> {
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let mut maker = Maker::new(PROBE_BYTES, plan.seed);
    let started = Instant::now();
    let mut ticks = tokio::time::interval(PROBE_GAP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let all = u32::try_from(plan.n - 1)?;
    let mut sent = 0;
    loop {
        ticks.tick().await;
        let whole: Vec<bool> = (0..sent).map(|probe| tally.probe(probe).0 >= all).collect();
        let first =
            (0..sent).filter(|probe| whole[*probe]).min_by_key(|probe| tally.probe(*probe).1);
        if let Some(probe) = first {
            let enough = plan.scenario == Scenario::S5 || streak(&whole) >= STREAK;
            if enough {
                return Ok(Ready { probe, at_ns: tally.probe(probe).1, sent });
            }
        }
        let best = (0..sent).map(|probe| tally.probe(probe).0).max().unwrap_or(0);
        ensure!(
            started.elapsed() < plan.ready && sent < PROBES_MAX,
            "the overlay is not complete after {:.1} s: the best probe reached {best} of {all}",
            started.elapsed().as_secs_f64(),
        );
        let who = rng.random_range(0..publishers.len());
        let body = maker.make(Phase::Probe, who, sent as u64);
        sent += 1;
        let publisher = publishers.get(who).context("a publisher per peer")?.clone();
        // One that is refused or late has not reached everybody, which is what counts.
        tokio::spawn(tokio::time::timeout(
            PUBLISH_TIME,
            async move { publisher.publish(body).await },
        ));
    }
}

/// Whole probes in a row, up to the newest that has arrived or has had its time.
fn streak(whole: &[bool]) -> usize {
    let young = (PROBE_TIME.as_millis() / PROBE_GAP.as_millis()) as usize;
    let newest_first = whole.iter().rev().enumerate();
    let mut settled = newest_first.skip_while(|(age, whole)| !**whole && *age < young);
    let mut streak = 0;
    while settled.next().is_some_and(|(_, whole)| *whole) {
        streak += 1;
    }
    streak
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn young_probes_do_not_break_a_streak() {
        assert_eq!(streak(&[]), 0);
        assert_eq!(streak(&[true, true, true, false, false]), 3);
        assert_eq!(streak(&[true, false, true, false]), 1);
        let lost = [vec![true; 5], vec![false; 30]].concat();
        assert_eq!(streak(&lost), 0);
    }
}
