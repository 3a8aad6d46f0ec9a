//! What was measured: for people, for spreadsheets, for programs, and as a picture.

use serde::Serialize;
use tidings_runtime::table::Table;

use crate::plot::Chart;

/// The first line of the CSV.
pub(crate) const HEAD: &str = "op,peers,clients,topics,ops,errors,ops_per_s,p50_us,p90_us,p99_us,\
                               p999_us,max_us,mean_us,foreign_cpu_pct,kib_each";

/// How a command did, against so many peers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Row {
    /// The command; `idle_session` for the memory of sessions.
    pub(crate) op: &'static str,
    pub(crate) peers: usize,
    /// Clients of each peer.
    pub(crate) clients: usize,
    /// Topics of the cluster.
    pub(crate) topics: usize,
    /// How often it was done; how many sessions were open.
    pub(crate) ops: u64,
    pub(crate) errors: u64,
    pub(crate) ops_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
    pub(crate) mean_us: f64,
    pub(crate) foreign_cpu_pct: f64,
    /// Memory of the peer for each idle session, in KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kib_each: Option<f64>,
}

impl Row {
    /// A line of CSV.
    pub(crate) fn csv(&self) -> String {
        let Self { op, peers, clients, topics, ops, errors, foreign_cpu_pct, .. } = self;
        let Self { ops_per_s, p50_us, p90_us, p99_us, p999_us, max_us, mean_us, .. } = self;
        let each = self.kib_each.map(|kib| format!("{kib:.2}")).unwrap_or_default();
        format!(
            "{op},{peers},{clients},{topics},{ops},{errors},{ops_per_s:.1},{p50_us:.1},\
             {p90_us:.1},{p99_us:.1},{p999_us:.1},{max_us:.1},{mean_us:.1},\
             {foreign_cpu_pct:.1},{each}"
        )
    }
}

/// For people: commands, then sessions.
pub(crate) fn print(rows: &[Row]) -> std::io::Result<()> {
    let mut commands = Table::new([
        "COMMAND", "PEERS", "TOPICS", "TIMES", "ERRORS", "PER S", "P50 MS", "P99 MS", "MAX MS",
    ]);
    let mut sessions = Table::new(["IDLE SESSIONS", "PEERS", "KIB EACH"]);
    let ms = |us: f64| format!("{:.3}", us / 1e3);
    for row in rows {
        let (ops, peers) = (row.ops.to_string(), row.peers.to_string());
        if let Some(kib) = row.kib_each {
            sessions.row([ops, peers, format!("{kib:.1}")]);
            continue;
        }
        commands.row([
            row.op.to_owned(),
            peers,
            row.topics.to_string(),
            ops,
            row.errors.to_string(),
            format!("{:.0}", row.ops_per_s),
            ms(row.p50_us),
            ms(row.p99_us),
            ms(row.max_us),
        ]);
    }
    commands.print()?;
    if !sessions.is_empty() {
        println!();
        sessions.print()?;
    }
    Ok(())
}

/// As charts: a line for each command over the number of peers.
pub(crate) fn charts(rows: &[Row]) -> Vec<Chart> {
    let chart = |title: &str, y: &str, value: fn(&Row) -> f64| Chart {
        title: title.to_owned(),
        x: "peers".to_owned(),
        y: y.to_owned(),
        lines: lines(rows, value),
    };
    vec![
        chart("Half of the answers came within", "microseconds", |row| row.p50_us),
        chart("99 of 100 answers came within", "microseconds", |row| row.p99_us),
        chart("Answers a second, over all clients", "a second", |row| row.ops_per_s),
    ]
}

fn lines(rows: &[Row], value: fn(&Row) -> f64) -> Vec<(String, Vec<(f64, f64)>)> {
    let mut lines: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for row in rows.iter().filter(|row| row.kib_each.is_none()) {
        let point = (row.peers as f64, value(row));
        match lines.iter_mut().find(|(name, _)| name == row.op) {
            Some((_, points)) => points.push(point),
            None => lines.push((row.op.to_owned(), vec![point])),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let row = |op, peers, p50_us| Row { op, peers, p50_us, ops: 7, ..Row::default() };
        let sessions = Row { kib_each: Some(4.25), ..row("idle_session", 1, 0.0) };
        vec![row("publish", 1, 90.0), sessions, row("pull", 1, 80.0), row("publish", 4, 120.0)]
    }

    #[test]
    fn a_line_has_a_value_for_each_column() {
        let columns = HEAD.split(',').count();
        assert!(rows().iter().all(|row| row.csv().split(',').count() == columns));
        assert!(rows()[1].csv().ends_with(",4.25"));
        let json = serde_json::to_string(&rows()[1]).expect("JSON");
        assert!(json.contains("\"kib_each\":4.25"), "{json}");
    }

    #[test]
    fn each_command_is_a_line_over_the_number_of_peers() {
        let charts = charts(&rows());
        let publish = ("publish".to_owned(), vec![(1.0, 90.0), (4.0, 120.0)]);
        assert_eq!(charts[0].lines[0], publish);
        assert_eq!(charts[0].lines.len(), 2, "sessions are no command");
    }
}
