//! How much this process may have on its way to the machine: publications take room by size, in
//! order, and give it back when they are answered.

use std::sync::Arc;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// Room for publications, in KiB: 16 MiB, as much as the machine lets wait, so that it is never
/// busy because of one process.
const WINDOW_KIB: u32 = 16 << 10;
/// A small publication takes this much, so that 4,096 of them are under way at most.
const PUBLICATION_KIB_MIN: usize = 4;

/// What surrounds a body on its way.
const OVERHEAD_BYTES: usize = 64;

/// The room of one peer. Waiting publications get it in the order in which they asked.
#[derive(Clone, Debug)]
pub(crate) struct Window(Arc<Semaphore>);

impl Window {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(WINDOW_KIB as usize)))
    }

    /// Waits for room for `bytes`.
    pub(crate) async fn enter(&self, bytes: usize) -> Result<OwnedSemaphorePermit, AcquireError> {
        Arc::clone(&self.0).acquire_many_owned(kib(bytes)).await
    }

    /// Takes room for `bytes` if there is some now.
    pub(crate) fn try_enter(&self, bytes: usize) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        Arc::clone(&self.0).try_acquire_many_owned(kib(bytes))
    }

    /// Waits until all publications before this call are answered.
    pub(crate) async fn drained(&self) {
        // Never closed, so the only error does not occur.
        let _ = self.0.acquire_many(WINDOW_KIB).await;
    }
}

fn kib(bytes: usize) -> u32 {
    let kib = (bytes + OVERHEAD_BYTES).div_ceil(1_024).max(PUBLICATION_KIB_MIN);
    u32::try_from(kib).unwrap_or(WINDOW_KIB).min(WINDOW_KIB)
}
