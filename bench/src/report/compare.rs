//! Two sets of results, figure by figure.

use std::fmt::Write as _;

use crate::report::cells::{Cell, Cells};
use crate::report::format::number;

/// What is compared, where both sides have it: the field, its name, and whether more is better.
const FIGURES: &[(&str, &str, bool)] = &[
    ("/deliveries_per_s", "deliveries/s", true),
    ("/payload_mb_per_s", "MB/s", true),
    ("/ratio", "delivered", true),
    ("/lat_us/p50", "p50 us", false),
    ("/lat_us/p99", "p99 us", false),
    ("/lat_us/p999", "p99.9 us", false),
    ("/cpu_s_per_m", "CPU s/M", false),
    ("/wire_per_payload_byte", "wire B/payload B", false),
    ("/packets_per_delivery", "packets per delivery", false),
    ("/copies_per_delivery", "copies", false),
    ("/rss_peak_kib_per_node", "peak RSS/node KiB", false),
    ("/idle_cpu_pct", "idle CPU %", false),
    ("/idle_bytes_per_s_node", "idle B/s and node", false),
    ("/ready_ms", "ready ms", false),
    ("/foreign_cpu_pct", "foreign CPU %", false),
];
/// Within this much two runs of the same program differ on the same machine.
const NOISE: f64 = 0.10;

/// A table per run that occurs on both sides; `None` when there is none. A system is compared
/// with itself; when each side has one system only, with the other.
pub(crate) fn render(before: &Cells, after: &Cells) -> Option<String> {
    let mut out = String::new();
    for (key, row) in &before.cells {
        let Some(other_row) = after.cells.get(key) else { continue };
        for (system, cell) in row {
            let alone = row.len() == 1 && other_row.len() == 1;
            let other = other_row.get_key_value(system);
            let other = other.or_else(|| other_row.iter().next().filter(|_| alone));
            let Some((other_system, other)) = other else { continue };
            let figures = figures(cell, other);
            if figures.is_empty() {
                continue;
            }
            let pair = if system == other_system {
                system.clone()
            } else {
                format!("{system} -> {other_system}")
            };
            let head = format!("\n#### {}: {pair}\n\n", key.title());
            out += &(head + "| figure | A | B | B / A | |\n|---|---|---|---|---|\n");
            out += &figures;
        }
    }
    (!out.is_empty()).then_some(out)
}

fn figures(before: &Cell, after: &Cell) -> String {
    let mut out = String::new();
    for (field, name, more_is_better) in FIGURES {
        let (Some(a), Some(b)) = (before.median(field), after.median(field)) else { continue };
        let ratio = if a == 0.0 { "-".to_owned() } else { format!("{:.2}", b / a) };
        let verdict = match b / a {
            _ if *field == "/foreign_cpu_pct" || a == 0.0 => "",
            change if (change - 1.0).abs() < NOISE => "",
            change if (change > 1.0) == *more_is_better => "better",
            _ => "worse",
        };
        let (a, b) = (number(Some(a)), number(Some(b)));
        // Writing to a string does not fail.
        let _ = writeln!(out, "| {name} | {a} | {b} | {ratio} | {verdict} |");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cells(system: &str, n: u64, rate: f64, p50: f64) -> Cells {
        let mut cells = Cells::default();
        for change in [0.5, 1.0, 1.2] {
            cells.add(json!({
                "system": system, "scenario": "s2", "n": n, "payload": 1024,
                "deliveries_per_s": rate * change, "lat_us": {"p50": p50},
            }));
        }
        cells
    }

    #[test]
    fn medians_of_the_same_run_are_compared() {
        let before = cells("tidings", 16, 1e6, 500.0);
        let text = render(&before, &cells("tidings", 16, 2e6, 900.0)).expect("the same run");
        assert!(text.contains("| deliveries/s | 1.00M | 2.00M | 2.00 | better |"), "{text}");
        assert!(text.contains("| p50 us | 500 | 900 | 1.80 | worse |"), "{text}");
        let text = render(&before, &cells("tidings", 16, 1.05e6, 500.0)).expect("the same run");
        assert!(text.contains("| 1.05 |  |") && !text.contains("worse"), "noise: {text}");
        let other = render(&before, &cells("nats", 16, 1e6, 500.0)).expect("one on each side");
        assert!(other.contains("tidings -> nats"), "{other}");
        assert_eq!(render(&before, &cells("tidings", 64, 1e6, 500.0)), None);
    }
}
