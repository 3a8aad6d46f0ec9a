//! What a seed keeps on disk: one SQLite file in its data directory, written by one thread that
//! commits together what came together. The machine hears of each change when it is synced, and
//! nothing that depends on it leaves before. What is promised stands in
//! `docs/decisions/0013-what-a-seed-keeps-on-disk.md`.
//!
//! Reading order: `table` is how rows look in the file, `file` reads and changes it, `thread`
//! decides when; `copy` is backups. [`Store`] is the way there.

mod copy;
mod file;
mod table;
#[cfg(test)]
mod tests;
mod thread;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::TrySendError;
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use tidings_proto::seed::memory::{Change, Memory};
use tidings_runtime::store::{Jobs, StoreError, failed, jobs};
use tokio::sync::mpsc::{Receiver, Sender, channel};

pub(crate) use copy::{backup, restore};
pub(crate) use file::Owner;

/// The file in the data directory.
pub(crate) const FILE: &str = "seed.sqlite";
/// Changes that wait to be written. A disk that is so far behind does not come back.
const WAITING_MAX: usize = 65_536;
/// News that waits to be told: a scrub has some once a day, and after a failure there is no more.
pub(crate) const NEWS_MAX: usize = 64;

/// What was found when the file was opened.
#[derive(Debug)]
pub(crate) struct Found {
    /// What the machine starts with.
    pub(crate) memory: Memory,
    /// There was no file.
    pub(crate) is_new: bool,
    /// Rows that were damaged, and are gone.
    pub(crate) damaged: usize,
}

/// What the thread tells.
#[derive(Debug)]
pub(crate) enum News {
    /// Rows were found damaged, and are gone: all is to be written anew.
    Damaged(usize),
    /// Nothing is written any more. The process must end.
    Failed(String),
}

/// The way to the file. It is closed, with everything written, when this is dropped.
#[derive(Debug)]
pub(crate) struct Store {
    jobs: Option<Jobs<(u64, Vec<Change>)>>,
    persisted: Receiver<u64>,
    news: Sender<News>,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens the file in `directory`, makes it when it is missing, and reads all of it.
    pub(crate) fn open(
        directory: &Path,
        owner: &Owner,
    ) -> Result<(Self, Found, Receiver<News>), StoreError> {
        let path = directory.join(FILE);
        let mut opened = file::FORMAT.open(&path)?;
        let is_new = file::claim(&opened, &path, owner)?;
        let contents = file::read_all(&opened, &path)?;
        let damaged = contents.damaged.len();
        if damaged > 0 {
            file::drop_damaged(&mut opened, &contents.damaged)
                .map_err(|source| failed(&path, source))?;
        }
        let (jobs, queue) = jobs(WAITING_MAX);
        let (synced, persisted) = channel(WAITING_MAX);
        let (news, told) = channel(NEWS_MAX);
        let writer = thread::Writer::new(opened, synced, news.clone());
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(|source| StoreError::Thread { source })?;
        let store = Self { jobs: Some(jobs), persisted, news, thread: Some(thread) };
        Ok((store, Found { memory: contents.memory, is_new, damaged }, told))
    }

    /// Writes these changes, all or none. Never waits: the driver calls it.
    pub(crate) fn write(&mut self, token: u64, changes: Vec<Change>) {
        let Some(jobs) = &self.jobs else { return };
        match jobs.try_send((token, changes)) {
            // A thread that has ended has said why.
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                // No later change may be written: its token would stand for this one too.
                self.jobs = None;
                let text = format!("the disk is too slow: {WAITING_MAX} changes wait for it");
                // Whoever listens is ending.
                let _ = self.news.try_send(News::Failed(text));
            }
        }
    }

    /// Everything up to the token is on disk.
    pub(crate) fn poll_persisted(&mut self, context: &mut Context<'_>) -> Poll<u64> {
        match self.persisted.poll_recv(context) {
            Poll::Ready(Some(token)) => Poll::Ready(token),
            _ => Poll::Pending,
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // It does not panic; if it did, there is nothing left to be written.
            let _ = thread.join();
        }
    }
}

/// What reading a whole file showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    /// The file.
    pub(crate) path: PathBuf,
    /// The cluster's name.
    pub(crate) cluster: String,
    /// The seed.
    pub(crate) node: String,
    /// Rows by table.
    pub(crate) rows: BTreeMap<&'static str, usize>,
    /// Damaged rows by table.
    pub(crate) damaged: BTreeMap<&'static str, usize>,
    /// The seed votes when it starts with this file.
    pub(crate) votes: bool,
}

/// Reads every row of a file, which a seed may be using. How far it is can be `shown`.
pub(crate) fn check(path: &Path, shown: bool) -> Result<Checked, StoreError> {
    let opened = file::FORMAT.open_to_read(path)?;
    copy::checked(&opened, path, shown)
}
