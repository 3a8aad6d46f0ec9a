//! What came of it, in figures.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Happened;
use super::client::{Board, lock};

/// Between two acknowledged writes of anybody at most this passes, 99 times of 100.
const GAP_TARGET: Duration = Duration::from_millis(100);
/// Of each kind so many are shown.
const SHOWN: usize = 10;

/// A call that failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// When it began, from the start.
    pub at: Duration,
    /// How long it took.
    pub took: Duration,
    /// The place of the peer.
    pub peer: usize,
    /// What was asked.
    pub request: String,
    /// What came of it.
    pub why: String,
}

/// Percentiles of durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Half are no longer.
    pub p50: Duration,
    /// 99 of 100 are no longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

impl Spread {
    /// Of these.
    pub fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        let at = |percent: usize| {
            let place = durations.len() * percent / 100;
            durations.get(place.min(durations.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        Self { p50: at(50), p99: at(99), max: at(100) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(
            f,
            "p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            ms(self.p50),
            ms(self.p99),
            ms(self.max)
        )
    }
}

/// How it went.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// From the start of the applications to their end.
    pub took: Duration,
    /// Calls that succeeded.
    pub calls: usize,
    /// How long they took.
    pub call_times: Spread,
    /// Calls that failed.
    pub failed: Vec<Failed>,
    /// Calls that were refused while no majority of the seeds ran.
    pub refused: u64,
    /// Writes that were acknowledged: topics created and deleted, subscriptions.
    pub writes: usize,
    /// How long they took.
    pub write_times: Spread,
    /// The time between two acknowledged writes of anybody.
    pub gaps: Spread,
    /// The longest of them, and when each began.
    pub longest: Vec<(Duration, Duration)>,
    /// What was done to the seeds.
    pub happened: Vec<Happened>,
    /// Records that were read back, each from every seed.
    pub records: usize,
    /// Acknowledged records that some seed did not show at last.
    pub missing: Vec<String>,
    /// Messages published on the topic of all, each received by every peer.
    pub published: u64,
    /// Of those, receipts that are missing or too many.
    pub undelivered: u64,
    /// How many calls on contested topics and names have their place in an order that explains all
    /// of them,
    /// and on how many topics; or why there is none.
    pub linearizable: Result<(usize, usize), String>,
}

/// Takes the figures together.
pub(super) fn judge(
    board: &Board,
    took: Duration,
    happened: Vec<Happened>,
    missing: Vec<String>,
    undelivered: u64,
) -> Verdict {
    let calls = lock(&board.calls).clone();
    let mut writes = lock(&board.writes).clone();
    writes.sort_unstable();
    let mut longest: Vec<_> = writes
        .windows(2)
        .map(|pair| (pair[1] - pair[0], pair[0].duration_since(board.start())))
        .collect();
    let gaps = Spread::of(longest.iter().map(|(gap, _)| *gap).collect());
    longest.sort_unstable();
    longest.reverse();
    longest.truncate(5);
    let expected = board.expected();
    let subscriptions: usize = expected.values().map(|promise| promise.subscribers.len()).sum();
    Verdict {
        took,
        calls: calls.len(),
        call_times: Spread::of(calls),
        failed: lock(&board.failed).clone(),
        refused: board.refused.load(Ordering::SeqCst),
        writes: writes.len(),
        write_times: Spread::of(lock(&board.write_times).clone()),
        gaps,
        longest,
        happened,
        records: expected.len() + subscriptions,
        missing,
        published: board.published(),
        undelivered,
        linearizable: board.contest.check(),
    }
}

impl Verdict {
    /// Whether no call failed, nothing that was acknowledged is lost, everything published was
    /// received, what was seen of contested topics and names is linearizable, and every seed came
    /// back.
    pub fn is_good(&self) -> bool {
        let back = self.happened.iter().all(|fault| fault.noticed && fault.back.is_some());
        let worked = self.calls > 0 && self.writes > 0 && !self.happened.is_empty();
        let lost = !self.missing.is_empty() || self.undelivered > 0;
        let in_order = self.linearizable.as_ref().is_ok_and(|(calls, _)| *calls > 0);
        worked && back && !lost && in_order && self.failed.is_empty()
    }
}

impl Verdict {
    /// How often each kind of fault was inflicted, and on how many seeds in all.
    fn kinds(&self) -> BTreeMap<String, [usize; 2]> {
        let mut kinds = BTreeMap::new();
        for fault in &self.happened {
            let [times, seeds] = kinds.entry(format!("{:?}", fault.fault)).or_insert([0; 2]);
            *times += 1;
            *seeds += fault.seeds.len();
        }
        kinds
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        writeln!(f, "{:.0} s, {} faults", seconds, self.happened.len())?;
        for (fault, [times, seeds]) in self.kinds() {
            writeln!(f, "    {fault:<12} {times} times, of {seeds} seeds in all")?;
        }
        writeln!(f, "client calls     {} done, {} failed", self.calls, self.failed.len())?;
        if self.refused > 0 {
            writeln!(f, "refused          {} while no majority of the seeds ran", self.refused)?;
        }
        writeln!(f, "call times       {}", self.call_times)?;
        let late = if self.gaps.p99 > GAP_TARGET { " (MISSED)" } else { "" };
        let per_second = self.writes as f64 / seconds;
        writeln!(f, "writes           {} acknowledged, {per_second:.0}/s", self.writes)?;
        writeln!(f, "write times      {}", self.write_times)?;
        let target = GAP_TARGET.as_millis();
        writeln!(f, "write gap        {}; target p99 {target} ms{late}", self.gaps)?;
        for (gap, at) in &self.longest {
            let (gap, at) = (gap.as_millis(), at.as_secs_f64());
            writeln!(f, "                 {gap} ms from {at:.2} s on")?;
        }
        let missing = self.missing.len();
        writeln!(f, "records          {} read back, {missing} missing", self.records)?;
        let receipts = self.undelivered;
        writeln!(f, "messages         {} to all, {receipts} receipts missing", self.published)?;
        match &self.linearizable {
            Ok((calls, topics)) => {
                let what = "contested topics and names";
                writeln!(f, "linearizable     {calls} calls on {topics} {what}")?;
            }
            Err(why) => writeln!(f, "NOT LINEARIZABLE {why}")?,
        }
        for failed in self.failed.iter().take(SHOWN) {
            let Failed { at, took, peer, request, why } = failed;
            let (at, took) = (at.as_secs_f64(), took.as_millis());
            writeln!(f, "FAILED at {at:.2} s, peer {peer}, {took} ms: {request}: {why}")?;
        }
        for missing in self.missing.iter().take(SHOWN) {
            writeln!(f, "MISSING {missing}")?;
        }
        for fault in self.happened.iter().filter(|fault| fault.back.is_none()) {
            writeln!(f, "NOT BACK {:?} of {:?}", fault.fault, fault.seeds)?;
        }
        for fault in self.happened.iter().filter(|fault| !fault.noticed) {
            writeln!(f, "NOT NOTICED {:?} of {:?}", fault.fault, fault.seeds)?;
        }
        write!(f, "{}", if self.is_good() { "OK" } else { "FAILED" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_names_the_middle_and_the_end() {
        let spread = Spread::of((1..=100).map(Duration::from_millis).collect());
        let ms = Duration::from_millis;
        assert_eq!(spread, Spread { p50: ms(51), p99: ms(100), max: ms(100) });
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }
}
