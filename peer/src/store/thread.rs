//! The thread that writes: what came together is committed together.

use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use tidings_runtime::store::JobQueue;

use super::write::Writer;
use super::{Counts, Job};
use crate::error::Error;

/// Jobs of one transaction.
const GROUP_MAX: usize = 1_024;
/// While nobody waits for the disk, this much is gathered: a process that is killed loses at
/// most as much, and finds it again at its neighbours.
const GATHER: Duration = Duration::from_millis(5);
/// What is committed survives the loss of power after at most about this.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// Writes until the last sender is gone.
pub(super) fn run(mut writer: Writer, queue: &JobQueue<Job>, counts: &Counts) {
    let mut checkpoint_at: Option<Instant> = None;
    loop {
        let first = match checkpoint_at {
            None => queue.recv().ok_or(RecvTimeoutError::Disconnected),
            Some(at) => queue.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        match first {
            Ok(first) => {
                let group = gather(first, queue);
                commit(&mut writer, group, counts);
                checkpoint_at.get_or_insert_with(|| Instant::now() + CHECKPOINT_EVERY);
            }
            Err(RecvTimeoutError::Timeout) => {
                checkpoint_at = None;
                checkpoint(&writer, counts);
            }
            Err(RecvTimeoutError::Disconnected) => {
                checkpoint(&writer, counts);
                return;
            }
        }
    }
}

fn gather(first: Job, queue: &JobQueue<Job>) -> Vec<Job> {
    let until = Instant::now() + GATHER;
    let mut group = vec![first];
    while group.len() < GROUP_MAX {
        let awaited = group.last().is_some_and(Job::is_awaited);
        let next = match awaited {
            true => queue.try_recv(),
            false => queue.recv_timeout(until.saturating_duration_since(Instant::now())).ok(),
        };
        match next {
            Some(job) => group.push(job),
            None => break,
        }
    }
    group
}

fn commit(writer: &mut Writer, group: Vec<Job>, counts: &Counts) {
    let size: usize = group.iter().map(Job::bytes).sum();
    let written = writer.write(&group);
    counts.waiting_bytes.fetch_sub(size, Ordering::Relaxed);
    counts.commits.fetch_add(1, Ordering::Relaxed);
    let answer = written.map_err(|error| {
        if counts.failed.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(%error, "not_saved");
        }
        Error::Disk(error.to_string())
    });
    for done in group.into_iter().filter_map(Job::done) {
        // Who asked may be gone.
        let _ = done.send(answer.clone());
    }
}

fn checkpoint(writer: &Writer, counts: &Counts) {
    if let Err(error) = writer.checkpoint() {
        counts.failed.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%error, "not_saved");
    }
}
