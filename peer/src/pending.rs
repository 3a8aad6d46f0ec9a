//! Requests that wait for the machine's answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidings_proto::RequestId;
use tidings_proto::peer::event::{Answer, CommandError};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::queue::Queue;

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
    replay_to: Option<Arc<Queue>>,
}

/// A place for an answer. Dropping it forgets the request.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) request: RequestId,
    pub(crate) answer: oneshot::Receiver<Outcome>,
    pending: Arc<Pending>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.pending.lock().requests.remove(&self.request);
    }
}

impl Pending {
    /// Makes a place for an answer. Retained batches go to `replay_to` when it is answered.
    pub(crate) fn ticket(self: &Arc<Self>, replay_to: Option<Arc<Queue>>) -> Result<Ticket, Error> {
        let request = self.unanswered();
        let (sender, answer) = oneshot::channel();
        let mut waiting = self.lock();
        if waiting.stopped {
            return Err(Error::Stopped);
        }
        if waiting.requests.len() >= PENDING_MAX {
            return Err(Error::Busy("requests"));
        }
        waiting.requests.insert(request, Waiter { sender, replay_to });
        drop(waiting);
        Ok(Ticket { request, answer, pending: Arc::clone(self) })
    }

    /// The number of a request whose answer nobody waits for.
    pub(crate) fn unanswered(&self) -> RequestId {
        RequestId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Gives an answer to who waits for it, if somebody still does.
    pub(crate) fn answer(&self, request: RequestId, outcome: Outcome) {
        let waiter = self.lock().requests.remove(&request);
        let Some(Waiter { sender, replay_to }) = waiter else { return };
        match (outcome, replay_to) {
            (Ok(Answer::Batches(batches)), Some(queue)) => {
                queue.replay(&batches);
                let _ = sender.send(Ok(Answer::Done));
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
