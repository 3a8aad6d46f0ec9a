//! A bounded buffer of lines, and the thread that writes it out.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::format::Line;
use super::{LogCounters, LogFormat};

/// Where lines end up. Writing may take long and may fail.
pub(super) trait Target: Send + 'static {
    /// Writes whole lines. What cannot be written is lost, and counted by the target.
    fn write(&mut self, lines: &[u8]);
}

/// Takes lines at any rate, without waiting.
#[derive(Debug)]
pub(super) struct Sink {
    state: Mutex<State>,
    /// There is something to write, or somebody waits for it.
    wake: Condvar,
    /// All is written.
    idle: Condvar,
    counters: Arc<LogCounters>,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    dropped: u64,
    writing: bool,
    hurry: bool,
}

impl Sink {
    /// Starts the thread of `target`. It ends when the process does.
    pub(super) fn start(
        target: impl Target,
        format: LogFormat,
        counters: Arc<LogCounters>,
    ) -> io::Result<Arc<Self>> {
        let sink = Arc::new(Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            idle: Condvar::new(),
            counters,
        });
        let written = sink.clone();
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || written.write_out(target, format))?;
        Ok(sink)
    }

    /// Queues a line. When the target is too far behind, the line is lost.
    pub(super) fn push(&self, line: &str) {
        let mut state = self.lock();
        if state.lines.len() + line.len() > QUEUE_BYTES_MAX {
            state.dropped += 1;
            self.counters.add_dropped(1);
            return;
        }
        let was_empty = state.lines.is_empty();
        state.lines.extend_from_slice(line.as_bytes());
        drop(state);
        if was_empty {
            self.wake.notify_one();
        }
    }

    /// Waits until all is written, at most a second.
    pub(super) fn flush(&self) {
        let mut state = self.lock();
        state.hurry = true;
        self.wake.notify_one();
        let busy = |state: &mut State| state.writing || !state.lines.is_empty();
        // A target that does not finish in time is not waited for.
        let _ = self.idle.wait_timeout_while(state, FLUSH_TIME, busy);
    }

    fn write_out(&self, mut target: impl Target, format: LogFormat) {
        let mut lines = Vec::new();
        let mut line = Line::default();
        loop {
            let dropped = self.next_lines(&mut lines);
            if dropped > 0 {
                target.write(line.notice(format, "log_dropped", &[("lines", &dropped)]).as_bytes());
            }
            target.write(&lines);
            lines.clear();
            if lines.capacity() > BUFFER_BYTES_KEPT {
                lines = Vec::new();
            }
        }
    }

    /// Waits for lines, then a little longer for more, and moves them to `lines`. Returns how
    /// many were lost since.
    fn next_lines(&self, lines: &mut Vec<u8>) -> u64 {
        let mut state = self.lock();
        state.writing = false;
        if state.lines.is_empty() {
            state.hurry = false;
            self.idle.notify_all();
        }
        let waiting = |state: &mut State| state.lines.is_empty();
        state = self.wake.wait_while(state, waiting).unwrap_or_else(PoisonError::into_inner);
        let lazy = |state: &mut State| !state.hurry && state.lines.len() < GATHER_BYTES;
        let gathered = self.wake.wait_timeout_while(state, GATHER_TIME, lazy);
        state = gathered.unwrap_or_else(PoisonError::into_inner).0;
        std::mem::swap(&mut state.lines, lines);
        state.writing = true;
        std::mem::take(&mut state.dropped)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing can panic while the lock is held; what is queued is as good as before.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The terminal, or whatever stderr is.
#[derive(Debug)]
pub(super) struct Console {
    coloured: bool,
    broken_until: Option<Instant>,
}

impl Console {
    pub(super) fn stderr() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { coloured: wanted && io::stderr().is_terminal(), broken_until: None }
    }
}

impl Target for Console {
    fn write(&mut self, lines: &[u8]) {
        if self.broken_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        let mut stderr = io::stderr().lock();
        let written = if self.coloured {
            stderr.write_all(&coloured(lines))
        } else {
            stderr.write_all(lines)
        };
        // Nobody is left to be told.
        self.broken_until = written.err().map(|_| Instant::now() + CONSOLE_PAUSE);
    }
}

/// The level of each line in its colour.
fn coloured(lines: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(lines.len() + lines.len() / 8);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let mut words = line.splitn(3, |byte| *byte == b' ');
        let (Some(time), Some(level), Some(rest)) = (words.next(), words.next(), words.next())
        else {
            out.extend_from_slice(line);
            continue;
        };
        let colour: &[u8] = match level {
            b"ERROR" => b"31",
            b"WARN" => b"33",
            b"INFO" => b"32",
            _ => b"34",
        };
        let parts: [&[u8]; 8] =
            [b"\x1b[2m", time, b"\x1b[0m \x1b[", colour, b"m", level, b"\x1b[0m ", rest];
        parts.iter().for_each(|part| out.extend_from_slice(part));
    }
    out
}

/// Lines that wait: some 80,000, 1.6 s of the most that a node logs.
const QUEUE_BYTES_MAX: usize = 8 << 20;
/// Memory that a thread keeps between two writes.
const BUFFER_BYTES_KEPT: usize = 256 << 10;
/// A write waits this long for more lines, unless there are many or somebody waits for it.
const GATHER_TIME: Duration = Duration::from_millis(5);
/// So many bytes do not wait.
const GATHER_BYTES: usize = 128 << 10;
/// The longest wait for all to be written.
const FLUSH_TIME: Duration = Duration::from_secs(1);
/// A stderr that cannot be written is tried again after this.
const CONSOLE_PAUSE: Duration = Duration::from_secs(1);
