//! What the machine's events lead to: lines in the log, rows on the disk, and the end of the
//! process.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use tidings_proto::seed::event::{Durable, Event};
use tidings_proto::{Instant, Seed};
use tidings_runtime::{Clock, Host, Kept};
use tokio_util::sync::CancellationToken;

use crate::notices;
use crate::store::Store;

/// Lives in the driver's task.
pub(crate) struct SeedHost {
    clock: Clock,
    own: SocketAddr,
    store: Store,
    left: CancellationToken,
}

impl SeedHost {
    /// `left` is cancelled when the machine has said its goodbyes.
    pub(crate) fn new(
        clock: Clock,
        own: SocketAddr,
        store: Store,
        left: CancellationToken,
    ) -> Self {
        Self { clock, own, store, left }
    }
}

impl Host<Seed> for SeedHost {
    fn event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Left { .. } => self.left.cancel(),
            // Operators come by a link.
            Event::Admin { .. } => {}
            Event::Notice(notice) => notices::log(self.own, self.clock.wall_us(now), notice),
        }
    }

    fn persist(&mut self, token: u64, record: Durable) -> Kept {
        self.store.write(token, record);
        Kept::Later
    }

    fn poll_persisted(&mut self, context: &mut Context<'_>) -> Poll<u64> {
        self.store.poll_persisted(context)
    }
}
