//! Results for spreadsheets: a line per run.

use serde_json::Value;

use crate::report::cells::Cells;

/// Columns after the first: names, and fields of a result by JSON pointer.
const COLUMNS: &[(&str, &str)] = &[
    ("scenario", "/scenario"),
    ("n", "/n"),
    ("payload", "/payload"),
    ("topics", "/topics"),
    ("rep", "/rep"),
    ("deliveries_per_s", "/deliveries_per_s"),
    ("payload_mb_per_s", "/payload_mb_per_s"),
    ("ratio", "/ratio"),
    ("p50_us", "/lat_us/p50"),
    ("p90_us", "/lat_us/p90"),
    ("p99_us", "/lat_us/p99"),
    ("p999_us", "/lat_us/p999"),
    ("max_us", "/lat_us/max"),
    ("cpu_s_per_m", "/cpu_s_per_m"),
    ("cpu_pct", "/cpu_pct"),
    ("wire_per_payload_byte", "/wire_per_payload_byte"),
    ("packets_per_delivery", "/packets_per_delivery"),
    ("copies_per_delivery", "/copies_per_delivery"),
    ("rss_peak_kib_per_node", "/rss_peak_kib_per_node"),
    ("idle_cpu_pct", "/idle_cpu_pct"),
    ("idle_bytes_per_s_node", "/idle_bytes_per_s_node"),
    ("ready_ms", "/ready_ms"),
    ("foreign_cpu_pct", "/foreign_cpu_pct"),
];

/// All runs. Those that failed have an error instead of figures.
pub(crate) fn render(cells: &Cells) -> String {
    let names: Vec<_> = COLUMNS.iter().map(|(name, _)| *name).collect();
    let mut out = format!("system,{},error\n", names.join(","));
    for (key, row) in &cells.cells {
        for (system, cell) in row {
            for run in cell.each() {
                let values: Vec<_> = COLUMNS.iter().map(|(_, field)| value(run, field)).collect();
                out += &format!("{},{},\n", quoted(system), values.join(","));
            }
            for error in cell.failures() {
                let (key, none) = (key.clone(), ",".repeat(COLUMNS.len() - 4));
                let run = format!("{},{},{},{}", key.scenario, key.n, key.payload, key.topics);
                out += &format!("{},{run}{none},{}\n", quoted(system), quoted(error));
            }
        }
    }
    out
}

fn value(run: &Value, field: &str) -> String {
    match run.pointer(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => quoted(text),
        Some(other) => other.to_string(),
    }
}

/// As RFC 4180 has it: quotes around what has a comma, a quote or a line end in it.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_line_has_every_column() {
        let mut cells = Cells::default();
        let run = json!({"system": "tidings", "scenario": "s2", "n": 16, "payload": 1024,
            "deliveries_per_s": 12.5, "lat_us": {"p50": 7.0}, "opts": {"tag": "a,b"}});
        cells.add(run);
        cells.add(json!({"system": "x", "scenario": "s1", "n": 4, "payload": 100,
            "error": "no \"way\""}));
        let text = render(&cells);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].starts_with("x,s1,4,100,1,,") && lines[1].ends_with("\"no \"\"way\"\"\""));
        assert!(lines[2].starts_with("\"tidings[a,b]\",s2,16,1024,,,12.5,,,7.0,"), "{}", lines[2]);
        let commas = |line: &str| line.matches(',').count();
        assert_eq!(commas(lines[1]), commas(lines[0]));
        assert_eq!(commas(lines[2]), commas(lines[0]) + 1, "one is quoted");
    }
}
