//! Load without a rate: one publisher, held back by the system, or by what is not yet everywhere.

use std::time::{Duration, Instant};

use crate::payload::{Maker, Phase};
use crate::plan::{Plan, Scenario};
use crate::run::pace::Load;
use crate::system::Publisher;
use crate::tally::Tally;

/// Publications that fail in a row before the run is given up.
const FAILURES_MAX: u64 = 1_000;
/// After a failed one.
const FAILURE_PAUSE: Duration = Duration::from_millis(1);
/// The window opens when nothing has come for so long: what is missing then is lost.
const STALL: Duration = Duration::from_secs(1);
/// Longest wait without a look at the clock.
const LOOK: Duration = Duration::from_millis(50);
/// Publications before other tasks have their turn.
const TURN: u64 = 64;

/// Publishes for as long as the plan says.
pub(crate) async fn burst(
    plan: &Plan,
    tally: &Tally,
    publisher: &Publisher,
) -> anyhow::Result<Load> {
    let who = plan.single().unwrap_or(0);
    let mut maker = Maker::new(plan.payload, plan.seed ^ 0x5252);
    let until = Instant::now() + plan.measured();
    let mut window = (plan.scenario == Scenario::S2w).then(|| Window::new(plan));
    let mut load = Load::default();
    let mut failures = 0;
    while Instant::now() < until {
        if let Some(window) = &mut window {
            if !window.open(tally, load.offered, until).await {
                break;
            }
            load.stalls = window.stalls;
        }
        let body = maker.make(Phase::Measured, who, load.offered);
        match tokio::time::timeout_at(until.into(), publisher.enqueue(body)).await {
            // Not taken when time was up: not offered.
            Err(_) => break,
            Ok(Ok(())) => {
                load.offered += 1;
                failures = 0;
            }
            Ok(Err(error)) => {
                failures += 1;
                anyhow::ensure!(failures < FAILURES_MAX, "nothing is taken any more: {error:#}");
                tokio::time::sleep(FAILURE_PAUSE).await;
            }
        }
        if load.offered % TURN == 0 {
            tokio::task::consume_budget().await;
        }
    }
    Ok(load)
}

/// How many messages may be not yet everywhere.
struct Window {
    /// Deliveries of one message.
    others: u64,
    /// Deliveries that may be outstanding.
    most: u64,
    /// Deliveries that were given up.
    lost: u64,
    stalls: u64,
}

impl Window {
    fn new(plan: &Plan) -> Self {
        let others = plan.n as u64 - 1;
        Self { others, most: plan.window * others, lost: 0, stalls: 0 }
    }

    /// Waits until one more message fits. False when `until` comes first.
    async fn open(&mut self, tally: &Tally, offered: u64, until: Instant) -> bool {
        let (mut delivered, mut since) = (tally.delivered(), Instant::now());
        loop {
            let now = tally.delivered();
            let open = (offered * self.others).saturating_sub(now + self.lost);
            if open + self.others <= self.most {
                return true;
            }
            if now != delivered {
                (delivered, since) = (now, Instant::now());
            } else if since.elapsed() > STALL {
                self.lost += open;
                self.stalls += 1;
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            // With a quarter of the window free rather than at every delivery.
            let target = (offered * self.others).saturating_sub(self.most / 4 * 3 + self.lost);
            tally.wait_delivered(target, LOOK).await;
        }
    }
}
