//! What the path of a batch through peers takes, counted in instructions: for valgrind, which
//! counts within [`rig::counted_step`]. `scripts/check.sh --bench` runs it and compares.
//!
//! The argument is a load: `small`, one message of 100 bytes at a time from each of the peers in
//! turn, or `large`, messages of 1 KiB from one peer, hundreds at once. Prints the deliveries.

mod rig;

use std::process::ExitCode;
use std::time::Duration;

use rig::Rig;

/// As many as have links to all others, and to two thirds of them only.
const PEERS: usize = 16;
/// Messages of the load `small`.
const SMALL: usize = 320;
/// Bursts of the load `large`, and messages of each.
const BURSTS: usize = 8;
const BURST: usize = 256;

fn main() -> ExitCode {
    // cargo hands its own options on.
    let load = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let mut rig = Rig::new(PEERS);
    // Who passes messages on to whom has settled before anything is counted.
    for n in 0..2 * PEERS {
        rig.publish(n % PEERS, 100);
        rig.run(Duration::from_millis(200));
    }
    rig.delivered = 0;
    rig.counting = true;
    let published = match load.as_deref() {
        Some("small") => small(&mut rig),
        Some("large") => large(&mut rig),
        _ => {
            eprintln!("usage: forward small|large");
            return ExitCode::from(2);
        }
    };
    // The publisher receives its own, which is no delivery.
    let expected = (published * PEERS) as u64;
    assert_eq!(rig.delivered, expected, "everything is delivered to all who subscribed");
    println!("{}", published * (PEERS - 1));
    ExitCode::SUCCESS
}

fn small(rig: &mut Rig) -> usize {
    for n in 0..SMALL {
        rig.publish(n % PEERS, 100);
        rig.run(Duration::from_millis(20));
    }
    rig.run(Duration::from_secs(1));
    SMALL
}

fn large(rig: &mut Rig) -> usize {
    for _ in 0..BURSTS {
        (0..BURST).for_each(|_| rig.publish(0, 1_024));
        rig.run(Duration::from_millis(100));
    }
    rig.run(Duration::from_secs(1));
    BURSTS * BURST
}
