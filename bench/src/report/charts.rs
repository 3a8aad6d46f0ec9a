//! Results as pictures: how long messages took, and how a run grows with peers, sizes and topics.

use serde_json::Value;

use crate::plot::Chart;
use crate::report::cells::{Cell, Cells, Key};

/// What grows with what. Runs that differ in nothing else are a line.
struct Growth {
    title: &'static str,
    x: &'static str,
    y: &'static str,
    scenarios: &'static [&'static str],
    field: &'static str,
    over: fn(&mut Key) -> &mut u64,
}

/// What the runs of a line have in common, their system, and the points.
type Line = (Key, String, Vec<(f64, f64)>);

/// Scenarios whose deliveries a second say something.
const BURSTS: &[&str] = &["s2", "s2w"];
const ALL: &[&str] = &["s1", "s2", "s2w", "s3"];

const GROWTHS: &[Growth] = &[
    Growth {
        title: "Throughput over the number of peers",
        x: "peers",
        y: "deliveries a second",
        scenarios: BURSTS,
        field: "/deliveries_per_s",
        over: |key| &mut key.n,
    },
    Growth {
        title: "Processor time over the number of peers",
        x: "peers",
        y: "seconds per million deliveries",
        scenarios: ALL,
        field: "/cpu_s_per_m",
        over: |key| &mut key.n,
    },
    Growth {
        title: "Throughput over the size of messages",
        x: "bytes",
        y: "deliveries a second",
        scenarios: BURSTS,
        field: "/deliveries_per_s",
        over: |key| &mut key.payload,
    },
    Growth {
        title: "Bytes a second over the size of messages",
        x: "bytes",
        y: "MB delivered a second",
        scenarios: BURSTS,
        field: "/payload_mb_per_s",
        over: |key| &mut key.payload,
    },
    Growth {
        title: "Processor time over the number of topics, of which one is used",
        x: "topics",
        y: "seconds per million deliveries",
        scenarios: ALL,
        field: "/cpu_s_per_m",
        over: |key| &mut key.topics,
    },
    Growth {
        title: "Start: until the first message has reached all",
        x: "peers",
        y: "milliseconds",
        scenarios: &["s5"],
        field: "/ready_ms",
        over: |key| &mut key.n,
    },
];

/// All that there is something to draw for.
pub(crate) fn charts(cells: &Cells) -> Vec<Chart> {
    let mut charts = latencies(cells);
    charts.extend(GROWTHS.iter().filter_map(|growth| growth.chart(cells)));
    charts
}

/// A chart per scenario and size of messages, with a line for each system and number of peers.
fn latencies(cells: &Cells) -> Vec<Chart> {
    let mut charts: Vec<Chart> = Vec::new();
    let single = cells.cells.iter().filter(|(key, _)| key.topics == 1);
    for (key, row) in single {
        let scenario = key.scenario.to_uppercase();
        let title = format!("{scenario}, {} B: messages that took longer", key.payload);
        for (system, cell) in row {
            let Some(points) = middle(cell).map(slower).filter(|points| !points.is_empty()) else {
                continue;
            };
            let line = (format!("{system}, N={}", key.n), points);
            match charts.iter_mut().find(|chart| chart.title == title) {
                Some(chart) => chart.lines.push(line),
                None => charts.push(Chart {
                    title: title.clone(),
                    x: "milliseconds".to_owned(),
                    y: "part of all messages".to_owned(),
                    lines: vec![line],
                }),
            }
        }
    }
    charts
}

/// The repetition whose median latency is the one in the middle.
fn middle(cell: &Cell) -> Option<&Value> {
    let p50 = |run: &Value| run.pointer("/lat_us/p50").and_then(Value::as_f64);
    let mut runs: Vec<_> = cell.each().iter().filter(|run| p50(run).is_some()).collect();
    runs.sort_by(|a, b| p50(a).partial_cmp(&p50(b)).unwrap_or(std::cmp::Ordering::Equal));
    runs.get(runs.len().saturating_sub(1) / 2).copied()
}

/// Milliseconds, and the part of the messages that took longer. Results of the comparison harness
/// have four points only.
fn slower(run: &Value) -> Vec<(f64, f64)> {
    let points: Option<Vec<(f64, f64)>> =
        run.get("lat_slower_us").and_then(|points| serde_json::from_value(points.clone()).ok());
    let points = points.unwrap_or_else(|| {
        let named = [("p50", 0.5), ("p90", 0.1), ("p99", 0.01), ("p999", 0.001)];
        let point = |(name, part)| Some((run["lat_us"][name].as_f64()?, part));
        named.into_iter().filter_map(point).collect()
    });
    points.into_iter().map(|(us, part)| (us / 1e3, part)).collect()
}

impl Growth {
    /// Nothing when nothing is there for two places on the axis.
    fn chart(&self, cells: &Cells) -> Option<Chart> {
        let mut lines: Vec<Line> = Vec::new();
        for (key, row) in &cells.cells {
            if !self.scenarios.contains(&key.scenario.as_str()) {
                continue;
            }
            let mut rest = key.clone();
            let at = std::mem::take((self.over)(&mut rest)) as f64;
            for (system, cell) in row {
                let Some(value) = cell.median(self.field) else { continue };
                let line = lines.iter_mut().find(|line| line.0 == rest && line.1 == *system);
                match line {
                    Some((_, _, points)) => points.push((at, value)),
                    None => lines.push((rest.clone(), system.clone(), vec![(at, value)])),
                }
            }
        }
        lines.retain(|(_, _, points)| points.len() > 1);
        let name = |(key, system, points): Line| (format!("{system} {}", short(&key)), points);
        (!lines.is_empty()).then(|| Chart {
            title: self.title.to_owned(),
            x: self.x.to_owned(),
            y: self.y.to_owned(),
            lines: lines.into_iter().map(name).collect(),
        })
    }
}

/// What the runs of a line have in common; 0 is what they differ in.
fn short(key: &Key) -> String {
    let mut text = key.scenario.clone();
    if key.n > 0 {
        text += &format!(" N={}", key.n);
    }
    if key.payload > 0 {
        text += &format!(" {} B", key.payload);
    }
    if key.topics > 1 {
        text += &format!(" {} topics", key.topics);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(n: u64, payload: u64, topics: u64, rate: f64) -> Value {
        json!({"system": "tidings", "scenario": "s2", "n": n, "payload": payload, "topics": topics,
            "deliveries_per_s": rate, "payload_mb_per_s": rate / 1e3, "cpu_s_per_m": 4.0,
            "lat_us": {"p50": 2_000.0, "p99": 9_000.0},
            "lat_slower_us": [[1_000.0, 1.0], [2_000.0, 0.5], [9_000.0, 0.01]]})
    }

    #[test]
    fn runs_that_differ_in_one_thing_are_a_line() {
        let mut cells = Cells::default();
        let (many, large) = (run(64, 1_024, 1, 400.0), run(16, 16_384, 1, 100.0));
        [run(16, 1_024, 1, 500.0), many, large, run(16, 1_024, 100, 490.0)]
            .into_iter()
            .for_each(|run| cells.add(run));
        let charts = charts(&cells);
        let of = |start: &str| {
            let mut found = charts.iter().filter(|chart| chart.title.starts_with(start));
            found.next().map(|chart| chart.lines.clone()).unwrap_or_default()
        };
        let line = |name: &str, points: &[(f64, f64)]| vec![(name.to_owned(), points.to_vec())];
        let over_peers = line("tidings s2 1024 B", &[(16.0, 500.0), (64.0, 400.0)]);
        assert_eq!(of("Throughput over the number"), over_peers);
        let over_sizes = line("tidings s2 N=16", &[(1_024.0, 500.0), (16_384.0, 100.0)]);
        assert_eq!(of("Throughput over the size"), over_sizes);
        let over_topics = line("tidings s2 N=16 1024 B", &[(1.0, 4.0), (100.0, 4.0)]);
        assert_eq!(of("Processor time over the number of topics"), over_topics);
        assert_eq!(of("Start"), [], "there is no such run");
        let points = [(1.0, 1.0), (2.0, 0.5), (9.0, 0.01)];
        assert_eq!(of("S2, 16384 B"), line("tidings, N=16", &points));
        assert_eq!(of("S2, 1024 B").len(), 2, "one per number of peers");
    }

    #[test]
    fn percentiles_are_drawn_where_there_is_nothing_else() {
        let run = json!({"lat_us": {"p50": 500.0, "p99": 2_000.0}});
        assert_eq!(slower(&run), [(0.5, 0.5), (2.0, 0.01)]);
    }
}
