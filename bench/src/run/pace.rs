//! Load at a fixed rate, whatever the system makes of it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::payload::{Maker, Phase};
use crate::plan::{Plan, Scenario};
use crate::system::Publisher;

/// Messages that wait for a peer that does not take them: minutes at any sane rate. More are
/// dropped, and counted as late.
const QUEUE_MAX: usize = 16_384;
/// Messages a second of the warm-up of s2, whose measured part has no rate.
const WARM_RATE: f64 = 200.0;

/// What was asked of the system.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    /// Messages.
    pub(crate) offered: u64,
    /// How late the harness itself was with one, at worst.
    pub(crate) worst_late_ns: u64,
    /// Messages that found the queue of their peer full.
    pub(crate) shed: u64,
    /// Times that the window of s2w was opened although messages were missing.
    pub(crate) stalls: u64,
}

/// A queue and a task per peer, so that a peer that takes nothing holds up nobody else. What
/// waits when it is dropped is not published.
#[derive(Debug)]
pub(crate) struct Queues {
    queues: Vec<mpsc::Sender<Bytes>>,
    _tasks: JoinSet<()>,
}

impl Queues {
    /// Publishes what is queued until `time` is over.
    pub(crate) fn start(publishers: &[Publisher], time: Duration) -> Self {
        let mut tasks = JoinSet::new();
        let start = |publisher: &Publisher| {
            let (queue, mut waiting) = mpsc::channel::<Bytes>(QUEUE_MAX);
            let publisher = publisher.clone();
            tasks.spawn(async move {
                let publishing = async {
                    while let Some(body) = waiting.recv().await {
                        // What is refused is counted by the publisher. A peer that is behind takes
                        // several at once, as from an application whose requests come in anyhow.
                        let _ = publisher.enqueue(body).await;
                    }
                };
                // Over time: what waits counts as not delivered.
                let _ = tokio::time::timeout(time, publishing).await;
            });
            queue
        };
        let queues = publishers.iter().map(start).collect();
        Self { queues, _tasks: tasks }
    }
}

/// Offers messages on schedule for `time`, from a thread of its own, so that a busy runtime does
/// not thin out the load. The time stamp is taken before a message is queued.
pub(crate) async fn pace(
    queues: &Queues,
    plan: &Plan,
    phase: Phase,
    time: Duration,
) -> anyhow::Result<Load> {
    let queues = queues.queues.clone();
    let plan = plan.clone();
    Ok(tokio::task::spawn_blocking(move || offer(&queues, &plan, phase, time)).await?)
}

fn offer(queues: &[mpsc::Sender<Bytes>], plan: &Plan, phase: Phase, time: Duration) -> Load {
    let seed = plan.seed ^ ((phase as u64 + 1) << 32);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut maker = Maker::new(plan.payload, seed);
    let mut order: Vec<usize> = (0..queues.len()).collect();
    order.shuffle(&mut rng);
    let rate = match plan.scenario {
        Scenario::S3 => plan.rate * queues.len() as f64,
        Scenario::S2 | Scenario::S2w => WARM_RATE,
        Scenario::S1 | Scenario::S5 => plan.rate,
    };
    let start = Instant::now();
    let mut load = Load::default();
    loop {
        let due = Duration::from_secs_f64(load.offered as f64 / rate);
        if due >= time {
            return load;
        }
        // The pace is what is asked for: publications at given times.
        std::thread::sleep((start + due).saturating_duration_since(Instant::now()));
        let late = start.elapsed().saturating_sub(due).as_nanos();
        load.worst_late_ns = load.worst_late_ns.max(u64::try_from(late).unwrap_or(u64::MAX));
        let random = rng.random_range(0..queues.len());
        let who = match (plan.single(), plan.scenario) {
            (Some(single), _) => single,
            (None, Scenario::S3) => order[(load.offered % queues.len() as u64) as usize],
            (None, _) => random,
        };
        if queues[who].try_send(maker.make(phase, who, load.offered)).is_err() {
            load.shed += 1;
        }
        load.offered += 1;
    }
}
