//! Who has received what: counted by one [`Sink`] per peer, summed in a [`Tally`].

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use tokio::sync::Notify;

use crate::payload::{Header, Phase, now_ns};
use crate::window::{Seen, Window};

/// Probes of one run; 50 ms apart these are minutes.
pub(crate) const PROBES_MAX: usize = 4_096;
/// Latencies that a sink holds back.
const HELD_MAX: usize = 64;
/// Histograms: with one, receivers on different threads would wait for each other.
const SHARDS: usize = 4;

/// What all receivers of a run have received.
#[derive(Debug)]
pub(crate) struct Tally {
    latencies: Vec<Mutex<Histogram<u64>>>,
    nodes: Vec<NodeTally>,
    probes: Vec<Probe>,
    delivered: AtomicU64,
    payload_bytes: AtomicU64,
    last_ns: AtomicU64,
    warm: AtomicU64,
    /// Whoever waits is woken at so many deliveries.
    wake_at: AtomicU64,
    progress: Notify,
}

#[derive(Debug, Default)]
struct Probe {
    reached: AtomicU32,
    last_ns: AtomicU64,
}

/// What one peer has received of the measured part.
#[derive(Debug, Default)]
struct NodeTally {
    delivered: AtomicU64,
    duplicates: AtomicU64,
    too_old: AtomicU64,
    bad: AtomicU64,
    out_of_order: AtomicU64,
    gaps: AtomicU64,
}

/// Sums and extremes over all peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// First receptions.
    pub(crate) delivered: u64,
    /// Messages that the application got again, in any phase.
    pub(crate) duplicates: u64,
    /// Messages so far behind the newest that nobody knows whether they came before.
    pub(crate) too_old: u64,
    /// Bodies that are not the benchmark's.
    pub(crate) bad: u64,
    /// Messages after a later one.
    pub(crate) out_of_order: u64,
    /// Messages that were reported as missing, in any phase.
    pub(crate) gaps: u64,
    /// What the worst-served peer got.
    pub(crate) node_min: u64,
    /// What the best-served peer got.
    pub(crate) node_max: u64,
}

impl Tally {
    /// For so many peers.
    pub(crate) fn new(nodes: usize) -> anyhow::Result<Arc<Self>> {
        // 1 us to 300 s in nanoseconds, with three digits.
        let histogram = Histogram::new_with_bounds(1_000, 300_000_000_000, 3)?;
        Ok(Arc::new(Self {
            latencies: (0..SHARDS).map(|_| Mutex::new(histogram.clone())).collect(),
            nodes: (0..nodes).map(|_| NodeTally::default()).collect(),
            probes: (0..PROBES_MAX).map(|_| Probe::default()).collect(),
            delivered: AtomicU64::new(0),
            payload_bytes: AtomicU64::new(0),
            last_ns: AtomicU64::new(0),
            warm: AtomicU64::new(0),
            wake_at: AtomicU64::new(u64::MAX),
            progress: Notify::new(),
        }))
    }

    /// First receptions of measured messages, over all peers.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Acquire)
    }

    /// The bytes of these.
    pub(crate) fn payload_bytes(&self) -> u64 {
        self.payload_bytes.load(Ordering::Relaxed)
    }

    /// When the latest of these came.
    pub(crate) fn last_ns(&self) -> u64 {
        self.last_ns.load(Ordering::Relaxed)
    }

    /// First receptions of the warm-up, over all peers.
    pub(crate) fn warm(&self) -> u64 {
        self.warm.load(Ordering::Relaxed)
    }

    /// How many peers have received a probe, and when the latest of them did.
    pub(crate) fn probe(&self, number: usize) -> (u32, u64) {
        let Some(probe) = self.probes.get(number) else { return (0, 0) };
        (probe.reached.load(Ordering::Acquire), probe.last_ns.load(Ordering::Relaxed))
    }

    /// Waits for the delivery of that number, for at most `most`. One waits at a time.
    pub(crate) async fn wait_delivered(&self, target: u64, most: Duration) {
        self.wake_at.store(target, Ordering::SeqCst);
        if self.delivered() < target {
            // Not in time: the caller looks at the count anyhow.
            let _ = tokio::time::timeout(most, self.progress.notified()).await;
        }
        self.wake_at.store(u64::MAX, Ordering::Relaxed);
    }

    /// Sums over the peers. The `single` publisher receives nothing from others.
    pub(crate) fn totals(&self, single: Option<usize>) -> Totals {
        let of = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        let mut totals = Totals { node_min: u64::MAX, ..Totals::default() };
        for (number, node) in self.nodes.iter().enumerate() {
            if single == Some(number) {
                continue;
            }
            let delivered = of(&node.delivered);
            totals.delivered += delivered;
            totals.duplicates += of(&node.duplicates);
            totals.too_old += of(&node.too_old);
            totals.bad += of(&node.bad);
            totals.out_of_order += of(&node.out_of_order);
            totals.gaps += of(&node.gaps);
            totals.node_min = totals.node_min.min(delivered);
            totals.node_max = totals.node_max.max(delivered);
        }
        totals
    }

    /// All latencies of the measured part, in nanoseconds.
    pub(crate) fn latencies(&self) -> anyhow::Result<Histogram<u64>> {
        let mut all = lock(&self.latencies[0]).clone();
        for shard in &self.latencies[1..] {
            all.add(&*lock(shard)).context("histograms have the same bounds")?;
        }
        Ok(all)
    }
}

/// The receiving end of one peer. It holds back a few counts: [`Self::flush`] them before
/// waiting.
#[derive(Debug)]
pub(crate) struct Sink {
    tally: Arc<Tally>,
    node: usize,
    seen: [Window; Phase::COUNT],
    newest: u64,
    held: Vec<u64>,
    held_bytes: u64,
}

impl Sink {
    /// For the peer of that number.
    pub(crate) fn new(tally: &Arc<Tally>, node: usize) -> Self {
        Self {
            tally: Arc::clone(tally),
            node,
            seen: Default::default(),
            newest: 0,
            held: Vec::with_capacity(HELD_MAX),
            held_bytes: 0,
        }
    }

    /// Counts a message.
    pub(crate) fn take(&mut self, body: &[u8]) {
        let mine = &self.tally.nodes[self.node];
        let Some(header) = Header::read(body) else {
            mine.bad.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if usize::from(header.publisher) == self.node {
            // A subscribed publisher receives its own, which is no delivery to another peer.
            return;
        }
        let counter = match self.seen[header.phase as usize].insert(header.number) {
            Seen::New => None,
            Seen::Again => Some(&mine.duplicates),
            Seen::TooOld => Some(&mine.too_old),
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
            return;
        }
        match header.phase {
            Phase::Probe => self.probe(header.number),
            Phase::WarmUp => {
                self.tally.warm.fetch_add(1, Ordering::Relaxed);
            }
            Phase::Measured => self.measured(header, body.len()),
        }
    }

    /// Counts messages that were reported as missing.
    pub(crate) fn gap(&self, messages: u64) {
        self.tally.nodes[self.node].gaps.fetch_add(messages, Ordering::Relaxed);
    }

    /// Tells the tally what was held back.
    pub(crate) fn flush(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let count = self.held.len() as u64;
        let tally = &self.tally;
        {
            let mut latencies = lock(&tally.latencies[self.node % SHARDS]);
            self.held.drain(..).for_each(|latency| latencies.saturating_record(latency));
        }
        tally.nodes[self.node].delivered.fetch_add(count, Ordering::Release);
        tally.payload_bytes.fetch_add(std::mem::take(&mut self.held_bytes), Ordering::Relaxed);
        tally.last_ns.fetch_max(now_ns(), Ordering::Relaxed);
        let delivered = tally.delivered.fetch_add(count, Ordering::Release) + count;
        if delivered >= tally.wake_at.load(Ordering::SeqCst) {
            tally.wake_at.store(u64::MAX, Ordering::Relaxed);
            tally.progress.notify_one();
        }
    }

    fn probe(&self, number: u64) {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(probe) = self.tally.probes.get(number) {
            probe.last_ns.fetch_max(now_ns(), Ordering::Relaxed);
            probe.reached.fetch_add(1, Ordering::Release);
        }
    }

    fn measured(&mut self, header: Header, size: usize) {
        if header.number < self.newest {
            self.tally.nodes[self.node].out_of_order.fetch_add(1, Ordering::Relaxed);
        }
        self.newest = self.newest.max(header.number);
        self.held.push(now_ns().saturating_sub(header.sent_ns));
        self.held_bytes += size as u64;
        if self.held.len() == HELD_MAX {
            self.flush();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A histogram cannot be half changed in a way that matters more than ending the run would.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Maker;

    #[test]
    fn first_copies_for_others_are_counted() {
        let tally = Tally::new(2).expect("bounds");
        let mut sink = Sink::new(&tally, 1);
        let mut maker = Maker::new(40, 1);
        let message = maker.make(Phase::Measured, 0, 1);
        sink.take(&message);
        sink.take(&message);
        sink.take(&maker.make(Phase::Measured, 1, 2));
        sink.take(&maker.make(Phase::Measured, 0, 0));
        sink.take(b"not ours");
        sink.take(&maker.make(Phase::Probe, 0, 3));
        sink.take(&maker.make(Phase::WarmUp, 0, 3));
        assert_eq!(tally.delivered(), 0, "held back");
        sink.flush();
        let totals = tally.totals(None);
        let expected = Totals {
            delivered: 2,
            duplicates: 1,
            too_old: 0,
            bad: 1,
            out_of_order: 1,
            gaps: 0,
            node_min: 0,
            node_max: 2,
        };
        assert_eq!(totals, expected);
        assert_eq!((tally.payload_bytes(), tally.warm(), tally.probe(3).0), (80, 1, 1));
        assert_eq!(tally.latencies().expect("same bounds").len(), 2);
    }

    #[tokio::test]
    async fn progress_wakes_who_waits() {
        let tally = Tally::new(2).expect("bounds");
        let mut sink = Sink::new(&tally, 1);
        sink.take(&Maker::new(40, 1).make(Phase::Measured, 0, 0));
        let waiting = tally.wait_delivered(1, Duration::from_secs(30));
        let counting = async { sink.flush() };
        tokio::join!(waiting, counting);
        assert_eq!(tally.delivered(), 1);
    }
}
