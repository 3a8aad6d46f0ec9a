//! What must not outlive this program: the processes that it starts, and its folders.
//!
//! Both are noted as they are made, and changed under one lock. [`clear`] takes them away at the
//! end of a command; [`at_signals`] and the watchdog of a run do so wherever the program is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, WaitOptions};
use tokio::signal::unix::{SignalKind, signal};

/// Peers in this process may go on to write into a folder while it is removed.
const REMOVALS_MAX: usize = 10;
/// A shell expects this plus the number of the signal that ended a program.
const SIGNAL_CODE: i32 = 128;

static LEFT: Mutex<Left> = Mutex::new(Left { children: Vec::new(), folders: Vec::new() });

/// What is there.
struct Left {
    /// Processes that nobody has waited for.
    children: Vec<u32>,
    folders: Vec<PathBuf>,
}

fn left() -> MutexGuard<'static, Left> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process that is ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Guard(Child);

impl Guard {
    /// Starts it.
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Self> {
        // Under the lock, so that none starts unseen while all are ended.
        let mut left = left();
        let child = command.spawn()?;
        left.children.push(child.id());
        Ok(Self(child))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut left = left();
        // Otherwise it was waited for, and its number may be another's.
        if let Some(at) = left.children.iter().position(|pid| *pid == self.0.id()) {
            left.children.swap_remove(at);
            // Errors say that it has ended already.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// A new folder for what nodes write, removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes one in `parent`, by default in the directory for temporary files.
    pub(crate) fn new(parent: Option<&Path>) -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("tidings-bench-");
        let mut left = left();
        let folder = parent.map_or_else(|| builder.tempdir(), |dir| builder.tempdir_in(dir))?;
        let path = folder.keep();
        left.folders.push(path.clone());
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let mut left = left();
        left.folders.retain(|folder| *folder != self.0);
        remove(&self.0);
    }
}

/// What cannot be removed stays: nobody is left to be told.
fn remove(folder: &Path) {
    for _ in 0..REMOVALS_MAX {
        if fs::remove_dir_all(folder).is_ok() || !folder.exists() {
            return;
        }
    }
}

/// Ends the processes and removes the folders that are left.
pub(crate) fn clear() {
    left().clear();
}

/// As [`clear`], and exits: nothing is started meanwhile.
pub(crate) fn exit(code: i32) -> ! {
    let mut left = left();
    left.clear();
    std::process::exit(code)
}

impl Left {
    fn clear(&mut self) {
        let pids = self.children.drain(..).filter_map(|pid| i32::try_from(pid).ok());
        let pids: Vec<_> = pids.filter_map(Pid::from_raw).collect();
        for &pid in &pids {
            // An error says that it has ended already.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        for &pid in &pids {
            // Until then it may write into its folder.
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
        }
        self.folders.drain(..).for_each(|folder| remove(&folder));
    }
}

/// From here on SIGINT and SIGTERM exit as [`exit`] does, with the code that a shell expects.
///
/// # Errors
/// The handlers cannot be installed.
pub(crate) fn at_signals() -> anyhow::Result<()> {
    // Of its own: those of the commands come later, and may be busy.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(entered);
    std::thread::spawn(move || {
        let which = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
            }
        });
        exit(SIGNAL_CODE + which.as_raw_value());
    });
    Ok(())
}
