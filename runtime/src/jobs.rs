//! A bounded queue from a node to a thread that works for it, which takes memory for what waits
//! and not for what may: the bounded queue of the standard library reserves a place for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvError, RecvTimeoutError, TryRecvError, TrySendError};
use std::time::Duration;

/// A queue in which at most `limit` jobs wait.
#[expect(clippy::disallowed_methods, reason = "senders count what waits, up to the limit")]
pub fn queue<T>(limit: usize) -> (JobSender<T>, JobReceiver<T>) {
    let (jobs, queue) = mpsc::channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let sender = JobSender { jobs, waiting: Arc::clone(&waiting), limit };
    (sender, JobReceiver { queue, waiting })
}

/// Where jobs go in.
#[derive(Clone, Debug)]
pub struct JobSender<T> {
    jobs: mpsc::Sender<T>,
    waiting: Arc<AtomicUsize>,
    limit: usize,
}

impl<T> JobSender<T> {
    /// Never waits.
    ///
    /// # Errors
    /// So many wait as may, or the receiver is gone; the job comes back.
    pub fn try_send(&self, job: T) -> Result<(), TrySendError<T>> {
        // The place is taken before the job is there, so that never more wait than may.
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(TrySendError::Full(job));
        }
        self.jobs.send(job).map_err(|mpsc::SendError(job)| TrySendError::Disconnected(job))
    }
}

/// Where jobs come out, in order.
#[derive(Debug)]
pub struct JobReceiver<T> {
    queue: mpsc::Receiver<T>,
    waiting: Arc<AtomicUsize>,
}

impl<T> JobReceiver<T> {
    /// The next job; waits for it.
    ///
    /// # Errors
    /// There is none, and all senders are gone.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.queue.recv().inspect(|_| self.taken())
    }

    /// The next job; waits for it at most so long.
    ///
    /// # Errors
    /// There was none in time, or there is none and all senders are gone.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.queue.recv_timeout(timeout).inspect(|_| self.taken())
    }

    /// The next job, if it is there.
    ///
    /// # Errors
    /// There is none, and perhaps all senders are gone.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.queue.try_recv().inspect(|_| self.taken())
    }

    fn taken(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_wait_as_may_in_order() {
        let (sender, receiver) = queue(3);
        for round in 0..5 {
            for job in 0..3 {
                assert_eq!(sender.try_send(10 * round + job), Ok(()));
            }
            // A refused job takes no place.
            for _ in 0..3 {
                assert_eq!(sender.try_send(99), Err(TrySendError::Full(99)));
            }
            assert_eq!(receiver.recv(), Ok(10 * round));
            assert_eq!(receiver.try_recv(), Ok(10 * round + 1));
            assert_eq!(receiver.recv_timeout(Duration::ZERO), Ok(10 * round + 2));
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        }
    }

    #[test]
    fn an_end_that_is_gone_is_noticed() {
        let (sender, receiver) = queue(1);
        assert_eq!(sender.try_send(1), Ok(()));
        drop(sender);
        assert_eq!((receiver.recv(), receiver.recv()), (Ok(1), Err(RecvError)));
        let (sender, receiver) = queue(1);
        drop(receiver);
        assert_eq!(sender.try_send(1), Err(TrySendError::Disconnected(1)));
    }
}
