//! What the run, and everybody else on the machine, uses: read from `/proc`.
//!
//! All files have the formats of `proc(5)`. What cannot be read counts as nothing: a missing
//! figure is no reason to lose a run.

use std::fs;
use std::ops::Sub;

use rustix::process::{Resource, Rlimit};

/// Processor time, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl Cpu {
    pub(crate) fn total(self) -> f64 {
        self.user + self.system
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { user: self.user - before.user, system: self.system - before.system }
    }
}

/// Everything that is read before and after a part of a run; all counters since boot or start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Of this process.
    pub(crate) own: Cpu,
    /// Of the processes that it started.
    pub(crate) others: Cpu,
    /// Loopback, each packet once.
    pub(crate) wire_bytes: u64,
    pub(crate) wire_packets: u64,
    /// TCP segments that were sent again.
    pub(crate) retransmitted: u64,
    /// Datagrams that found the buffer of their socket full.
    pub(crate) datagrams_dropped: u64,
    /// All ticks of the machine's processors, and those that a hypervisor gave to others.
    pub(crate) ticks: (f64, f64),
    /// Processor time of the whole machine that was not idle, in seconds.
    pub(crate) machine_busy: f64,
    /// When this was read.
    pub(crate) at_ns: u64,
}

impl Usage {
    /// As of now; `pids` are the processes that this one started.
    pub(crate) fn read(pids: &[u32]) -> Self {
        let (wire_bytes, wire_packets) = loopback(&text("/proc/net/dev"));
        let others = pids.iter().map(|pid| cpu(&text(&format!("/proc/{pid}/stat"))));
        let (protocols, machine) = (text("/proc/net/snmp"), text("/proc/stat"));
        Self {
            own: cpu(&text("/proc/self/stat")),
            others: others.fold(Cpu::default(), |sum, one| Cpu {
                user: sum.user + one.user,
                system: sum.system + one.system,
            }),
            wire_bytes,
            wire_packets,
            retransmitted: snmp(&protocols, "Tcp:", "RetransSegs"),
            datagrams_dropped: snmp(&protocols, "Udp:", "RcvbufErrors"),
            ticks: ticks(&machine),
            machine_busy: machine_busy(&machine),
            at_ns: crate::payload::now_ns(),
        }
    }

    /// Seconds since `before`, never 0.
    pub(crate) fn seconds_since(&self, before: &Self) -> f64 {
        (self.at_ns.saturating_sub(before.at_ns) as f64 / 1e9).max(1e-6)
    }

    /// Processor seconds of the run since `before`.
    pub(crate) fn cpu_since(&self, before: &Self) -> Cpu {
        let (own, others) = (self.own - before.own, self.others - before.others);
        Cpu { user: own.user + others.user, system: own.system + others.system }
    }

    /// Processor seconds of the processes that this one started, since `before`.
    pub(crate) fn others_since(&self, before: &Self) -> f64 {
        (self.others - before.others).total()
    }

    /// What a hypervisor gave to others since `before`, in per cent of all processors.
    pub(crate) fn steal_pct_since(&self, before: &Self) -> f64 {
        let (all, stolen) = (self.ticks.0 - before.ticks.0, self.ticks.1 - before.ticks.1);
        stolen / all.max(1.0) * 100.0
    }

    /// What others used of the machine since `before`, in per cent of one core. Includes what the
    /// kernel did for the run without charging it.
    pub(crate) fn foreign_pct_since(&self, before: &Self) -> f64 {
        let busy = self.machine_busy - before.machine_busy - self.cpu_since(before).total();
        busy.max(0.0) / self.seconds_since(before) * 100.0
    }
}

/// Memory of this process and of others, in KiB: now, and at most so far.
pub(crate) fn memory_kib(pids: &[u32]) -> (u64, u64) {
    let (own, others) = (status_kib("self"), others_kib(pids));
    (own.0 + others.0, own.1 + others.1)
}

/// Memory of others, in KiB: now, and at most so far.
pub(crate) fn others_kib(pids: &[u32]) -> (u64, u64) {
    let each = pids.iter().map(|pid| status_kib(&pid.to_string()));
    each.fold((0, 0), |(now, peak), one| (now + one.0, peak + one.1))
}

fn status_kib(process: &str) -> (u64, u64) {
    let status = text(&format!("/proc/{process}/status"));
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.split_ascii_whitespace().next());
        number.and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// The load average over a minute.
pub(crate) fn load() -> f64 {
    let text = text("/proc/loadavg");
    text.split_ascii_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

/// As many open files as this process may have: N peers have up to 12 N connections.
pub(crate) fn raise_file_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // A run that needs more fails with a message of its own.
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// Of a process' `stat`: the fields 14 and 15.
fn cpu(stat: &str) -> Cpu {
    let Some((_, fields)) = stat.rsplit_once(')') else { return Cpu::default() };
    let mut ticks = fields.split_ascii_whitespace().skip(11).map(|field| field.parse::<f64>());
    let mut next = || ticks.next().and_then(Result::ok).unwrap_or(0.0) / ticks_per_second();
    Cpu { user: next(), system: next() }
}

/// Received bytes and packets, which on loopback are also those that were sent.
fn loopback(dev: &str) -> (u64, u64) {
    let line = dev.lines().find_map(|line| line.trim_ascii().strip_prefix("lo:"));
    let mut fields = line.unwrap_or("").split_ascii_whitespace().map(str::parse);
    let mut next = || fields.next().and_then(Result::ok).unwrap_or(0);
    (next(), next())
}

/// A table of two lines per protocol: names, then values.
fn snmp(snmp: &str, protocol: &str, field: &str) -> u64 {
    let mut lines = snmp.lines().filter(|line| line.starts_with(protocol));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return 0 };
    let mut fields = names.split_ascii_whitespace().zip(values.split_ascii_whitespace());
    let value = fields.find(|(name, _)| *name == field).map(|(_, value)| value);
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// All, and stolen ones: the eighth. The ninth and tenth are counted in the first two already.
fn ticks(stat: &str) -> (f64, f64) {
    let line = stat.lines().next().unwrap_or("");
    let fields = line.split_ascii_whitespace().skip(1).map(|field| field.parse().unwrap_or(0.0));
    let fields: Vec<f64> = fields.take(8).collect();
    (fields.iter().sum(), fields.get(7).copied().unwrap_or(0.0))
}

/// All but idle, waiting for disks, and what a hypervisor took.
fn machine_busy(stat: &str) -> f64 {
    let line = stat.lines().next().unwrap_or("");
    let fields = line.split_ascii_whitespace().skip(1).map(|field| field.parse().unwrap_or(0.0));
    let busy = fields.take(7).enumerate().filter(|(at, _)| !matches!(at, 3 | 4));
    busy.map(|(_, ticks): (usize, f64)| ticks).sum::<f64>() / ticks_per_second()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formats_of_proc_are_read() {
        let hz = ticks_per_second();
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 200 100 0 0";
        assert_eq!(cpu(stat), Cpu { user: 200.0 / hz, system: 100.0 / hz });
        let dev = "Inter-|\n eth0: 1 2 3\n    lo: 1000 10 0 0 0 0 0 0 1000 10\n";
        assert_eq!(loopback(dev), (1_000, 10));
        let tables = "Ip: A\nIp: 1\nTcp: A RetransSegs B\nTcp: 1 42 3\n";
        assert_eq!(snmp(tables, "Tcp:", "RetransSegs"), 42);
        assert_eq!(snmp(tables, "Udp:", "RcvbufErrors"), 0);
        let stat = "cpu 1 2 3 1000 2000 4 5 9 7\n";
        assert_eq!(machine_busy(stat) * hz, 15.0);
        assert_eq!(ticks(stat), (3_024.0, 9.0));
        assert_eq!((cpu(""), loopback(""), ticks("")), (Cpu::default(), (0, 0), (0.0, 0.0)));
    }

    #[test]
    fn this_process_uses_something() {
        let (now, peak) = memory_kib(&[]);
        assert!(now > 0 && peak >= now);
        assert!(Usage::read(&[]).machine_busy > 0.0);
    }
}
