//! What a run has shown, for people and for programs; and how two runs differ.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::check::{Verdicts, Violation};
use crate::cluster::FaultCounts;
use crate::plot::Plot;
use crate::scenario::Scenario;

/// Violations printed for people; the JSON has more.
const PRINTED_MAX: usize = 6;

/// The report of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// The number that replays the run.
    pub seed: u64,
    /// Peers.
    pub peers: u32,
    /// Seeds.
    pub seeds: u32,
    /// Virtual time that passed.
    pub virtual_s: f64,
    /// Publications, refused ones included.
    pub published: u64,
    /// Publications that were refused.
    pub refused: u64,
    /// Publications left out, because their publisher was down.
    pub skipped: u64,
    /// Publications that were not made because the publisher was to wait.
    pub held_back: u64,
    /// Messages handed to applications.
    pub deliveries: u64,
    /// Batches received for each one that was new, less one.
    pub redundancy: f64,
    /// Links between a publisher and the peer that heard of it over the most.
    pub hops_max: u8,
    /// From a publication to the last peer that was subscribed: the median over all messages.
    pub last_receiver_ms: f64,
    /// The same, the worst message.
    pub last_receiver_ms_max: f64,
    /// From a publication to each other peer that was subscribed.
    pub latency_ms: Latency,
    /// The same among those that are never slow.
    pub bystanders_ms: Latency,
    /// How much the judges of the seeds had to judge.
    pub judged: Judged,
    /// Which part of the deliveries that were due took place.
    pub delivered_share: f64,
    /// Deliveries that were due.
    pub expected: u64,
    /// Messages that a subscriber lacks in the end, times those subscribers.
    pub missed: u64,
    /// Messages explicitly given up by a subscriber that should have them.
    pub gaps: u64,
    /// Messages that died with their publisher before anybody else had them.
    pub lost: u64,
    /// Messages delivered twice, or long past.
    pub duplicates: u64,
    /// Parts that the overlay is in at the end.
    pub parts: u64,
    /// `Dead Node` reports by peers.
    pub dead_nodes: u64,
    /// Deaths declared, as seen by each seed.
    pub declared_dead: u64,
    /// How often an invariant did not hold.
    pub violations: u64,
    /// The first of those.
    pub first_violations: Vec<Violation>,
    /// Faults that took place.
    pub faults: FaultCounts,
    /// Bytes received, by kind of frame.
    pub bytes: BTreeMap<String, u64>,
    /// Frames received, by kind.
    pub frames: BTreeMap<String, u64>,
    /// The peers' own counters, summed over those alive at the end.
    pub counters: BTreeMap<String, u64>,
    /// Grafts that peers sent.
    pub grafts: u64,
    /// Prunes that peers sent.
    pub prunes: u64,
    /// Batches that came because they were pulled, and were missing.
    pub repairs: u64,
    /// How long after each crash of many, and each end of a partition, the overlay was whole, in
    /// milliseconds: only where the scenario expects it.
    pub whole_after_ms: Vec<u64>,
    /// The same scenario and number with flooding.
    pub flood: Option<Figures>,
    /// The same scenario and number without lost packets.
    pub lossless: Option<Figures>,
    /// The same scenario and number without slow nodes.
    pub unslowed: Option<Figures>,
    /// The run as a picture, if asked for.
    #[serde(skip)]
    pub plot: Option<Plot>,
    /// Inputs handled by all machines.
    pub inputs: u64,
    /// Two runs with the same hash did the same.
    pub trace_hash: String,
    /// Real time that the run took.
    pub wall_s: f64,
}

/// What another way to run the same showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// From a publication to its last receiver, the median.
    pub last_receiver_ms: f64,
    /// Batches received for each one that was new, less one.
    pub redundancy: f64,
    /// The most links that a message took.
    pub hops_max: u8,
    /// From a publication to each peer.
    pub latency_ms: Latency,
    /// The same among those that are never slow.
    pub bystanders_ms: Latency,
}

/// How much the judges of the seeds had to judge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Judged {
    /// S4: acknowledged topics that were looked for, times the looks.
    pub topics_kept: u64,
    /// S5: lives that were declared dead.
    pub verdicts_of_death: u64,
    /// Peers that were forgotten, as an operator wished ...
    pub forgotten: u64,
    /// ... and those that were not, because they answered, or were not listed.
    pub not_forgotten: u64,
    /// From the crash of a peer to the first verdict on it, 99%, in milliseconds.
    pub death_p99_ms: f64,
    /// Peers that were declared dead and lived.
    pub evicted: u64,
    /// S7: acts on contested names that were answered.
    pub claims: u64,
    /// S7: calls on topics that have their place in an order that explains all.
    pub linear: u64,
    /// Commands that were refused for want of a majority of the seeds.
    pub no_quorum: u64,
    /// L4: how often all tables were the same.
    pub tables_equal: u64,
    /// L4: how long they differed at most, without faults, in milliseconds.
    pub tables_differed_ms: u64,
}

/// Quantiles, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// 99%.
    pub p99: f64,
    /// 99.9%.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

impl Report {
    /// The report of a run that ended in a panic.
    pub fn of_panic(scenario: &Scenario, seed: u64, verdicts: &Verdicts) -> Self {
        Self {
            scenario: scenario.name.clone(),
            seed,
            peers: scenario.peers,
            seeds: scenario.seeds,
            violations: verdicts.total,
            first_violations: verdicts.kept.clone(),
            ..Self::default()
        }
    }

    /// The figures that people compare, by name.
    fn figures(&self) -> Vec<(&'static str, f64)> {
        let bytes: u64 = self.bytes.values().sum();
        vec![
            ("deliveries", self.deliveries as f64),
            ("redundancy", self.redundancy),
            ("hops_max", f64::from(self.hops_max)),
            ("last_receiver_ms", self.last_receiver_ms),
            ("latency p50 ms", self.latency_ms.p50),
            ("latency p99 ms", self.latency_ms.p99),
            ("latency p99.9 ms", self.latency_ms.p999),
            ("missed", self.missed as f64),
            ("gaps", self.gaps as f64),
            ("duplicates", self.duplicates as f64),
            ("violations", self.violations as f64),
            ("bytes", bytes as f64),
            ("inputs", self.inputs as f64),
            ("wall_s", self.wall_s),
        ]
    }

    /// A table of both reports' figures and how much the second differs.
    pub fn compare(&self, other: &Self) -> String {
        let mut table = format!(
            "{:<18} {:>14} {:>14} {:>9}\n",
            "",
            format!("{}/{}", self.scenario, self.seed),
            format!("{}/{}", other.scenario, other.seed),
            "change"
        );
        for ((name, old), (_, new)) in self.figures().into_iter().zip(other.figures()) {
            let change = match old {
                0.0 if new == 0.0 => "=".to_owned(),
                0.0 => "new".to_owned(),
                _ => format!("{:+.1}%", (new / old - 1.0) * 100.0),
            };
            writeln!(table, "{name:<18} {old:>14.3} {new:>14.3} {change:>9}")
                .expect("a string can be written to");
        }
        if self.trace_hash == other.trace_hash {
            table.push_str("the traces are the same\n");
        }
        table
    }
}

impl Report {
    /// Lines on trees and on other ways to run the same.
    fn beside(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  {} grafts, {} prunes, {} repairs, {:.4}% of {} due delivered, whole after {:?} ms",
            self.grafts,
            self.prunes,
            self.repairs,
            self.delivered_share * 100.0,
            self.expected,
            self.whole_after_ms
        )?;
        let others =
            [("flooding", &self.flood), ("lossless", &self.lossless), ("unslowed", &self.unslowed)];
        for (name, other) in others {
            if let Some(other) = other {
                writeln!(
                    f,
                    "  {name}: last receiver {:.1} ms (x{:.3}), p99 {:.1} ms (x{:.3}), {} hops; \
                     p99 of those never slow {:.1} ms (x{:.3})",
                    other.last_receiver_ms,
                    self.last_receiver_ms / other.last_receiver_ms,
                    other.latency_ms.p99,
                    self.latency_ms.p99 / other.latency_ms.p99,
                    other.hops_max,
                    other.bystanders_ms.p99,
                    self.bystanders_ms.p99 / other.bystanders_ms.p99
                )?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} seed {}: {} seeds, {} peers, {:.0} s in {:.2} s, {} inputs, trace {}",
            self.scenario,
            self.seed,
            self.seeds,
            self.peers,
            self.virtual_s,
            self.wall_s,
            self.inputs,
            self.trace_hash
        )?;
        writeln!(
            f,
            "  {} published ({} refused, {} skipped, {} held back, {} lost), {} deliveries, \
             {} missed, {} gaps, {} duplicates",
            self.published,
            self.refused,
            self.skipped,
            self.held_back,
            self.lost,
            self.deliveries,
            self.missed,
            self.gaps,
            self.duplicates
        )?;
        let Latency { p50, p99, p999, max } = self.latency_ms;
        writeln!(
            f,
            "  latency p50 {p50:.1} p99 {p99:.1} p99.9 {p999:.1} max {max:.1} ms, last receiver \
             {:.1} (at most {:.1}) ms, {} hops, redundancy {:.3}",
            self.last_receiver_ms, self.last_receiver_ms_max, self.hops_max, self.redundancy
        )?;
        self.beside(f)?;
        let Judged { topics_kept, verdicts_of_death, claims, linear, .. } = self.judged;
        let Judged { death_p99_ms, evicted, .. } = self.judged;
        writeln!(
            f,
            "  judged: {topics_kept} x topics kept, {verdicts_of_death} verdicts (p99 after \
             {death_p99_ms:.0} ms, {evicted} on living peers), {claims} claims, \
             {linear} calls in order, tables differed {} ms, p99 of those never slow {:.1} ms",
            self.judged.tables_differed_ms, self.bystanders_ms.p99
        )?;
        let kinds = self.bytes.iter().filter(|(_, bytes)| **bytes > 0);
        let kinds: Vec<String> =
            kinds.map(|(kind, bytes)| format!("{kind} {}", bytes / 1_000)).collect();
        writeln!(f, "  kB received: {}", kinds.join(", "))?;
        let faults = self.faults.list().into_iter().filter(|(_, count)| *count > 0);
        let faults: Vec<String> = faults.map(|(kind, count)| format!("{kind} {count}")).collect();
        if !faults.is_empty() {
            writeln!(f, "  faults: {}", faults.join(", "))?;
        }
        write!(f, "  {} dead nodes reported, ", self.dead_nodes)?;
        writeln!(f, "overlay in {} part(s), {} violations", self.parts, self.violations)?;
        self.first_violations
            .iter()
            .take(PRINTED_MAX)
            .try_for_each(|violation| writeln!(f, "  ! {violation}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_json_and_compare() {
        let one = Report { redundancy: 2.0, trace_hash: "a".into(), ..Report::default() };
        let two = Report { redundancy: 1.0, ..one.clone() };
        let json = serde_json::to_string(&one).expect("written");
        let back: Report = serde_json::from_str(&json).expect("read");
        let table = back.compare(&two);
        assert!(table.contains("-50.0%") && table.contains("traces are the same"), "{table}");
        let value: serde_json::Value = serde_json::from_str(&json).expect("read");
        for key in ["latency_ms", "last_receiver_ms", "hops_max", "missed", "wall_s"] {
            assert!(value.get(key).is_some(), "{key}");
        }
    }

    #[test]
    fn a_violation_is_printed_with_its_place() {
        let mut verdicts = Verdicts::default();
        let at = tidings_proto::Instant::from_millis(1_500);
        verdicts.report("S1 duplicate", at, 7, format_args!("again"));
        let scenario = Scenario::load("smoke").expect("legal");
        let text = Report::of_panic(&scenario, 9, &verdicts).to_string();
        assert!(text.contains("S1 duplicate at 1.500000s on node 7: again"), "{text}");
    }
}
