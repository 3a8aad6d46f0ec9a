//! Rates as lines of text.

use std::time::Duration;

use tidings::control::StatusView;
use tidings_runtime::table::{Table, printable, short};

use super::rates::{KindRate, LinkRate, Rates};
use crate::span;

/// Links and streams that are shown when there is room for all.
const ITEMS_MAX: usize = 16;

/// The lines of a screen, at most `rows`. What changes most slowly is left out first.
pub(super) fn draw(status: &StatusView, rates: &Rates, rows: usize) -> Vec<String> {
    let mut lines = head(status, rates);
    let sections = [links(rates, status), streams(rates, status), traffic(rates)];
    for section in sections {
        // A head without a row says nothing.
        let room = rows.saturating_sub(lines.len() + 1);
        if room >= 2 && section.len() >= 2 {
            lines.push(String::new());
            lines.extend(section.into_iter().take(room));
        }
    }
    lines.truncate(rows);
    lines
}

fn head(status: &StatusView, rates: &Rates) -> Vec<String> {
    let joined = if status.joined { "joined" } else { "NOT JOINED" };
    let redundancy = rates.redundancy.map_or_else(|| "-".to_owned(), |r| format!("{r:.3}"));
    vec![
        format!(
            "{} {} {}   up {}   {joined}: {} of {} seeds   {} neighbours   {} topics",
            short(&status.node),
            printable(&status.name),
            status.listen,
            span::show(Duration::from_millis(status.uptime_ms)),
            status.seeds_joined,
            status.quorum,
            status.neighbors.len(),
            status.topics.len(),
        ),
        format!(
            "messages/s  {} published  {} delivered   redundancy {redundancy}   gaps {}",
            number(rates.published_per_s),
            number(rates.delivered_per_s),
            rates.gaps,
        ),
        format!(
            "bytes/s     {} sent  {} received   per s: {} tree changes  {} repairs  {} shed",
            number(rates.bytes_sent_per_s),
            number(rates.bytes_received_per_s),
            number(rates.tree_changes_per_s),
            number(rates.repairs_per_s),
            number(rates.shed_per_s),
        ),
    ]
}

fn links(rates: &Rates, status: &StatusView) -> Vec<String> {
    let mut rows = Table::new(["LINK", "NAME", "SENT B/S", "RECEIVED B/S", "WAITING", "SHED"]);
    for link in rates.links.iter().take(ITEMS_MAX) {
        let LinkRate { node, name, bytes_sent_per_s, bytes_received_per_s, queued, shed } = link;
        rows.row([
            short(node),
            name.clone(),
            number(*bytes_sent_per_s),
            number(*bytes_received_per_s),
            format!("{} ({} B)", queued.frames, queued.bytes),
            shed.to_string(),
        ]);
    }
    with_rest(rows.lines(), rates.links.len().min(ITEMS_MAX), status.network.links_total)
}

fn streams(rates: &Rates, status: &StatusView) -> Vec<String> {
    let mut rows = Table::new(["STREAM", "ORIGIN", "SEQ", "MISSING", "HELD BACK", "LAG"]);
    for stream in rates.streams.iter().take(ITEMS_MAX) {
        rows.row([
            printable(&stream.topic),
            short(&stream.origin),
            stream.seq.to_string(),
            stream.missing.to_string(),
            stream.held_batches.to_string(),
            stream.lag_us.map_or_else(String::new, |us| format!("{:.1} ms", us as f64 / 1e3)),
        ]);
    }
    with_rest(rows.lines(), rates.streams.len().min(ITEMS_MAX), status.streams_total)
}

fn traffic(rates: &Rates) -> Vec<String> {
    let mut rows = Table::new(["FRAMES/S", "SENT", "BYTES", "RECEIVED", "BYTES"]);
    let mut kinds: Vec<_> = rates.traffic.iter().collect();
    let bytes = |rate: &KindRate| rate.bytes_sent_per_s + rate.bytes_received_per_s;
    kinds.sort_by(|(_, one), (_, other)| bytes(other).total_cmp(&bytes(one)));
    for (kind, rate) in kinds {
        let KindRate {
            frames_sent_per_s,
            bytes_sent_per_s,
            frames_received_per_s,
            bytes_received_per_s,
        } = *rate;
        rows.row([
            kind.clone(),
            number(frames_sent_per_s),
            number(bytes_sent_per_s),
            number(frames_received_per_s),
            number(bytes_received_per_s),
        ]);
    }
    rows.lines()
}

fn with_rest(mut lines: Vec<String>, shown: usize, total: usize) -> Vec<String> {
    if total > shown {
        lines.push(format!("and {} more", total - shown));
    }
    lines
}

/// Three digits are enough to see what happens.
fn number(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{:.1}G", v / 1e9),
        v if v >= 1e6 => format!("{:.1}M", v / 1e6),
        v if v >= 1e4 => format!("{:.1}k", v / 1e3),
        v if v >= 10.0 || v == 0.0 => format!("{v:.0}"),
        v => format!("{v:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rates::tests::status;
    use super::*;

    fn drawn(rows: usize) -> Vec<String> {
        let (before, now) = (status(1, 10), status(1, 11));
        let rates = Rates::between(&before, &now, Duration::from_secs(1));
        draw(&now, &rates, rows)
    }

    #[test]
    fn a_screen_shows_rates_links_streams_and_traffic() {
        let lines = drawn(usize::MAX);
        let text = lines.join("\n");
        assert!(
            lines[0].starts_with("efefefefef mine 127.0.0.1:7200   up 1.00 s   joined: 2 of 2")
        );
        assert!(lines[1].contains("10 delivered   redundancy 0.100   gaps 4"), "{text}");
        for part in ["ababababab", "3 (300 B)", "cdcdcdcdcd", "1.5 ms", "push", "FRAMES/S"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn a_small_screen_shows_what_matters_most() {
        assert_eq!(drawn(2).len(), 2);
        let lines = drawn(7);
        assert!(lines.len() <= 7 && lines[4].starts_with("LINK"), "{lines:?}");
        assert!(!lines.iter().any(|line| line.starts_with("FRAMES")), "{lines:?}");
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.25, 9.94, 12.3, 9_999.0, 12_345.0, 2.5e6, 3e9].map(number);
        assert_eq!(shown, ["0", "0.2", "9.9", "12", "9999", "12.3k", "2.5M", "3.0G"]);
    }
}
