//! From `tracing` to lines.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use tracing::level_filters::LevelFilter;
use tracing::span;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata};

use super::format::Line;
use super::sink::Sink;
use super::{LogCounters, LogFormat, LogLevel};

/// Formats events and hands the lines to sinks. Spans are not shown: an event says all that it
/// has to say.
pub(super) struct Lines {
    level: LevelFilter,
    format: LogFormat,
    sinks: Vec<Arc<Sink>>,
    counters: Arc<LogCounters>,
}

impl Lines {
    pub(super) fn new(
        level: LogLevel,
        format: LogFormat,
        sinks: Vec<Arc<Sink>>,
        counters: Arc<LogCounters>,
    ) -> Self {
        let level = match level {
            LogLevel::Off => LevelFilter::OFF,
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        };
        Self { level, format, sinks, counters }
    }

    /// Libraries have their say only when something is wrong.
    fn shows(&self, metadata: &Metadata<'_>) -> bool {
        let ours =
            ["tidings", "seed", "peer"].iter().any(|name| metadata.target().starts_with(name));
        // `tracing::enabled!` asks with metadata that is neither a span's nor an event's.
        !metadata.is_span()
            && *metadata.level() <= self.level
            && (ours || *metadata.level() <= Level::WARN)
    }
}

impl tracing::Subscriber for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.shows(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.shows(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        LINE.with(|line| {
            // A value that logs while it is printed would come here again: that is left out.
            let Ok(mut line) = line.try_borrow_mut() else {
                self.counters.add_dropped(1);
                return;
            };
            let text = line.format(self.format, SystemTime::now(), event);
            self.counters.lines.fetch_add(1, Ordering::Relaxed);
            for sink in &self.sinks {
                sink.push(text);
            }
        });
    }

    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}

thread_local! {
    /// Each thread keeps the memory of its lines.
    static LINE: RefCell<Line> = RefCell::default();
}
