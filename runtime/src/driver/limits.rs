//! The bounds of a driver.

use std::time::Duration;

/// Turns before other tasks of the thread may run.
pub(super) const TURNS_MAX: usize = 16;
/// Other commands handled before the machine's outputs.
pub(super) const COMMANDS_PER_TURN: usize = 256;
/// Publications handled before the machine's outputs: what came together is signed together, and
/// this is all that the queue holds.
pub(super) const TRAFFIC_PER_TURN: usize = 1_024;
/// Bytes of publications taken before the links' queues are looked at: with 1 MiB queued a link
/// is congested, with 8 MiB it sheds.
pub(super) const TRAFFIC_BYTES_PER_TURN: usize = 512 << 10;
/// Accepted connections that wait for the driver.
pub(super) const ARRIVALS_MAX: usize = 64;
/// Dials under way. A peer has four, a seed one per accused peer.
pub(super) const DIALS_MAX: usize = 256;
/// Ciphertext read at once, into one buffer for all links.
pub(super) const SCRATCH_BYTES: usize = 64 << 10;
/// The time that a closing link has for its last frames.
pub(super) const CLOSING_TIME: Duration = Duration::from_millis(500);
/// Between two ticks: a machine that waits for a time that has passed does not burn a core.
pub(super) const TICK_GAP: Duration = Duration::from_micros(100);
/// A tick is late, and others are heard first, when it is over due by this.
pub(super) const LATE: Duration = Duration::from_millis(100);
/// How long others are heard.
pub(super) const LISTEN_TIME: Duration = Duration::from_millis(5);
