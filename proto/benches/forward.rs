//! What the path of a batch through peers takes, counted in instructions and allocations: for
//! valgrind, which counts within [`rig::counted_step`]. `scripts/check.sh --bench` runs it and
//! compares.
//!
//! The first argument is a load: `small`, one message of 100 bytes at a time from each of the peers
//! in turn, or `large`, messages of 1 KiB from one peer, hundreds at once. The second one is
//! `every` or `links`: whether each peer checks each signature, or none. Prints the deliveries and
//! the batches that brought them.

mod rig;

use std::process::ExitCode;
use std::time::Duration;

use rig::Rig;
use tidings_proto::config::{GossipConfig, Verify};

/// More than a peer has neighbours: 12 at most, so some are reached through others.
const PEERS: usize = 16;
/// Messages of the load `small`.
const SMALL: usize = 320;
/// Bursts of the load `large`, and messages of each.
const BURSTS: usize = 32;
const BURST: usize = 256;

fn main() -> ExitCode {
    // cargo hands its own options on.
    let arguments: Vec<_> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (load, verify): (fn(&mut Rig) -> usize, _) = match arguments[..] {
        ["small", "every"] => (small, Verify::Every),
        ["small", "links"] => (small, Verify::Links),
        ["large", "every"] => (large, Verify::Every),
        ["large", "links"] => (large, Verify::Links),
        _ => {
            eprintln!("usage: forward small|large every|links");
            return ExitCode::from(2);
        }
    };
    let mut rig = Rig::new(PEERS, GossipConfig { verify, verify_share: 0 });
    let before = received(&rig);
    rig.counting = true;
    let published = load(&mut rig);
    // The publisher receives its own, which is no delivery.
    let expected = (published * PEERS) as u64;
    assert_eq!(rig.delivered, expected, "everything is delivered to all who subscribed");
    println!("{} {}", published * (PEERS - 1), received(&rig) - before);
    ExitCode::SUCCESS
}

/// Batches that have come, copies included.
fn received(rig: &Rig) -> u64 {
    rig.peers.iter().map(|peer| peer.stats().batches_received).sum()
}

fn small(rig: &mut Rig) -> usize {
    for n in 0..SMALL {
        rig.publish(n % PEERS, 1, 100);
        rig.run(Duration::from_millis(20));
    }
    rig.run(Duration::from_secs(1));
    SMALL
}

fn large(rig: &mut Rig) -> usize {
    for _ in 0..BURSTS {
        rig.publish(0, BURST, 1_024);
        rig.run(Duration::from_millis(100));
    }
    rig.run(Duration::from_secs(1));
    BURSTS * BURST
}
