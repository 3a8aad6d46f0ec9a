//! The log: one event a line, on stderr and in a rotated file.
//!
//! `tracing` carries the events: the message is the event's name, the field `line` is a classic
//! line that is printed as it is, all other fields are `key=value`. The thread that logs formats
//! into a buffer; one thread per target writes, in large pieces. A target that does not keep up,
//! or cannot be written, loses lines, which are counted; it never holds up the node.

mod file;
mod format;
mod sink;
mod subscriber;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

use file::LogFile;
use sink::{Console, Sink};
use subscriber::Lines;

/// How a node logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The directory of the file; created when missing. Empty: no file. Default `logs`.
    pub dir: PathBuf,
    /// How lines look. Default text.
    pub format: LogFormat,
    /// The least important level that is logged. Default info.
    pub level: LogLevel,
    /// Whether lines go to stderr as well. Default true.
    pub stderr: bool,
    /// A file of this size is rotated. Default 64 MiB: 600,000 lines.
    pub rotate_bytes: u64,
    /// Rotated files that are kept. Default 4: with the current one, 320 MiB.
    pub rotate_keep: u32,
}

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Words and `key=value`.
    Text,
    /// A JSON object a line.
    Json,
}

/// The least important level that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What needs a person.
    Error,
    /// What a person should know.
    Warn,
    /// What happened.
    Info,
    /// What was tried.
    Debug,
    /// Everything.
    Trace,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("logs"),
            format: LogFormat::Text,
            level: LogLevel::Info,
            stderr: true,
            rotate_bytes: 64 << 20,
            rotate_keep: 4,
        }
    }
}

/// What the log has done since it began.
#[derive(Debug, Default)]
pub struct LogCounters {
    lines: AtomicU64,
    dropped: AtomicU64,
    write_errors: AtomicU64,
}

impl LogCounters {
    /// Lines logged.
    pub fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Lines lost, counted once per target.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes, openings and rotations of the file that failed.
    pub fn write_errors(&self) -> u64 {
        self.write_errors.load(Ordering::Relaxed)
    }

    fn add_dropped(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }

    fn add_write_error(&self) {
        self.write_errors.fetch_add(1, Ordering::Relaxed);
    }
}

/// Keeps the log going; dropping it writes out what is queued.
#[derive(Debug)]
pub struct LogGuard {
    console: Option<Arc<Sink>>,
    file: Option<Arc<Sink>>,
    counters: Arc<LogCounters>,
}

impl LogGuard {
    /// Writes out what is queued, waiting at most a second per target.
    pub fn flush(&self) {
        for sink in self.file.iter().chain(&self.console) {
            sink.flush();
        }
    }

    /// What the log has done since it began.
    pub fn counters(&self) -> &Arc<LogCounters> {
        &self.counters
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Starts the log of this process: lines go to stderr and to `<dir>/<file_stem>.log`, and so do
/// panics. A directory that cannot be written stops nothing: there is one warning, and stderr
/// goes on.
///
/// # Errors
/// The process has a log already, or cannot start a thread.
pub fn init(config: &LogConfig, file_stem: &str) -> Result<LogGuard, LogError> {
    let (lines, guard) = open(config, file_stem)?;
    tracing::subscriber::set_global_default(lines).map_err(|_| LogError::Twice)?;
    log_panics();
    Ok(guard)
}

fn open(config: &LogConfig, file_stem: &str) -> Result<(Lines, LogGuard), LogError> {
    let counters = Arc::new(LogCounters::default());
    let console = match config.stderr {
        true => Some(Sink::start(Console::stderr(), config.format, counters.clone())?),
        false => None,
    };
    let file = if config.dir.as_os_str().is_empty() || config.level == LogLevel::Off {
        None
    } else {
        let file = LogFile::new(config, file_stem, console.clone(), counters.clone());
        Some(Sink::start(file, config.format, counters.clone())?)
    };
    let sinks = console.iter().chain(&file).cloned().collect();
    let lines = Lines::new(config.level, config.format, sinks, counters.clone());
    Ok((lines, LogGuard { console, file, counters }))
}

fn log_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or_default();
        tracing::error!(target: "tidings", %place, text, "panic");
        default(panic);
    }));
}

/// Why there is no log.
#[derive(Debug, Error)]
pub enum LogError {
    /// The process has a log already.
    #[error("the process has a log already")]
    Twice,
    /// No thread can be started.
    #[error("cannot start the thread that writes the log: {0}")]
    Thread(#[from] std::io::Error),
}
