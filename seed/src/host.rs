//! What the machine's events lead to: lines in the log, and the end of the process.

use std::net::SocketAddr;

use tidings_proto::seed::event::{Durable, Event};
use tidings_proto::{Instant, Seed};
use tidings_runtime::{Clock, Host, Kept};
use tokio_util::sync::CancellationToken;

use crate::notices;

/// Lives in the driver's task.
pub(crate) struct SeedHost {
    clock: Clock,
    own: SocketAddr,
    left: CancellationToken,
}

impl SeedHost {
    /// `left` is cancelled when the machine has said its goodbyes.
    pub(crate) fn new(clock: Clock, own: SocketAddr, left: CancellationToken) -> Self {
        Self { clock, own, left }
    }
}

impl Host<Seed> for SeedHost {
    fn event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Left { .. } => self.left.cancel(),
            Event::Notice(notice) => notices::log(self.own, self.clock.wall_us(now), notice),
        }
    }

    fn persist(&mut self, _token: u64, _record: Durable) -> Kept {
        Kept::Now
    }
}
