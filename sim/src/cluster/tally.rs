//! What is measured while a run goes on.

use hdrhistogram::Histogram;
use tidings_proto::Instant;
use tidings_proto::wire::frame::Frame;

use crate::wire::{self, KINDS};

/// Three significant digits: 0.1% of error, 200 kB.
const DIGITS: u8 = 3;
/// An hour: longer than any run that measures latency.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// Counters and histograms.
#[derive(Debug)]
pub(super) struct Tally {
    /// Redundancy, hops and latency count what happens from here on.
    from: Instant,
    /// And until here.
    until: Instant,
    /// From the command to publish to the delivery elsewhere, in microseconds, at peers that
    /// were subscribed before.
    pub(super) latency_us: Histogram<u64>,
    /// The same among nodes that are never slow.
    pub(super) bystanders_us: Histogram<u64>,
    /// First receipts by number of hops.
    pub(super) hops: Box<[u64; 256]>,
    /// Batches received by peers, and those received for the first time.
    pub(super) batches: [u64; 2],
    /// Bytes received by kind of frame.
    pub(super) bytes: [u64; KINDS.len()],
    /// Frames received by kind.
    pub(super) frames: [u64; KINDS.len()],
    /// Messages handed to applications.
    pub(super) delivered: u64,
    /// Publications that were refused.
    pub(super) refused: u64,
    /// Publications whose publisher was not running.
    pub(super) skipped: u64,
    /// Publications that were not made because the publisher was to wait.
    pub(super) held_back: u64,
    /// `Dead Node` lines.
    pub(super) dead_nodes: u64,
    /// Suspicions withdrawn.
    pub(super) refuted: u64,
    /// Peers that came back after having been declared dead.
    pub(super) returned: u64,
    /// Deaths declared, as seen by seeds.
    pub(super) declared_dead: u64,
    pub(super) forgotten: u64,
    pub(super) not_forgotten: u64,
    /// Holes filled by pulling.
    pub(super) repaired: u64,
    /// Links refused or closed for a violation.
    pub(super) links_refused: u64,
}

impl Tally {
    /// Nothing is measured before `from`, or from `until` on.
    pub(super) fn new([from, until]: [Instant; 2]) -> Self {
        let latency_us =
            Histogram::new_with_bounds(1, LATENCY_US_MAX, DIGITS).expect("the bounds are legal");
        Self {
            from,
            until,
            bystanders_us: latency_us.clone(),
            latency_us,
            hops: Box::new([0; 256]),
            batches: [0; 2],
            bytes: [0; KINDS.len()],
            frames: [0; KINDS.len()],
            delivered: 0,
            refused: 0,
            skipped: 0,
            held_back: 0,
            dead_nodes: 0,
            refuted: 0,
            returned: 0,
            declared_dead: 0,
            forgotten: 0,
            not_forgotten: 0,
            repaired: 0,
            links_refused: 0,
        }
    }

    /// Whether what happens or is published at this time is measured.
    pub(super) fn covers(&self, at: Instant) -> bool {
        (self.from..self.until).contains(&at)
    }

    /// A frame reached a node.
    pub(super) fn frame(&mut self, now: Instant, frame: &Frame, bytes: u32) {
        let kind = wire::kind(frame) as usize;
        self.bytes[kind] += u64::from(bytes);
        self.frames[kind] += 1;
        if let Frame::Batch(frame) = frame
            && self.covers(now)
            && !frame.batch.header().topic.is_internal()
        {
            self.batches[0] += 1;
        }
    }

    /// A peer received a batch for the first time.
    pub(super) fn first_receipt(&mut self, now: Instant, hop: u8) {
        if self.covers(now) {
            self.batches[1] += 1;
            self.hops[usize::from(hop)] += 1;
        }
    }

    /// The most hops that a batch took to a peer.
    pub(super) fn hops_max(&self) -> u8 {
        let last = self.hops.iter().rposition(|count| *count > 0).unwrap_or(0);
        u8::try_from(last).expect("256 entries")
    }

    /// Batches received for each one that was new, less one.
    pub(super) fn redundancy(&self) -> f64 {
        let [all, first] = self.batches;
        if first == 0 { 0.0 } else { all as f64 / first as f64 - 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redundancy_counts_what_was_received_again() {
        let mut tally = Tally::new([Instant::from_millis(5), Instant::FAR_FUTURE]);
        tally.batches = [25, 20];
        assert!((tally.redundancy() - 0.25).abs() < 1e-9);
        tally.first_receipt(Instant::from_millis(6), 9);
        tally.first_receipt(Instant::from_millis(4), 12);
        assert_eq!(tally.hops_max(), 9);
        tally.frame(Instant::from_millis(6), &Frame::Ping(1), 6);
        assert_eq!((tally.bytes[2], tally.frames[2]), (6, 1));
    }
}
