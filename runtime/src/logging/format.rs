//! How a line looks.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::LogFormat;

/// A line under construction, whose memory is kept for the next one.
#[derive(Debug, Default)]
pub(super) struct Line {
    out: String,
    fields: Fields,
    stamp: Stamp,
}

impl Line {
    /// The event as a line, with its end.
    pub(super) fn format(&mut self, format: LogFormat, now: SystemTime, event: &Event<'_>) -> &str {
        self.fields.clear(format);
        event.record(&mut self.fields);
        self.finish(format, now, *event.metadata().level())
    }

    /// A line of the log about itself.
    pub(super) fn notice(
        &mut self,
        format: LogFormat,
        event: &str,
        fields: &[(&str, &dyn fmt::Display)],
    ) -> &str {
        self.fields.clear(format);
        self.fields.name.push_str(event);
        for (name, value) in fields {
            self.fields.add(name, format_args!("{value}"), true);
        }
        self.finish(format, SystemTime::now(), Level::WARN)
    }

    fn finish(&mut self, format: LogFormat, now: SystemTime, level: Level) -> &str {
        self.fields.tidy_name();
        let Fields { name, line, rest, .. } = &self.fields;
        self.out.clear();
        let stamp = self.stamp.at(now);
        // Writing to a string cannot fail.
        let _ = match format {
            LogFormat::Text => {
                let space = if line.is_empty() { "" } else { " " };
                writeln!(self.out, "{stamp} {level} {name}{space}{line}{rest}")
            }
            LogFormat::Json => {
                write!(self.out, r#"{{"timestamp":"{stamp}","level":"{level}","event":"#)
                    .map(|()| put_quoted(&mut self.out, name))
                    .and_then(|()| writeln!(self.out, "{line}{rest}}}"))
            }
        };
        &self.out
    }
}

/// The fields of an event, in writing.
#[derive(Debug, Default)]
struct Fields {
    json: bool,
    name: String,
    /// The classic line. In JSON, the member that has it.
    line: String,
    /// All other fields.
    rest: String,
    value: String,
}

impl Fields {
    fn clear(&mut self, format: LogFormat) {
        self.json = format == LogFormat::Json;
        self.name.clear();
        self.line.clear();
        self.rest.clear();
    }

    fn add(&mut self, name: &str, value: fmt::Arguments<'_>, quoted: bool) {
        self.value.clear();
        // A value that cannot be printed is shown as far as it can.
        let _ = self.value.write_fmt(value);
        match (name, self.json) {
            ("message", _) => self.name.push_str(&self.value),
            ("line", false) => put_escaped(&mut self.line, &self.value, false),
            ("line", true) => {
                self.line.push_str(",\"line\":");
                put_quoted(&mut self.line, &self.value);
            }
            (name, false) => {
                let _ = write!(self.rest, " {}=", bare(name));
                if needs_quotes(&self.value) {
                    put_quoted(&mut self.rest, &self.value);
                } else {
                    self.rest.push_str(&self.value);
                }
            }
            (name, true) => {
                let _ = write!(self.rest, ",\"{}\":", bare(name));
                if quoted {
                    put_quoted(&mut self.rest, &self.value);
                } else {
                    self.rest.push_str(&self.value);
                }
            }
        }
    }

    /// An event of a library has a sentence where a name should be.
    fn tidy_name(&mut self) {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if self.name.is_empty() || !self.name.chars().all(is_word) {
            let text = std::mem::replace(&mut self.name, "note".to_owned());
            self.add("text", format_args!("{text}"), true);
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field.name(), format_args!("{value:?}"), true);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), format_args!("{value}"), true);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), format_args!("{value}"), false);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), format_args!("{value}"), false);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), format_args!("{value}"), false);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), format_args!("{value}"), !value.is_finite());
    }
}

/// A raw identifier, as in `r#type`, without its mark.
fn bare(name: &str) -> &str {
    name.strip_prefix("r#").unwrap_or(name)
}

fn needs_quotes(value: &str) -> bool {
    let breaks = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '=' | '\\');
    value.is_empty() || value.contains(breaks)
}

/// A JSON string, which is how text lines quote as well.
fn put_quoted(out: &mut String, value: &str) {
    out.push('"');
    put_escaped(out, value, true);
    out.push('"');
}

/// Nothing that others send may begin a line of its own, or speak to a terminal.
fn put_escaped(out: &mut String, value: &str, quoted: bool) {
    for c in value.chars() {
        match c {
            '"' | '\\' if quoted => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

/// A time in writing, RFC 3339 in UTC with microseconds. Dates are computed once a second.
#[derive(Debug, Default)]
struct Stamp {
    second: Option<u64>,
    text: String,
}

impl Stamp {
    fn at(&mut self, now: SystemTime) -> &str {
        let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if self.second != Some(since_1970.as_secs()) {
            self.second = Some(since_1970.as_secs());
            let seconds = i64::try_from(since_1970.as_secs()).unwrap_or(0);
            let date = chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default();
            self.text.clear();
            let _ = write!(self.text, "{}", date.format("%Y-%m-%dT%H:%M:%S"));
        }
        self.text.truncate(DATE_BYTES);
        let _ = write!(self.text, ".{:06}Z", since_1970.subsec_micros());
        &self.text
    }
}

/// `2026-11-21T08:05:00`
const DATE_BYTES: usize = 19;
