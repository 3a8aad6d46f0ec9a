//! The log file, rotated by size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::format::Line;
use super::sink::{Sink, Target};
use super::{LogConfig, LogCounters, LogFormat};

/// `<dir>/<stem>.log`, and `<stem>.log.1` (the newest) to `<stem>.log.N`.
pub(super) struct LogFile {
    path: PathBuf,
    open: Option<File>,
    size: u64,
    rotate_bytes: u64,
    rotate_keep: u32,
    format: LogFormat,
    /// After a failure, when to try again.
    retry_at: Option<Instant>,
    /// Lines lost since the last one that was written.
    lost: u64,
    /// People were told that the file cannot be written.
    warned: bool,
    console: Option<Arc<Sink>>,
    counters: Arc<LogCounters>,
}

impl LogFile {
    pub(super) fn new(
        config: &LogConfig,
        stem: &str,
        console: Option<Arc<Sink>>,
        counters: Arc<LogCounters>,
    ) -> Self {
        Self {
            path: config.dir.join(format!("{stem}.log")),
            open: None,
            size: 0,
            rotate_bytes: config.rotate_bytes,
            rotate_keep: config.rotate_keep,
            format: config.format,
            retry_at: None,
            lost: 0,
            warned: false,
            console,
            counters,
        }
    }

    fn write_lines(&mut self, mut lines: &[u8]) -> io::Result<()> {
        while !lines.is_empty() {
            if self.size >= self.rotate_bytes {
                self.rotate();
            }
            let room = usize::try_from(self.rotate_bytes - self.size).unwrap_or(usize::MAX);
            let length = match whole_lines(lines, room) {
                0 if self.size > 0 => {
                    // The next line does not fit: the file is as full as it gets.
                    self.size = self.rotate_bytes;
                    continue;
                }
                0 => lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |at| at + 1),
                length => length,
            };
            let (part, rest) = lines.split_at(length);
            self.file()?.write_all(part)?;
            self.size += part.len() as u64;
            lines = rest;
        }
        Ok(())
    }

    fn file(&mut self) -> io::Result<&mut File> {
        let file = match self.open.take() {
            Some(file) => file,
            None => {
                if let Some(dir) = self.path.parent() {
                    fs::create_dir_all(dir)?;
                }
                OpenOptions::new().create(true).append(true).open(&self.path)?
            }
        };
        Ok(self.open.insert(file))
    }

    /// A file that cannot be moved away is written on: lines are worth more than order.
    fn rotate(&mut self) {
        self.open = None;
        self.size = 0;
        let name = |i: u32| numbered(&self.path, i);
        let moved = (1..self.rotate_keep).rev().try_for_each(|i| rename(&name(i), &name(i + 1)));
        let moved = moved.and_then(|()| match self.rotate_keep {
            0 => fs::remove_file(&self.path),
            _ => rename(&self.path, &name(1)),
        });
        if moved.is_err() {
            self.counters.add_write_error();
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.open = None;
        self.retry_at = Some(Instant::now() + RETRY_PAUSE);
        self.counters.add_write_error();
        if !std::mem::replace(&mut self.warned, true) {
            let fields: [(&str, &dyn std::fmt::Display); 2] =
                [("path", &self.path.display()), ("cause", error)];
            let mut line = Line::default();
            let text = line.notice(self.format, "log_file_unwritable", &fields);
            match &self.console {
                Some(console) => console.push(text),
                // With no log on stderr, this one line goes there all the same.
                None => drop(io::stderr().write_all(text.as_bytes())),
            }
        }
    }

    fn lose(&mut self, lines: &[u8]) {
        let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.lost += count;
        self.counters.add_dropped(count);
    }
}

impl Target for LogFile {
    fn write(&mut self, lines: &[u8]) {
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            self.lose(lines);
            return;
        }
        if self.open.is_none() {
            self.size = fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        }
        let told = if self.lost > 0 {
            let mut line = Line::default();
            let text = line.notice(self.format, "log_dropped", &[("lines", &self.lost)]).to_owned();
            self.write_lines(text.as_bytes())
        } else {
            Ok(())
        };
        match told.and_then(|()| self.write_lines(lines)) {
            Ok(()) => {
                self.retry_at = None;
                self.lost = 0;
                self.warned = false;
            }
            Err(error) => {
                self.lose(lines);
                self.fail(&error);
            }
        }
    }
}

/// The length of the whole lines at the beginning of `lines` that fit into `room`.
fn whole_lines(lines: &[u8], room: usize) -> usize {
    if lines.len() <= room {
        return lines.len();
    }
    lines[..room].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

fn numbered(path: &Path, i: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{i}"));
    PathBuf::from(name)
}

/// A file that is not there need not be moved.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// A file that cannot be written is tried again after this.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
