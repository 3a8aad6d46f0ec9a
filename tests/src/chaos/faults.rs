//! What is done to the seeds.

use std::fs;
use std::time::{Duration, Instant};

use super::client::Board;
use super::{Plan, all_joined, readback};
use crate::cluster::Cluster;
use crate::node::Node;
use crate::{http, wait};

/// A stopped seed is stopped for so long.
const STOPPED: Duration = Duration::from_secs(5);
/// A seed that was killed is down for this, and up to as much again.
const DOWN: Duration = Duration::from_millis(500);
/// All work again for so long between two faults.
const BETWEEN: Duration = Duration::from_secs(1);
/// While applications write, a seed with a full disk has noticed within this.
const FULL_LIMIT: Duration = Duration::from_secs(30);
/// A seed that is back knows everything within this.
const BACK_LIMIT: Duration = Duration::from_secs(60);

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A minority is killed and started again with its data.
    Kill,
    /// A minority is killed and started again without data.
    Wipe,
    /// A minority stands still for 5 s.
    Stop,
    /// A minority is cut off from all others for 5 s; what it sends vanishes.
    Partition,
    /// The disks of a minority are full, so it ends by itself; it is started again with room.
    Full,
    /// All are killed at once and started again with their data. While they are down, refusals for
    /// want of a majority are no failures.
    KillAll,
}

/// A fault that was inflicted.
#[derive(Clone, Debug)]
pub struct Happened {
    /// When, from the start.
    pub at: Duration,
    /// What.
    pub fault: Fault,
    /// To whom: places of seeds.
    pub seeds: Vec<usize>,
    /// The seeds, or the others, have noticed it.
    pub noticed: bool,
    /// After so long from their start, or their being let go, the seeds listed everything that had
    /// been acknowledged by then; `None` when one did not in time.
    pub back: Option<Duration>,
}

/// Inflicts one fault after the other until the time is over, each kind at least once.
pub(super) fn inflict(
    plan: &Plan,
    cluster: &mut Cluster,
    board: &Board,
    start: Instant,
    tell: &mut impl FnMut(&str),
) -> Vec<Happened> {
    let mut random = Random(plan.number.wrapping_mul(2).wrapping_add(1));
    let mut happened = Vec::new();
    for (round, fault) in plan.faults.iter().cycle().enumerate() {
        if round >= plan.faults.len() && start.elapsed() >= plan.time {
            break;
        }
        let seeds = victims(*fault, plan.seeds, &mut random);
        let at = start.elapsed();
        let down = DOWN + DOWN * random.below(1_000) / 1_000;
        let noticed = inflict_one(*fault, &seeds, down, cluster, board);
        let back = wait_back(cluster, &seeds, board);
        if *fault == Fault::KillAll {
            wait::holds("all peers have joined again", BACK_LIMIT, || all_joined(cluster));
            board.set_headless(false);
        }
        let times = back
            .map_or_else(|| "not in time".to_owned(), |back| format!("{} ms", back.as_millis()));
        let times = if noticed { times } else { format!("{times}, UNNOTICED") };
        tell(&format!("{:7.1} s  {fault:?} of seeds {seeds:?}, back: {times}", at.as_secs_f64()));
        happened.push(Happened { at, fault: *fault, seeds, noticed, back });
        wait::pause(BETWEEN);
    }
    happened
}

/// Returns whether it took place, as the seeds tell it.
fn inflict_one(
    fault: Fault,
    seeds: &[usize],
    down: Duration,
    cluster: &mut Cluster,
    board: &Board,
) -> bool {
    match fault {
        Fault::Stop => {
            seeds.iter().for_each(|seed| cluster.seeds[*seed].signal("STOP"));
            wait::pause(STOPPED);
            seeds.iter().for_each(|seed| cluster.seeds[*seed].signal("CONT"));
            return true;
        }
        Fault::Partition => return cut_off(seeds, cluster),
        Fault::Full => {
            seeds.iter().for_each(|seed| cluster.seeds[*seed].fill_disk());
            let ended = wait_for_ends(seeds, cluster);
            seeds.iter().for_each(|seed| cluster.seeds[*seed].restart());
            return ended;
        }
        Fault::Kill | Fault::Wipe | Fault::KillAll => {}
    }
    board.set_headless(fault == Fault::KillAll);
    seeds.iter().for_each(|seed| cluster.seeds[*seed].kill());
    wait::pause(down);
    for seed in seeds {
        if fault == Fault::Wipe {
            let wiped = fs::remove_dir_all(&cluster.seeds[*seed].spec.data);
            wiped.expect("the data folder of a seed can be removed");
        }
    }
    seeds.iter().for_each(|seed| cluster.seeds[*seed].restart());
    true
}

/// Whether a seed that was not cut off has lost its links with all that were.
fn cut_off(seeds: &[usize], cluster: &Cluster) -> bool {
    let well = (0..cluster.seeds.len()).find(|seed| !seeds.contains(seed));
    let lost = || {
        let events = well.map(|well| cluster.seeds[well].events("seed_link")).unwrap_or_default();
        events.iter().filter(|event| event.field("up") == Some("false")).count()
    };
    let before = lost();
    cluster.cut_off(seeds, true);
    wait::pause(STOPPED);
    cluster.cut_off(seeds, false);
    let until = Instant::now() + BACK_LIMIT;
    while lost() < before + seeds.len() && Instant::now() < until {
        wait::pause(Duration::from_millis(100));
    }
    lost() >= before + seeds.len()
}

/// Whether all of these seeds ended by themselves, with the code that says that they failed.
fn wait_for_ends(seeds: &[usize], cluster: &mut Cluster) -> bool {
    let until = Instant::now() + FULL_LIMIT;
    seeds.iter().all(|seed| {
        let seed = &mut cluster.seeds[*seed];
        while seed.exited().is_none() && Instant::now() < until {
            wait::pause(Duration::from_millis(20));
        }
        seed.exited().is_some_and(|status| status.code() == Some(1))
    })
}

/// All, or a minority: now and then less than the largest.
fn victims(fault: Fault, seeds: usize, random: &mut Random) -> Vec<usize> {
    if fault == Fault::KillAll {
        return (0..seeds).collect();
    }
    let minority = u32::try_from((seeds - 1) / 2).unwrap_or(u32::MAX);
    let count = if random.below(4) == 0 { 1 } else { minority as usize };
    let mut all: Vec<usize> = (0..seeds).collect();
    for place in (1..seeds).rev() {
        let other = random.below(u32::try_from(place + 1).unwrap_or(u32::MAX));
        all.swap(place, other as usize);
    }
    all.truncate(count);
    all
}

/// How long it takes until these seeds list what was acknowledged when they came back, and say that
/// they are ready.
fn wait_back(cluster: &Cluster, seeds: &[usize], board: &Board) -> Option<Duration> {
    let start = Instant::now();
    let mut expected = board.expected();
    while start.elapsed() < BACK_LIMIT {
        // What was deleted or subscribed to meanwhile is not a matter of this.
        let now = board.expected();
        expected.retain(|topic, was| now.get(topic).is_some_and(|is| is.live == was.live));
        let back = |seed: &Node| is_ready(seed) && readback::missing(seed, &expected).is_empty();
        if seeds.iter().all(|seed| back(&cluster.seeds[*seed])) {
            return Some(start.elapsed());
        }
        wait::pause(Duration::from_millis(100));
    }
    None
}

fn is_ready(seed: &Node) -> bool {
    http::get(seed.http_address(), "/readyz").is_ok_and(|(status, _)| status == 200)
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((self.0 >> 11) % u64::from(limit.max(1))).unwrap_or(0)
    }
}
