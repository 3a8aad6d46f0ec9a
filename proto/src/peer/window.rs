//! How much of its own stream a peer has on its way.
//!
//! A publisher goes on while what the overlay has not yet taken in is less than a window. So the
//! batches in all queues and sockets on the way are bounded, and whoever is behind finds what it
//! misses still retained by others. What comes meanwhile gathers, for larger batches.
//!
//! The window is what the way holds: the rate at which the stream is taken in, times the shortest
//! round lately, with some more so that it can grow (as BBR does, Cardwell et al. 2016). Far
//! neighbours need wide windows, and with near ones a wide window only makes queues.

use core::time::Duration;
use std::collections::VecDeque;

use crate::time::Instant;

/// The narrowest window: more than twice what a peer takes in before it tells. Measured with 16
/// and 64 peers in one process: 1.28 and 1.07 M deliveries/s of 1 KiB with it, 0.94 and 0.77 with
/// 4 MiB, which also lost 5% of messages of 16 KiB.
const WINDOW_MIN: usize = 256 << 10;
/// The widest. Half of what a receiver holds back beyond a hole, so that one lost batch costs no
/// other. A stream moves one window in each round: 4 MB/s where a round takes 1 s.
const WINDOW_MAX: usize = 4 << 20;
/// All streams of a topic together have at most one of so many parts of what is retained on their
/// way: most of it remains to those who have fallen behind.
const RETAINED_SHARE: usize = 4;
/// A window is five quarters of what the way was seen to hold, and so much more, since that is less
/// than it does hold by a part of what a peer takes in before it tells. Measured with 64 peers in
/// one process: 5% more deliveries than with six quarters and twice as much: queues are shorter.
const GROWTH_BYTES: usize = 32 << 10;
/// The shortest time is measured again after this, with the narrowest window, and then after twice
/// as long each time, up to the second value, which is that of BBR. At first it is that of the
/// neighbour that happens to be the first to tell.
const PROBE_AFTER_MIN: Duration = Duration::from_secs(1);
const PROBE_AFTER_MAX: Duration = Duration::from_secs(10);
/// When nobody has told anything for so long the publisher goes on: its neighbours are gone, or
/// all of them miss the same batch. A third of the time after which a neighbour is suspect.
const STUCK_AFTER: Duration = Duration::from_secs(1);
/// Batches are counted together up to so many bytes, and for so long, while there are few grains.
const GRAIN_BYTES: usize = 32 << 10;
const GRAIN_TIME: Duration = Duration::from_millis(5);
const GRAINS: usize = 256;

/// The widest window of a stream in a topic of which `retained` bytes are kept, and where so many
/// peers publish.
pub(crate) fn width_max(retained: usize, publishers: usize) -> usize {
    let share = retained / RETAINED_SHARE / publishers.max(1);
    share.clamp(WINDOW_MIN, WINDOW_MAX)
}

/// What is on its way.
#[derive(Debug)]
pub(crate) struct InFlight {
    sent: VecDeque<Grain>,
    /// Bytes on their way, and bytes that were reached before.
    bytes: usize,
    reached: u64,
    /// When it moved last, or was filled.
    moved_at: Instant,
    width: usize,
    width_max: usize,
    /// The round under way: when it began, and the most that the way was seen to hold.
    round: (Instant, usize),
    /// The shortest time from here to the majority and back, and when it was measured.
    shortest: Option<(Duration, Instant)>,
    /// While the shortest time is measured again: the width before, and the time that it was for.
    probing: Option<(usize, Duration)>,
    probe_after: Duration,
}

/// Batches that went out one after the other.
#[derive(Clone, Copy, Debug)]
struct Grain {
    last_seq: u64,
    bytes: usize,
    sent: Instant,
    /// Bytes that had been reached by then.
    reached: u64,
}

impl Default for InFlight {
    fn default() -> Self {
        Self {
            sent: VecDeque::new(),
            bytes: 0,
            reached: 0,
            moved_at: Instant::ZERO,
            width: WINDOW_MIN,
            width_max: WINDOW_MIN,
            round: (Instant::ZERO, 0),
            shortest: None,
            probing: None,
            probe_after: PROBE_AFTER_MIN,
        }
    }
}

impl InFlight {
    /// Messages up to this number go out.
    pub(crate) fn send(&mut self, now: Instant, last_seq: u64, bytes: usize) {
        let was_open = self.is_open();
        self.bytes += bytes;
        if was_open && !self.is_open() {
            self.moved_at = now;
        }
        let few = self.sent.len() < GRAINS;
        match self.sent.back_mut() {
            Some(grain)
                if grain.bytes < GRAIN_BYTES && !(few && now.since(grain.sent) > GRAIN_TIME) =>
            {
                grain.last_seq = last_seq;
                grain.bytes += bytes;
            }
            _ => {
                let reached = self.reached;
                self.sent.push_back(Grain { last_seq, bytes, sent: now, reached });
            }
        }
    }

    /// Most have all up to this number.
    pub(crate) fn reached(&mut self, now: Instant, seq: u64) {
        while let Some(grain) = self.sent.pop_front_if(|grain| grain.last_seq <= seq) {
            self.bytes -= grain.bytes;
            self.reached += grain.bytes as u64;
            self.moved_at = now;
            self.measure(now, &grain);
        }
    }

    /// Messages up to this number went to nobody.
    pub(crate) fn forget(&mut self, seq: u64) {
        while let Some(grain) = self.sent.pop_front_if(|grain| grain.last_seq <= seq) {
            self.bytes -= grain.bytes;
        }
    }

    /// Learns from a grain that was reached what the way holds.
    fn measure(&mut self, now: Instant, grain: &Grain) {
        let took = now.since(grain.sent).max(Duration::from_micros(1));
        let known = self.shortest.filter(|(shortest, _)| *shortest <= took);
        let (shortest, since) = *self.shortest.insert(known.unwrap_or((took, now)));
        let bytes = usize::try_from(self.reached - grain.reached).unwrap_or(usize::MAX);
        let held = scale(bytes, shortest, took);
        let (began, most) = self.round;
        self.round.1 = most.max(held);
        if grain.sent < began {
            return;
        }
        let width = if let Some((width, before)) = self.probing.take() {
            scale(width, shortest, before)
        } else if now.since(since) >= self.probe_after {
            // What is on its way goes first, so that the next ones find the way empty.
            self.probing = Some((self.width, shortest));
            self.shortest = None;
            self.probe_after = (self.probe_after * 2).min(PROBE_AFTER_MAX);
            WINDOW_MIN
        } else {
            self.round.1.saturating_mul(5) / 4 + GROWTH_BYTES
        };
        self.width = width.clamp(WINDOW_MIN, self.width_max);
        self.round = (now, 0);
    }

    /// Nothing is waited for any more when nothing has moved for long. Returns whether that is so.
    pub(crate) fn give_up(&mut self, now: Instant) -> bool {
        let stuck = !self.is_open() && now.since(self.moved_at) >= STUCK_AFTER;
        if stuck {
            self.sent.clear();
            self.bytes = 0;
        }
        stuck
    }

    /// How wide the window may become.
    pub(crate) fn limit(&mut self, width_max: usize) {
        self.width_max = width_max;
        self.width = self.width.min(width_max);
    }

    /// How many bytes more may go out.
    pub(crate) fn room(&self) -> usize {
        self.width.saturating_sub(self.bytes)
    }

    fn is_open(&self) -> bool {
        self.room() > 0
    }

    /// Bytes on their way.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// `bytes` times one duration through another.
fn scale(bytes: usize, times: Duration, through: Duration) -> usize {
    let product = bytes as u128 * times.as_micros() / through.as_micros().max(1);
    usize::try_from(product).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// A publisher that always has more until `end_ms`, on a way that moves `rate` bytes in a
    /// millisecond at most, and takes so long. Returns the widths in which it ended each second,
    /// and the bytes that were moved.
    fn publish(end_ms: u64, way_ms: impl Fn(u64) -> u64, rate: usize) -> (Vec<usize>, usize) {
        const BATCH: usize = 64 << 10;
        let mut flight = InFlight::default();
        flight.limit(WINDOW_MAX);
        let (mut seq, mut moved, mut budget) = (0, 0, 0);
        let (mut way, mut widths) = (VecDeque::new(), Vec::new());
        for ms in 0..end_ms {
            budget = (budget + rate).min(4 * BATCH);
            while budget >= BATCH && way.front().is_some_and(|(due, _)| *due <= ms) {
                let (_, seq) = way.pop_front().expect("is there");
                flight.reached(at(ms), seq);
                budget -= BATCH;
                moved += BATCH;
            }
            while flight.is_open() {
                seq += 1;
                flight.send(at(ms), seq, BATCH);
                way.push_back((ms + way_ms(ms), seq));
            }
            if ms % 1_000 == 999 {
                widths.push(flight.width);
            }
        }
        (widths, moved)
    }

    #[test]
    fn publishers_share_what_is_retained() {
        assert_eq!(width_max(64 << 20, 1), WINDOW_MAX);
        assert_eq!(width_max(64 << 20, 8), 2 << 20);
        assert_eq!(width_max(64 << 20, 1_000), WINDOW_MIN);
        assert_eq!(width_max(4 << 20, 0), 1 << 20);
    }

    #[test]
    fn a_long_way_opens_the_window_and_a_short_one_leaves_it_narrow() {
        let (widths, moved) = publish(30_000, |_| 200, 1 << 20);
        assert_eq!(widths[5], WINDOW_MAX, "{widths:?}");
        assert!(moved > 100 * WINDOW_MAX, "{moved}: of at most 150 windows in as many rounds");
        let (widths, moved) = publish(30_000, |_| 1, 100 << 10);
        assert!(widths.iter().all(|width| *width <= 2 * WINDOW_MIN), "{widths:?}");
        assert!(moved > 29_000 * (100 << 10), "{moved}: all that the way can");
    }

    #[test]
    fn a_way_that_has_changed_is_measured_again() {
        let way_ms = |ms| if (10_000..40_000).contains(&ms) { 200 } else { 2 };
        let (widths, _) = publish(60_000, way_ms, 256 << 10);
        let (before, long, after) = (widths[8], widths[38], widths[58]);
        assert!(before < 2 << 20 && after < 2 << 20 && long == WINDOW_MAX, "{widths:?}");
    }

    #[test]
    fn what_was_reached_is_no_longer_on_its_way() {
        let mut flight = InFlight::default();
        flight.send(at(0), 10, GRAIN_BYTES - 1);
        flight.send(at(0), 11, 1);
        flight.send(at(0), 12, 5);
        assert_eq!((flight.bytes(), flight.sent.len()), (GRAIN_BYTES + 5, 2));
        flight.reached(at(1), 10);
        assert_eq!(flight.bytes(), GRAIN_BYTES + 5, "not all of the grain");
        flight.reached(at(2), 11);
        assert_eq!(flight.bytes(), 5);
        flight.reached(at(2), 99);
        assert_eq!(flight.bytes(), 0);
    }

    #[test]
    fn nobody_is_waited_for_for_ever() {
        const WAITED: Duration = Duration::from_millis(999);
        let mut flight = InFlight::default();
        assert!(!flight.give_up(at(9_000)));
        flight.send(at(9_000), 1, GRAIN_BYTES);
        flight.send(at(9_500), 2, WINDOW_MIN);
        assert!(!flight.give_up(at(9_999)));
        flight.reached(at(9_999), 1);
        assert!(!flight.give_up(at(10_998)));
        assert!(flight.give_up(at(10_999)));
        assert_eq!(flight.bytes(), 0);
        flight.send(at(11_000), 3, 1);
        assert!(!flight.give_up(at(19_000)), "what is less than a window holds up nobody");
        flight.send(at(20_000), 4, WINDOW_MIN);
        assert!(!flight.give_up(at(20_999)) && flight.give_up(at(21_000)), "since it was filled");
        flight.send(at(22_000), 5, WINDOW_MIN);
        flight.forget(5);
        assert_eq!((flight.bytes(), flight.shortest.map(|(time, _)| time)), (0, Some(WAITED)));
    }
}
