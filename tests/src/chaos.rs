//! Seeds that fail again and again while applications work.
//!
//! [`run`] starts a cluster of its own, has one application at each peer create, subscribe,
//! publish, look up and delete, and meanwhile kills, wipes, stops and cuts off a minority of the
//! seeds, or fills their disks, one fault after the other. At the end every record that was
//! acknowledged is read back from every seed, and what applications saw of topics that they
//! contested must be linearizable. The [`Verdict`] says what came of it.
//!
//! [`client`] is an application and what it may rely on, [`contest`] what it contests, [`faults`]
//! what is done to the seeds, [`readback`] what seeds must list, [`verdict`] the figures.

mod client;
mod contest;
mod faults;
mod readback;
mod verdict;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

pub use faults::{Fault, Happened};
pub use verdict::{Spread, Verdict};

use crate::cluster::{Cluster, Setup, joined};
use crate::wait;
use client::{Board, Client};

/// After the last fault everything is delivered and every seed lists everything within this.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// The application works so long before the first fault, and after the last one.
const CALM: Duration = Duration::from_secs(1);

/// What is done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Seeds.
    pub seeds: usize,
    /// Peers, each with one application.
    pub peers: usize,
    /// Faults go on for so long.
    pub time: Duration,
    /// The kinds of faults, in this order again and again.
    pub faults: Vec<Fault>,
    /// Applications pause so long between two calls.
    pub pause: Duration,
    /// Chooses whom faults hit, and for how long.
    pub number: u64,
}

/// Starts a cluster, does this to it, and judges. `tell` gets a line for people at each step.
///
/// # Panics
/// When the cluster does not start, or a seed that was ended does not start again; with partitions,
/// when this process is not in a network of its own ([`crate::net::enter`]).
pub fn run(plan: &Plan, mut tell: impl FnMut(&str)) -> Verdict {
    tell(&format!("starting {} seeds and {} peers", plan.seeds, plan.peers));
    let mut setup = Setup::new(plan.seeds, plan.peers).alone();
    if plan.faults.contains(&Fault::Partition) {
        setup = setup.parted();
    }
    if plan.faults.contains(&Fault::Full) {
        setup = setup.bounded();
    }
    let mut cluster = setup.start();
    drop(cluster.topic(client::COMMON));
    let peers = cluster.peers.iter().map(|peer| peer.id().to_owned());
    let board = Arc::new(Board::new(peers.collect()));
    let start = board.start();
    // Also when a seed does not start again and this function panics.
    let _stop = StopAtEnd(&board);
    let clients: Vec<_> = cluster
        .peers
        .iter()
        .enumerate()
        .map(|(number, peer)| Client::new(number, peer, plan.pause, Arc::clone(&board)))
        .map(|client| thread::spawn(move || client.work()))
        .collect();
    wait::pause(CALM);
    let happened = faults::inflict(plan, &mut cluster, &board, start, &mut tell);
    wait::pause(CALM);
    board.stop();
    let took = start.elapsed();
    for client in clients {
        client.join().expect("an application does not panic");
    }
    tell("reading everything back from every seed");
    let missing = settle(&cluster, &board);
    let undelivered = deliver(&cluster, &board);
    let verdict = verdict::judge(&board, took, happened, missing, undelivered);
    if !verdict.is_good() {
        cluster.keep_folder();
    }
    verdict
}

struct StopAtEnd<'a>(&'a Board);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Waits until every seed lists what was acknowledged; what some does not list at last.
fn settle(cluster: &Cluster, board: &Board) -> Vec<String> {
    let expected = board.expected();
    let until = Instant::now() + SETTLE_LIMIT;
    loop {
        let seeds = cluster.seeds.iter();
        let missing: Vec<_> = seeds.flat_map(|seed| readback::missing(seed, &expected)).collect();
        if missing.is_empty() || Instant::now() > until {
            return missing;
        }
        wait::pause(Duration::from_millis(200));
    }
}

/// Waits until every peer has received every message on the common topic; how many did not come.
fn deliver(cluster: &Cluster, board: &Board) -> u64 {
    let published = board.published();
    let until = Instant::now() + SETTLE_LIMIT;
    let mut undelivered = 0;
    for (number, control) in cluster.controls().iter_mut().enumerate() {
        let mut received = board.received(number);
        while received < published && Instant::now() < until {
            received += control.pull(client::COMMON, 200).len() as u64;
        }
        undelivered += published.abs_diff(received);
    }
    undelivered
}

/// Whether every peer has joined a majority of the seeds.
fn all_joined(cluster: &Cluster) -> bool {
    cluster.controls().iter_mut().all(joined)
}
