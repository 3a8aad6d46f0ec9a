//! Markdown tables, one per scenario, number of peers and message size.

use std::fmt::Write as _;

use crate::report::cells::{Cell, Cells};
use crate::report::format::{ms, number, percent};

/// How a column is shown.
type Show = fn(&Cell) -> String;

const PACED: &[(&str, Show)] = &[
    ("p50 ms", |cell| ms(cell.median("/lat_us/p50"))),
    ("p90", |cell| ms(cell.median("/lat_us/p90"))),
    ("p99", |cell| ms(cell.median("/lat_us/p99"))),
    ("p99.9", |cell| ms(cell.median("/lat_us/p999"))),
    ("max", |cell| ms(cell.median("/lat_us/max"))),
    ("delivered", |cell| percent(cell.median("/ratio"))),
    ("CPU %", |cell| number(cell.median("/cpu_pct"))),
    ("CPU s/M", |cell| number(cell.median("/cpu_s_per_m"))),
    ("wire B/payload B", |cell| number(cell.median("/wire_per_payload_byte"))),
    ("copies", |cell| number(cell.median("/copies_per_delivery"))),
    ("pkts/dlv", |cell| number(cell.median("/packets_per_delivery"))),
    ("foreign CPU %", |cell| number(cell.median("/foreign_cpu_pct"))),
    ("runs", Cell::runs),
];

const BURST: &[(&str, Show)] = &[
    ("deliveries/s", |cell| number(cell.median("/deliveries_per_s"))),
    ("±%", |cell| number(cell.spread("/deliveries_per_s"))),
    ("MB/s", |cell| number(cell.median("/payload_mb_per_s"))),
    ("delivered", |cell| percent(cell.median("/ratio"))),
    ("CPU s/M", |cell| number(cell.median("/cpu_s_per_m"))),
    ("p50 ms", |cell| ms(cell.median("/lat_us/p50"))),
    ("p99 ms", |cell| ms(cell.median("/lat_us/p99"))),
    ("peak RSS/node KiB", |cell| number(cell.median("/rss_peak_kib_per_node"))),
    ("wire B/payload B", |cell| number(cell.median("/wire_per_payload_byte"))),
    ("copies", |cell| number(cell.median("/copies_per_delivery"))),
    ("foreign CPU %", |cell| number(cell.median("/foreign_cpu_pct"))),
    ("runs", Cell::runs),
];

const START: &[(&str, Show)] = &[
    ("ready ms", |cell| number(cell.median("/ready_ms"))),
    ("±%", |cell| number(cell.spread("/ready_ms"))),
    ("nodes up ms", |cell| number(cell.median("/up_ms"))),
    ("CPU s", |cell| number(cell.median("/cpu_start_s"))),
    ("RSS/node KiB", |cell| number(cell.median("/rss_end_kib_per_node"))),
    ("foreign CPU %", |cell| number(cell.median("/foreign_cpu_pct"))),
    ("runs", Cell::runs),
];

/// All tables.
pub(crate) fn render(cells: &Cells, ratio_to: Option<&str>) -> String {
    let mut out = String::new();
    for (key, row) in &cells.cells {
        let columns = columns(&key.scenario);
        let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
        let rule = "---|".repeat(columns.len() + 1);
        put(&mut out, format_args!("\n#### {}\n", key.title()));
        put(&mut out, format_args!("| system | {} |\n|{rule}", names.join(" | ")));
        for system in &cells.systems {
            let Some(cell) = row.get(system) else { continue };
            let shown = match cell.failure() {
                Some(error) => format!("failed: {error} |{}", " |".repeat(columns.len() - 1)),
                None => {
                    let shown: Vec<_> = columns.iter().map(|(_, show)| show(cell)).collect();
                    format!("{} |", shown.join(" | "))
                }
            };
            put(&mut out, format_args!("| {system} | {shown}"));
        }
        let (field, what) = headline(&key.scenario);
        let base = ratio_to.and_then(|base| row.get(base)?.median(field));
        if let (Some(base), Some(to)) = (base.filter(|base| *base > 0.0), ratio_to) {
            let ratio = |system: &String| {
                let value = row.get(system)?.median(field)?;
                Some(format!("{system} {:.2}", value / base))
            };
            let ratios: Vec<_> = cells.systems.iter().filter_map(ratio).collect();
            put(&mut out, format_args!("\n{what} relative to {to}: {}", ratios.join(", ")));
        }
    }
    out
}

/// The figure that a scenario is about: its field and its name.
pub(crate) fn headline(scenario: &str) -> (&'static str, &'static str) {
    match scenario {
        "s1" | "s3" => ("/lat_us/p50", "p50"),
        "s5" => ("/ready_ms", "ready"),
        _ => ("/deliveries_per_s", "deliveries/s"),
    }
}

fn columns(scenario: &str) -> &'static [(&'static str, Show)] {
    match scenario {
        "s1" | "s3" => PACED,
        "s5" => START,
        _ => BURST,
    }
}

fn put(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "{line}");
}
