//! What waits for the thread of a store: a bounded queue that takes memory for what is in it.
//!
//! The bounded channel of the standard library makes all its places at once and writes to each of
//! them: with 65,536 that is several megabytes for a node that has nothing to write.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TrySendError, channel};
use std::time::Duration;

/// Where jobs go in. Never waits.
#[derive(Debug)]
pub struct Jobs<T> {
    sender: Sender<T>,
    waiting: Arc<AtomicUsize>,
    most: usize,
}

/// Where they come out, in their order.
#[derive(Debug)]
pub struct JobQueue<T> {
    receiver: Receiver<T>,
    waiting: Arc<AtomicUsize>,
}

/// A queue in which at most `most` jobs wait.
#[expect(clippy::disallowed_methods, reason = "`try_send` is what limits it")]
pub fn jobs<T>(most: usize) -> (Jobs<T>, JobQueue<T>) {
    let (sender, receiver) = channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let queue = JobQueue { receiver, waiting: Arc::clone(&waiting) };
    (Jobs { sender, waiting, most }, queue)
}

impl<T> Jobs<T> {
    /// Appends a job.
    ///
    /// # Errors
    /// The queue is full, or nobody takes from it any more. The job comes back.
    pub fn try_send(&self, job: T) -> Result<(), TrySendError<T>> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(TrySendError::Full(job));
        }
        self.sender.send(job).map_err(|unsent| TrySendError::Disconnected(unsent.0))
    }
}

impl<T> JobQueue<T> {
    /// The next job, when there is one. `None` when nobody can append any more and all are taken.
    pub fn recv(&self) -> Option<T> {
        self.receiver.recv().ok().inspect(|_| self.taken())
    }

    /// The next job, waiting for it for at most `timeout`.
    ///
    /// # Errors
    /// None came in time, or none will come any more.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.receiver.recv_timeout(timeout).inspect(|_| self.taken())
    }

    /// The next job, if it is there.
    pub fn try_recv(&self) -> Option<T> {
        self.receiver.try_recv().ok().inspect(|_| self.taken())
    }

    fn taken(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_wait_than_may_and_what_is_taken_makes_room() {
        let (jobs, queue) = jobs(2);
        assert_eq!(jobs.try_send(1), Ok(()));
        assert_eq!(jobs.try_send(2), Ok(()));
        assert_eq!(jobs.try_send(3), Err(TrySendError::Full(3)));
        assert_eq!(queue.recv(), Some(1));
        assert_eq!(jobs.try_send(4), Ok(()));
        assert_eq!(jobs.try_send(5), Err(TrySendError::Full(5)), "what was refused took no room");
        assert_eq!(queue.recv_timeout(Duration::ZERO), Ok(2));
        assert_eq!(queue.try_recv(), Some(4));
        assert_eq!(queue.try_recv(), None);
        assert_eq!(queue.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    }

    #[test]
    fn what_was_appended_is_taken_after_the_end() {
        let (jobs, queue) = jobs(2);
        assert_eq!(jobs.try_send(1), Ok(()));
        drop(jobs);
        assert_eq!(queue.recv(), Some(1));
        assert_eq!(queue.recv(), None);
        assert_eq!(queue.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn nobody_takes_any_more() {
        let (jobs, queue) = jobs(2);
        drop(queue);
        assert_eq!(jobs.try_send(1), Err(TrySendError::Disconnected(1)));
    }
}
