//! Requests that wait for the machine's answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidings_proto::RequestId;
use tidings_proto::peer::event::{Answer, CommandError};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::error::Error;
use crate::journal::{Journal, QueueLimits, Reader};

/// Requests that wait at once; one more is refused as busy. Above what the publication window
/// lets through, and about 10 MB.
const PENDING_MAX: usize = 65_536;

/// What the machine answered.
pub(crate) type Outcome = Result<Answer, CommandError>;

/// The requests of a peer that are under way.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    next: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    requests: HashMap<RequestId, Waiter>,
    stopped: bool,
}

#[derive(Debug)]
struct Waiter {
    sender: oneshot::Sender<Outcome>,
    extra: Extra,
}

/// What becomes of a history.
#[derive(Debug)]
pub(crate) struct Handover {
    /// What goes on after it.
    pub(crate) journal: Arc<Journal>,
    /// Those of the reader.
    pub(crate) limits: Option<QueueLimits>,
    /// Whether what the reader has not read is kept on disk.
    pub(crate) keep: bool,
    /// Who gets the reader.
    pub(crate) sender: oneshot::Sender<Reader>,
}

/// What else an answer brings about.
#[derive(Debug)]
pub(crate) enum Extra {
    /// Nothing.
    None,
    /// A reader begins after the history of its topic, in the driver's task.
    Handover(Handover),
    /// The publication gives its room back, whether or not somebody waits for the answer.
    Room(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit),
}

/// A place for an answer. Dropping it forgets the request, unless it was `sent` and its answer
/// has something to bring about without it.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) sent: bool,
    pub(crate) request: RequestId,
    pub(crate) answer: oneshot::Receiver<Outcome>,
    pending: Arc<Pending>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.sent {
            self.pending.lock().requests.remove(&self.request);
        }
    }
}

impl Pending {
    /// Makes a place for an answer.
    pub(crate) fn ticket(self: &Arc<Self>, extra: Extra) -> Result<Ticket, Error> {
        let request = RequestId(self.next.fetch_add(1, Ordering::Relaxed));
        let (sender, answer) = oneshot::channel();
        let mut waiting = self.lock();
        if waiting.stopped {
            return Err(Error::Stopped);
        }
        if waiting.requests.len() >= PENDING_MAX {
            return Err(Error::Busy("requests"));
        }
        waiting.requests.insert(request, Waiter { sender, extra });
        drop(waiting);
        Ok(Ticket { sent: false, request, answer, pending: Arc::clone(self) })
    }

    /// Gives an answer to who waits for it, if somebody still does.
    pub(crate) fn answer(&self, request: RequestId, outcome: Outcome) {
        let waiter = self.lock().requests.remove(&request);
        let Some(Waiter { sender, extra }) = waiter else { return };
        match (outcome, extra) {
            (outcome, Extra::Handover(handover)) => {
                let _ = sender.send(handover.complete(outcome));
            }
            (outcome, _) => {
                let _ = sender.send(outcome);
            }
        }
    }

    /// No answer comes any more.
    pub(crate) fn stop(&self) {
        let mut waiting = self.lock();
        waiting.stopped = true;
        waiting.requests.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
