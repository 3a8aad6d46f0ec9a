//! The fields of a result. Names and meanings are those of the comparison harness of the
//! project's research, so that lines of both stand in one table.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::plan::Plan;
use crate::run::pace;
use crate::run::start::Ready;
use crate::tally::Tally;
use crate::usage::{Usage, memory_kib, others_kib};

/// How the start went.
#[derive(Debug, Serialize)]
pub(crate) struct Startup {
    /// From the first bind until everybody has subscribed.
    up_ms: f64,
    /// From the first bind until a probe had reached all others.
    ready_ms: f64,
    ready_probe: usize,
    probes: usize,
}

impl Startup {
    pub(crate) fn new((origin_ns, up_ns): (u64, u64), ready: &Ready) -> Self {
        let ms = |at_ns: u64| round(at_ns.saturating_sub(origin_ns) as f64 / 1e6, 1);
        Self {
            up_ms: ms(up_ns),
            ready_ms: ms(ready.at_ns),
            ready_probe: ready.probe,
            probes: ready.sent,
        }
    }
}

/// What the start used.
#[derive(Debug, Serialize)]
pub(crate) struct StartCost {
    cpu_start_s: f64,
    foreign_cpu_pct: f64,
}

impl StartCost {
    pub(crate) fn new(before: &Usage, after: &Usage) -> Self {
        Self {
            cpu_start_s: round(after.cpu_since(before).total(), 3),
            foreign_cpu_pct: round(after.foreign_pct_since(before), 1),
        }
    }
}

/// What the overlay uses with nothing to carry.
#[derive(Debug, Serialize)]
pub(crate) struct Idle {
    idle_bytes_per_s_node: f64,
    idle_packets_per_s_node: f64,
    idle_cpu_pct: f64,
    #[serde(skip)]
    bytes_per_s: f64,
    #[serde(skip)]
    packets_per_s: f64,
    #[serde(skip)]
    cpu: f64,
}

impl Idle {
    pub(crate) fn new(n: usize, before: &Usage, after: &Usage) -> Self {
        let seconds = after.seconds_since(before);
        let bytes_per_s = (after.wire_bytes - before.wire_bytes) as f64 / seconds;
        let packets_per_s = (after.wire_packets - before.wire_packets) as f64 / seconds;
        let cpu = after.cpu_since(before).total() / seconds;
        Self {
            idle_bytes_per_s_node: round(bytes_per_s / n as f64, 1),
            idle_packets_per_s_node: round(packets_per_s / n as f64, 2),
            idle_cpu_pct: round(cpu * 100.0, 2),
            bytes_per_s,
            packets_per_s,
            cpu,
        }
    }

    /// Of all peers.
    pub(crate) fn bytes_per_s(&self) -> f64 {
        self.bytes_per_s
    }

    /// In cores.
    pub(crate) fn cpu(&self) -> f64 {
        self.cpu
    }
}

/// Memory at the start, to be taken off.
#[derive(Debug)]
pub(crate) struct Memory {
    n: usize,
    before_kib: u64,
}

/// Memory of the idle overlay.
#[derive(Debug, Serialize)]
pub(crate) struct IdleMemory {
    rss_idle_kib: u64,
    rss_idle_kib_per_node: f64,
}

/// Memory at the end, and at most.
#[derive(Debug, Serialize)]
pub(crate) struct EndMemory {
    rss_end_kib: u64,
    rss_end_kib_per_node: f64,
    rss_peak_kib: u64,
    rss_peak_kib_per_node: f64,
    rss_peak_others_kib: u64,
}

impl Memory {
    /// As of now, before anything is started.
    pub(crate) fn before(n: usize) -> Self {
        Self { n, before_kib: memory_kib(&[]).0 }
    }

    pub(crate) fn when_idle(&self, pids: &[u32]) -> IdleMemory {
        let (now, _) = memory_kib(pids);
        IdleMemory { rss_idle_kib: now, rss_idle_kib_per_node: self.per_node(now) }
    }

    pub(crate) fn at_end(&self, pids: &[u32]) -> EndMemory {
        let (now, peak) = memory_kib(pids);
        EndMemory {
            rss_end_kib: now,
            rss_end_kib_per_node: self.per_node(now),
            rss_peak_kib: peak,
            rss_peak_kib_per_node: self.per_node(peak),
            rss_peak_others_kib: others_kib(pids).1,
        }
    }

    fn per_node(&self, kib: u64) -> f64 {
        round(kib.saturating_sub(self.before_kib) as f64 / self.n as f64, 1)
    }
}

/// What the result of the measured part is computed from.
#[derive(Debug)]
pub(crate) struct Measured<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) idle: &'a Idle,
    pub(crate) begin: Usage,
    /// At the last arrival.
    pub(crate) end: Usage,
    /// When publishing ended.
    pub(crate) sent_ns: u64,
    /// Deliveries until then.
    pub(crate) in_window: u64,
    pub(crate) load: pace::Load,
    pub(crate) accepted: u64,
    /// Publications that were refused as too many, and for other reasons.
    pub(crate) busy: u64,
    pub(crate) errors: u64,
    /// The peers' own counters over the measured part.
    pub(crate) counters: &'a BTreeMap<String, f64>,
}

/// The result of the measured part.
#[derive(Debug, Serialize)]
pub(crate) struct Load {
    offered: u64,
    accepted: u64,
    busy: u64,
    pub_errors: u64,
    queue_shed: u64,
    worst_late_ms: f64,
    stalls: u64,
    delivered: u64,
    expected: u64,
    ratio: f64,
    ratio_in_window: f64,
    app_dups: u64,
    too_old: u64,
    bad: u64,
    out_of_order: u64,
    gap_messages: u64,
    min_node: u64,
    max_node: u64,
    span_s: f64,
    send_s: f64,
    msgs_per_s: f64,
    deliveries_per_s: f64,
    payload_mb_per_s: f64,
    lat_us: Latency,
    /// Latencies, and which part of the messages took longer.
    lat_slower_us: Vec<(f64, f64)>,
    #[serde(flatten)]
    cost: Cost,
}

/// Percentiles, in microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
    mean: f64,
}

/// What the measured part used.
#[derive(Debug, Serialize)]
struct Cost {
    cpu_user_s: f64,
    cpu_sys_s: f64,
    cpu_others_s: f64,
    cpu_pct: f64,
    cpu_s_per_m: f64,
    cpu_s_per_m_net: f64,
    wire_bytes: u64,
    wire_per_payload_byte: f64,
    wire_bytes_per_delivery: f64,
    packets_per_delivery: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_per_payload_byte: Option<f64>,
    copies_per_delivery: f64,
    tcp_retrans: u64,
    udp_rcvbuf_errors: u64,
    steal_pct: f64,
    foreign_cpu_pct: f64,
}

impl Load {
    pub(crate) fn new(measured: &Measured<'_>, tally: &Tally) -> anyhow::Result<Self> {
        let Measured { plan, begin, load, .. } = measured;
        let totals = tally.totals(plan.single());
        let latencies = tally.latencies()?;
        let expected = load.offered * (plan.n as u64 - 1);
        let last_ns = tally.last_ns().max(begin.at_ns + 1);
        let span = (last_ns - begin.at_ns) as f64 / 1e9;
        let sending = (measured.sent_ns.max(begin.at_ns + 1) - begin.at_ns) as f64 / 1e9;
        Ok(Self {
            offered: load.offered,
            accepted: measured.accepted,
            busy: measured.busy,
            pub_errors: measured.errors,
            queue_shed: load.shed,
            worst_late_ms: round(load.worst_late_ns as f64 / 1e6, 2),
            stalls: load.stalls,
            delivered: totals.delivered,
            expected,
            ratio: ratio(totals.delivered, expected),
            ratio_in_window: ratio(measured.in_window, expected),
            app_dups: totals.duplicates,
            too_old: totals.too_old,
            bad: totals.bad,
            out_of_order: totals.out_of_order,
            gap_messages: totals.gaps,
            min_node: totals.node_min,
            max_node: totals.node_max,
            span_s: round(span, 3),
            send_s: round(sending, 3),
            msgs_per_s: round(load.offered as f64 / sending, 1),
            deliveries_per_s: round(totals.delivered as f64 / span, 1),
            payload_mb_per_s: round(tally.payload_bytes() as f64 / span / 1e6, 3),
            lat_us: Latency::new(&latencies),
            lat_slower_us: slower(&latencies),
            cost: Cost::new(measured, totals.delivered, tally.payload_bytes()),
        })
    }
}

impl Latency {
    fn new(latencies: &Histogram<u64>) -> Self {
        let us = |ns: u64| round(ns as f64 / 1e3, 1);
        Self {
            p50: us(latencies.value_at_quantile(0.5)),
            p90: us(latencies.value_at_quantile(0.9)),
            p99: us(latencies.value_at_quantile(0.99)),
            p999: us(latencies.value_at_quantile(0.999)),
            max: us(latencies.max()),
            mean: round(latencies.mean() / 1e3, 1),
        }
    }
}

/// The distribution, denser where few messages are: five points per halving of what is slower,
/// down to one of 100,000 or to the last one.
fn slower(latencies: &Histogram<u64>) -> Vec<(f64, f64)> {
    let most = latencies.len().min(100_000) as f64;
    let parts = (0..).map(|step| 2_f64.powf(-f64::from(step) / 5.0));
    let parts = parts.take_while(|part| *part >= 1.0 / most);
    let point = |part: f64| {
        let us = latencies.value_at_quantile(1.0 - part) as f64 / 1e3;
        (round(us, 1), round(part, 6))
    };
    parts.map(point).collect()
}

impl Cost {
    fn new(measured: &Measured<'_>, delivered: u64, payload_bytes: u64) -> Self {
        let Measured { begin, end, idle, counters, .. } = measured;
        let seconds = end.seconds_since(begin);
        let cpu = end.cpu_since(begin);
        let wire_bytes = end.wire_bytes - begin.wire_bytes;
        let wire_net = (wire_bytes as f64 - idle.bytes_per_s * seconds).max(0.0);
        let packets = (end.wire_packets - begin.wire_packets) as f64;
        let packets_net = (packets - idle.packets_per_s * seconds).max(0.0);
        let (deliveries, payload) = (delivered.max(1) as f64, payload_bytes.max(1) as f64);
        let counter = |name: &str| counters.get(name).copied();
        let first = counter("batches_received").unwrap_or(0.0);
        let again = counter("batches_duplicate").unwrap_or(0.0);
        let cpu_net = (cpu.total() - idle.cpu * seconds).max(0.0);
        Self {
            cpu_user_s: round(cpu.user, 3),
            cpu_sys_s: round(cpu.system, 3),
            cpu_others_s: round(end.others_since(begin), 3),
            cpu_pct: round(cpu.total() / seconds * 100.0, 1),
            cpu_s_per_m: round(cpu.total() / deliveries * 1e6, 3),
            cpu_s_per_m_net: round(cpu_net / deliveries * 1e6, 3),
            wire_bytes,
            wire_per_payload_byte: round(wire_net / payload, 3),
            wire_bytes_per_delivery: round(wire_net / deliveries, 1),
            packets_per_delivery: round(packets_net / deliveries, 3),
            link_per_payload_byte: counter("link_bytes_out").map(|sent| round(sent / payload, 3)),
            copies_per_delivery: round((first + again) / first.max(1.0), 3),
            tcp_retrans: end.retransmitted - begin.retransmitted,
            udp_rcvbuf_errors: end.datagrams_dropped - begin.datagrams_dropped,
            steal_pct: round(end.steal_pct_since(begin), 2),
            foreign_cpu_pct: round(end.foreign_pct_since(begin), 1),
        }
    }
}

/// What was counted between two looks.
pub(crate) fn subtract(
    mut after: BTreeMap<String, f64>,
    before: &BTreeMap<String, f64>,
) -> BTreeMap<String, f64> {
    for (name, value) in &mut after {
        *value -= before.get(name).copied().unwrap_or(0.0);
    }
    after
}

/// `part` of `whole`; nothing of nothing is everything.
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { round(part as f64 / whole as f64, 6) }
}

/// To so many decimals: results are read by people.
pub(crate) fn round(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Plan, RunArgs};
    use clap::Parser;
    use serde_json::Value;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        run: RunArgs,
    }

    /// The fields of a line of the comparison harness, but for `config`, which is the system's own
    /// affair, and for `counters` and `wall_s`, which are added elsewhere.
    const HARNESS: &str = "accepted app_dups bad busy copies_per_delivery cpu_others_s cpu_pct \
        cpu_s_per_m cpu_s_per_m_net cpu_sys_s cpu_user_s delivered deliveries_per_s expected \
        foreign_cpu_pct idle_bytes_per_s_node idle_cpu_pct idle_packets_per_s_node lat_us max_node \
        min_node msgs_per_s n offered opts out_of_order packets_per_delivery payload \
        payload_mb_per_s probes pub_errors rate ratio ratio_in_window ready_ms ready_probe rep \
        rss_end_kib rss_end_kib_per_node rss_idle_kib rss_idle_kib_per_node rss_peak_kib \
        rss_peak_kib_per_node rss_peak_others_kib scenario secs seed send_s span_s stalls \
        steal_pct system tcp_retrans too_old udp_rcvbuf_errors up_ms warmup_ratio window \
        wire_bytes wire_bytes_per_delivery wire_per_payload_byte worst_late_ms";

    #[test]
    fn a_line_has_every_field_of_the_comparison_harness() {
        let plan = Plan::new(Command::parse_from(["run", "s2"]).run).expect("a plan");
        let usage = Usage::read(&[]);
        let (idle, memory) = (Idle::new(16, &usage, &usage), Memory::before(16));
        let counters = BTreeMap::new();
        let measured = Measured {
            plan: &plan,
            idle: &idle,
            begin: usage,
            end: usage,
            sent_ns: usage.at_ns,
            in_window: 0,
            load: pace::Load::default(),
            accepted: 0,
            busy: 0,
            errors: 0,
            counters: &counters,
        };
        let tally = Tally::new(16).expect("bounds");
        let load = Load::new(&measured, &tally).expect("the same bounds");
        let startup = Startup::new((0, 1), &Ready { probe: 0, at_ns: 2, sent: 3 });
        let value = |part: serde_json::Result<Value>| part.expect("it is an object");
        let parts = [
            value(serde_json::to_value(&plan)),
            value(serde_json::to_value(startup)),
            value(serde_json::to_value(&idle)),
            value(serde_json::to_value(memory.when_idle(&[]))),
            value(serde_json::to_value(load)),
            value(serde_json::to_value(memory.at_end(&[]))),
            serde_json::json!({"warmup_ratio": 1.0}),
        ];
        let fields = HARNESS.split_ascii_whitespace();
        let missing: Vec<_> =
            fields.filter(|field| parts.iter().all(|part| part.get(field).is_none())).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn the_distribution_ends_with_the_slowest() {
        let mut latencies = Histogram::<u64>::new(3).expect("digits");
        assert!(slower(&latencies).is_empty());
        (1..=1_000).for_each(|us| latencies.record(us * 1_000).expect("in bounds"));
        let points = slower(&latencies);
        assert_eq!(points.first(), Some(&(1.0, 1.0)));
        assert!(points.iter().any(|(us, part)| *part == 0.5 && (us - 500.0).abs() < 1.0));
        let (us, part) = points[points.len() - 1];
        assert!(us > 995.0 && (0.001..0.0012).contains(&part), "{us} {part}");
    }
}
