//! What a peer's applications must find again after its restart: the permanent session, what of
//! it was not read, and the logs of durable topics.
//!
//! One SQLite file in the data directory, written by one thread that commits together what came
//! together. Nobody waits for the disk but who must: the end of a pull and of a subscription.
//! What is promised when stands in `docs/decisions/0007-what-a-peer-keeps-on-disk.md`.
//!
//! Reading order: `schema` is the file, `load` reads it at the start, `write` changes it, and
//! `thread` decides when; [`Store`] is the way there.

mod filters;
mod load;
mod retained;
mod schema;
mod streams;
#[cfg(test)]
mod tests;
mod thread;
mod write;

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tidings_proto::wire::batch::Batch;
use tidings_proto::{Topic, TopicFilter};
use tokio::sync::oneshot;

pub(crate) use load::{Saved, SavedLog, SavedSubscription};
pub use tidings_runtime::store::StoreError;
use tidings_runtime::store::{Jobs, jobs};

use crate::error::Error;
use crate::journal::{QueueLimits, Slot};
use crate::subscribe::SubscribeOptions;

/// The file in the data directory.
pub(crate) const FILE: &str = "peer.sqlite";
/// Bytes of batches that wait to be written; more are not kept, and counted.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// Jobs that wait to be written. Above what the bytes allow for batches of usual size.
const WAITING_JOBS_MAX: usize = 65_536;

/// The way to the file. Clones share it; it is closed, with everything written, when the last
/// one is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// `None` while the store is closed.
    jobs: Mutex<Option<Jobs<Job>>>,
    counts: Arc<Counts>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the store has done and what it could not do.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    waiting_bytes: AtomicUsize,
    /// Batches that were not kept because too many waited to be written.
    pub(crate) shed: AtomicU64,
    /// Transactions that failed.
    pub(crate) failed: AtomicU64,
    /// Transactions.
    pub(crate) commits: AtomicU64,
}

/// A subscription of the permanent session.
#[derive(Debug)]
pub(crate) struct Begin {
    pub(crate) topic: Topic,
    /// The number of its next unread message.
    pub(crate) ordinal: u64,
    /// What was published before it and is unread.
    pub(crate) history: Vec<Slot>,
    /// Microseconds since 1970.
    pub(crate) now_us: i64,
    pub(crate) options: SubscribeOptions,
}

/// How the log of a durable topic is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogLimits {
    /// Bytes of batches.
    pub(crate) bytes_max: u64,
    /// Microseconds since a batch came.
    pub(crate) age_max_us: i64,
}

type Done = oneshot::Sender<Result<(), Error>>;

#[derive(Debug)]
enum Job {
    Unread { ordinal: u64, batch: Arc<Batch>, from_seq: u64, now_us: i64 },
    Log { batch: Arc<Batch>, now_us: i64 },
    Begin(Box<Begin>, Done),
    End(Topic, Done),
    Read(Vec<(Topic, u64)>, Done),
    KeepLog { topic: Topic, hosted: bool, limits: LogLimits, done: Done },
    DropLog(Topic),
    BeginFilter(TopicFilter, SubscribeOptions, Done),
    EndFilter(TopicFilter, Done),
    Matching { topic: Topic, matching: bool },
    Alive { now_us: i64 },
}

impl Store {
    /// Opens the file in `directory`, makes it when it is missing, and reads all of it. `limits`
    /// are those of unread messages.
    pub(crate) fn open(
        directory: &Path,
        limits: QueueLimits,
        now_us: i64,
    ) -> Result<(Self, Saved), StoreError> {
        let path = directory.join(FILE);
        let connection = schema::FORMAT.open(&path)?;
        let saved = load::load(&connection, &path, now_us)?;
        let (jobs, queue) = jobs(WAITING_JOBS_MAX);
        let counts = Arc::new(Counts::default());
        let writer = write::Writer::new(connection, limits, &saved);
        let counting = Arc::clone(&counts);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || thread::run(writer, &queue, &counting))
            .map_err(|source| StoreError::Thread { source })?;
        let (jobs, thread) = (Mutex::new(Some(jobs)), Mutex::new(Some(thread)));
        Ok((Self { inner: Arc::new(Inner { jobs, counts, thread }) }, saved))
    }

    /// What it has done.
    pub(crate) fn counts(&self) -> &Counts {
        &self.inner.counts
    }

    /// Keeps unread messages of the permanent session: those of `batch` from `from_seq` on, the
    /// first of which has the number `ordinal`.
    pub(crate) fn unread(&self, ordinal: u64, batch: &Arc<Batch>, from_seq: u64, now_us: i64) {
        let job = Job::Unread { ordinal, batch: Arc::clone(batch), from_seq, now_us };
        self.append(batch, job);
    }

    /// Keeps a batch in the log of its topic.
    pub(crate) fn log(&self, batch: &Arc<Batch>, now_us: i64) {
        self.append(batch, Job::Log { batch: Arc::clone(batch), now_us });
    }

    /// Never waits: the driver calls it.
    fn append(&self, batch: &Batch, job: Job) {
        let counts = &self.inner.counts;
        let size = batch.bytes().len();
        let fits = counts.waiting_bytes.fetch_add(size, Ordering::Relaxed) < WAITING_BYTES_MAX;
        if !(fits && self.send(job)) {
            counts.waiting_bytes.fetch_sub(size, Ordering::Relaxed);
            if counts.shed.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!("the disk is too slow: not everything is kept over a restart");
            }
        }
    }

    /// The peer is alive; what is published after the last such time was missed by the next life.
    pub(crate) fn alive(&self, now_us: i64) {
        // When the queue is full, what is in it says the same.
        self.send(Job::Alive { now_us });
    }

    /// A subscription of the permanent session begins. On disk when this returns.
    pub(crate) async fn begin(&self, begin: Begin) -> Result<(), Error> {
        self.ask(|done| Job::Begin(Box::new(begin), done)).await
    }

    /// A subscription of the permanent session ends. On disk when this returns.
    pub(crate) async fn end(&self, topic: Topic) -> Result<(), Error> {
        self.ask(|done| Job::End(topic, done)).await
    }

    /// The permanent session has read everything before these numbers. On disk when this returns.
    pub(crate) async fn read(&self, read_to: Vec<(Topic, u64)>) -> Result<(), Error> {
        self.ask(|done| Job::Read(read_to, done)).await
    }

    /// The log of a topic is kept from now on. On disk when this returns.
    pub(crate) async fn keep_log(
        &self,
        topic: Topic,
        hosted: bool,
        limits: LogLimits,
    ) -> Result<(), Error> {
        self.ask(|done| Job::KeepLog { topic, hosted, limits, done }).await
    }

    /// The log of a topic is dropped. Never waits: the driver calls it.
    pub(crate) fn drop_log(&self, topic: Topic) {
        // When the queue is full the log stays, and is dropped when its topic is found deleted
        // in the next life.
        self.send(Job::DropLog(topic));
    }

    /// A filter of the permanent session has begun. On disk when this returns.
    pub(crate) async fn begin_filter(
        &self,
        filter: TopicFilter,
        options: SubscribeOptions,
    ) -> Result<(), Error> {
        self.ask(|done| Job::BeginFilter(filter, options, done)).await
    }

    /// A filter of the permanent session has ended. On disk when this returns.
    pub(crate) async fn end_filter(&self, filter: TopicFilter) -> Result<(), Error> {
        self.ask(|done| Job::EndFilter(filter, done)).await
    }

    /// Whether the permanent session receives a topic for the sake of filters alone. Never
    /// waits: who subscribes waits for what follows it.
    pub(crate) fn set_matching(&self, topic: Topic, matching: bool) {
        // When the queue is full, the topic is taken for one that was subscribed to by name.
        self.send(Job::Matching { topic, matching });
    }

    async fn ask(&self, job: impl FnOnce(Done) -> Job) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        if !self.send(job(done)) {
            return Err(Error::Busy("writes to the disk"));
        }
        answer.await.unwrap_or(Err(Error::Stopped))
    }

    fn send(&self, job: Job) -> bool {
        let jobs = self.inner.jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        jobs.as_ref().is_some_and(|jobs| jobs.try_send(job).is_ok())
    }

    /// Writes everything that waits and closes the file. Blocks for that.
    pub(crate) fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    fn close(&self) {
        let poisoned = std::sync::PoisonError::into_inner;
        drop(self.jobs.lock().unwrap_or_else(poisoned).take());
        let thread = self.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It does not panic; if it did, there is nothing left to be written.
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}
