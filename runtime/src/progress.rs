//! How far long work is: a line on a terminal that goes when the work is done.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that takes less is not worth a line.
const SHOWN_AFTER: Duration = Duration::from_millis(200);
/// How often work that cannot say how far it is shows that it goes on.
const BEAT: Duration = Duration::from_millis(120);

/// How far long work is. It is shown on standard error, only there where that is a terminal, and
/// without colours. Dropping it takes it away.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    begun: Instant,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    /// So many things.
    Count(u64),
    /// So many bytes.
    Bytes(u64),
    /// As many as there are.
    Unknown,
}

impl Progress {
    /// Work that is called `what`, such as "publishing". Unless it is `wanted`, it is never shown:
    /// who asks for JSON wants nothing else.
    pub fn new(what: &'static str, steps: Steps, wanted: bool) -> Self {
        let (template, total) = match steps {
            Steps::Count(total) => ("{msg} [{bar:30}] {pos} of {len}, {eta} left", Some(total)),
            Steps::Bytes(total) => {
                ("{msg} [{bar:30}] {bytes} of {total_bytes}, {eta} left", Some(total))
            }
            Steps::Unknown => ("{msg} {spinner} {pos}, {elapsed}", None),
        };
        let target = match wanted {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let style = ProgressStyle::with_template(template).expect("a constant that is legal");
        let style = style.progress_chars("=> ").tick_chars("|/-\\ ");
        let bar = ProgressBar::with_draw_target(total, target).with_style(style).with_message(what);
        Self { bar, begun: Instant::now() }
    }

    /// Work that nobody watches.
    pub fn hidden() -> Self {
        Self::new("", Steps::Unknown, false)
    }

    /// So much is done.
    pub fn set(&self, done: u64) {
        if self.begun.elapsed() >= SHOWN_AFTER {
            self.bar.set_position(done);
        }
    }

    /// Shows that the work goes on until the next step is done, which may take a while.
    pub fn beat(&self) {
        if !self.bar.is_hidden() {
            self.bar.enable_steady_tick(BEAT);
        }
    }

    /// Prints a line above it, on standard error, also where it is not shown.
    pub fn note(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_can_be_shown() {
        for steps in [Steps::Count(3), Steps::Bytes(1 << 20), Steps::Unknown] {
            let progress = Progress::new("testing", steps, false);
            progress.beat();
            progress.set(2);
            assert!(progress.bar.is_hidden(), "{steps:?}");
        }
    }
}
