//! Results by what was run: repetitions of the same run are one cell.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::Value;

/// What was run, without the system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) scenario: String,
    pub(crate) n: u64,
    /// 0 for s5, whose messages are probes.
    pub(crate) payload: u64,
    /// With those that carry nothing.
    pub(crate) topics: u64,
}

impl Key {
    /// For people.
    pub(crate) fn title(&self) -> String {
        let what = match self.scenario.as_str() {
            "s1" => "S1 low rate",
            "s2" => "S2 one publisher, own backpressure",
            "s2w" => "S2w one publisher, window of messages not yet everywhere",
            "s3" => "S3 every peer publishes",
            "s5" => "S5 start",
            other => other,
        };
        let payload = match self.payload {
            0 => String::new(),
            payload => format!(", {payload} B"),
        };
        let topics = match self.topics {
            1 => String::new(),
            topics => format!(", {topics} topics"),
        };
        format!("{what}, N={}{payload}{topics}", self.n)
    }
}

/// Repetitions of one run.
#[derive(Debug, Default)]
pub(crate) struct Cell {
    runs: Vec<Value>,
    errors: Vec<String>,
}

impl Cell {
    /// The median of a field, named by JSON pointer.
    pub(crate) fn median(&self, field: &str) -> Option<f64> {
        let values = self.values(field);
        let middle = values.len() / 2;
        match values.len() {
            0 => None,
            odd if odd % 2 == 1 => Some(values[middle]),
            _ => Some(f64::midpoint(values[middle - 1], values[middle])),
        }
    }

    /// Half the range over the median, in per cent; nothing for a single run.
    pub(crate) fn spread(&self, field: &str) -> Option<f64> {
        let values = self.values(field);
        let (first, last) = (values.first()?, values.last()?);
        let median = self.median(field)?;
        (values.len() > 1 && median != 0.0).then(|| (last - first) / 2.0 / median * 100.0)
    }

    /// How many runs, and how many of them failed.
    pub(crate) fn runs(&self) -> String {
        match self.errors.len() {
            0 => self.runs.len().to_string(),
            failed => format!("{}+{failed} failed", self.runs.len()),
        }
    }

    /// Why, when no run succeeded.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.errors.first().map(String::as_str).filter(|_| self.runs.is_empty())
    }

    /// Each run that succeeded.
    pub(crate) fn each(&self) -> &[Value] {
        &self.runs
    }

    /// Why runs failed.
    pub(crate) fn failures(&self) -> &[String] {
        &self.errors
    }

    fn values(&self, field: &str) -> Vec<f64> {
        let of = |run: &Value| run.pointer(field).and_then(Value::as_f64);
        let mut values: Vec<f64> = self.runs.iter().filter_map(of).collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

/// All results.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    pub(crate) cells: BTreeMap<Key, BTreeMap<String, Cell>>,
    /// Systems, in the order in which they first occur.
    pub(crate) systems: Vec<String>,
}

impl Cells {
    /// Reads files of JSON lines; lines that are no results are passed over.
    pub(crate) fn read(files: &[PathBuf]) -> anyhow::Result<Self> {
        let mut cells = Self::default();
        for file in files {
            let text = std::fs::read_to_string(file);
            let text = text.with_context(|| format!("{}", file.display()))?;
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).for_each(|run| {
                cells.add(run);
            });
        }
        Ok(cells)
    }

    pub(super) fn add(&mut self, run: Value) {
        let (Some(system), Some(scenario)) = (run["system"].as_str(), run["scenario"].as_str())
        else {
            return;
        };
        let tag = run.pointer("/opts/tag").and_then(Value::as_str);
        let system = tag.map_or_else(|| system.to_owned(), |tag| format!("{system}[{tag}]"));
        let number = |field: &str| run[field].as_u64().unwrap_or(0);
        let payload = if scenario == "s5" { 0 } else { number("payload") };
        let topics = number("topics").max(1);
        let key = Key { scenario: scenario.to_owned(), n: number("n"), payload, topics };
        if !self.systems.contains(&system) {
            self.systems.push(system.clone());
        }
        let cell = self.cells.entry(key).or_default().entry(system).or_default();
        match run["error"].as_str() {
            Some(error) => cell.errors.push(error.to_owned()),
            None => cell.runs.push(run),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn repetitions_become_medians() {
        let mut cells = Cells::default();
        for (ratio, tag) in [(1.0, None), (3.0, None), (2.0, None), (9.0, Some("flood"))] {
            cells.add(json!({
                "system": "tidings", "scenario": "s2", "n": 16, "payload": 1024,
                "ratio": ratio, "opts": {"tag": tag},
            }));
        }
        cells.add(json!({"system": "tidings", "scenario": "s2", "n": 16, "payload": 1024,
            "error": "no"}));
        cells.add(json!({"unrelated": 1}));
        assert_eq!(cells.systems, ["tidings", "tidings[flood]"]);
        let row = cells.cells.values().next().expect("one key");
        let cell = &row["tidings"];
        assert_eq!((cell.median("/ratio"), cell.spread("/ratio")), (Some(2.0), Some(50.0)));
        assert_eq!((cell.runs().as_str(), cell.failure()), ("3+1 failed", None));
        assert_eq!(row["tidings[flood]"].median("/ratio"), Some(9.0));
    }
}
