//! Log files as scripts read them.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// One event of a log in text format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written, in microseconds since 1970.
    pub time_us: i64,
    /// `INFO`, `WARN`, …
    pub level: String,
    /// The name of the event.
    pub event: String,
    /// Everything after the name.
    pub rest: String,
}

impl LogLine {
    /// Reads a line.
    ///
    /// # Errors
    /// It is not `<RFC 3339 UTC with microseconds> LEVEL event …`.
    pub fn parse(line: &str) -> Result<Self> {
        let mut parts = line.splitn(4, ' ');
        let time = parts.next().unwrap_or_default();
        anyhow::ensure!(time.len() == 27 && time.ends_with('Z'), "no time in {line:?}");
        let time = chrono::DateTime::parse_from_rfc3339(time)
            .with_context(|| format!("no time in {line:?}"))?;
        let mut next = || parts.next().map(str::to_owned);
        let (level, event) = (next(), next());
        Ok(Self {
            time_us: time.timestamp_micros(),
            level: level.with_context(|| format!("no level in {line:?}"))?,
            event: event.with_context(|| format!("no event in {line:?}"))?,
            rest: next().unwrap_or_default(),
        })
    }

    /// The value of `key=value`, without the quotes that values with spaces have.
    pub fn field(&self, key: &str) -> Option<&str> {
        let at = self.rest.match_indices(key).find(|(at, _)| {
            let before = &self.rest[..*at];
            (before.is_empty() || before.ends_with(' '))
                && self.rest[at + key.len()..].starts_with('=')
        })?;
        let value = &self.rest[at.0 + key.len() + 1..];
        match value.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next(),
            None => value.split(' ').next(),
        }
    }

    /// The classic line `<timestamp>:<origin ip:port>:<seq>` of a `gossip` event.
    ///
    /// # Panics
    /// When it is not of that form.
    pub fn gossip(&self) -> Gossip {
        let line = self.rest.split(' ').next().unwrap_or_default();
        let parse = || {
            let (time, rest) = line.split_once(':')?;
            let (origin, seq) = rest.rsplit_once(':')?;
            let (seconds, micros) = time.split_once('.')?;
            let micros = (micros.len() == 6).then(|| micros.parse::<i64>().ok())??;
            let published_us = seconds.parse::<i64>().ok()? * 1_000_000 + micros;
            let seq = seq.parse().ok()?;
            Some(Gossip { published_us, origin: origin.to_owned(), seq })
        };
        parse().unwrap_or_else(|| panic!("not <timestamp>:<origin ip:port>:<seq>: {self:?}"))
    }
}

/// What a gossip line says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gossip {
    /// The publisher's `ip:port`.
    pub origin: String,
    /// The sequence number.
    pub seq: u64,
    /// When it was published, in microseconds since 1970.
    pub published_us: i64,
}

/// All logs in a folder, older ones first.
pub fn read(folder: &Path) -> String {
    let Ok(entries) = fs::read_dir(folder) else { return String::new() };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.reverse();
    let texts = paths.iter().filter_map(|path| fs::read(path).ok());
    texts.map(|text| String::from_utf8_lossy(&text).into_owned()).collect()
}

/// The events of that name in a text.
pub fn events(text: &str, event: &str) -> Vec<LogLine> {
    // A line that is being written has no newline yet; it is read the next time.
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = complete.lines().filter_map(|line| LogLine::parse(line).ok());
    lines.filter(|line| line.event == event).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_gossip_line() {
        let line = "2026-11-21T08:05:00.123456Z INFO gossip \
                    1763712300.023456:127.0.0.1:7201:12 topic=\"a b\" bytes=24 hop=2";
        let line = LogLine::parse(line).expect("a log line");
        assert_eq!((line.level.as_str(), line.event.as_str()), ("INFO", "gossip"));
        assert_eq!(line.field("topic"), Some("a b"));
        assert_eq!(line.field("hop"), Some("2"));
        assert_eq!(line.field("op"), None);
        let gossip = line.gossip();
        assert_eq!((gossip.origin.as_str(), gossip.seq), ("127.0.0.1:7201", 12));
        assert_eq!(gossip.published_us, 1_763_712_300_023_456);
    }
}
