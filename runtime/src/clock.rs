//! The driver's time: a monotonic clock that began at the node's start, and the wall clock of
//! that moment for what people read.

use std::time::{Duration, Instant as StdInstant, SystemTime};

use tidings_proto::Instant;

/// The time of a node begins with this instead of zero, so that the machine can say when something
/// happened before the node's start. More than an age on the wire can be (49 days).
const BEFORE_START: Duration = Duration::from_secs(100 * 86_400);

/// A monotonic clock with an origin. Copies share the origin.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: StdInstant,
    wall_origin_us: i64,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let micros = since_1970.map_or(0, |since| since.as_micros());
        let wall_us = i64::try_from(micros).unwrap_or(0);
        let before_us = i64::try_from(BEFORE_START.as_micros()).unwrap_or(0);
        Self { origin: StdInstant::now(), wall_origin_us: wall_us.saturating_sub(before_us) }
    }

    /// Now, in the machine's time.
    pub fn now(&self) -> Instant {
        Instant::ZERO + BEFORE_START + self.uptime()
    }

    /// Time since the node's start.
    pub fn uptime(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Microseconds from 1970 to the origin, for `Identity::wall_origin_us`.
    pub fn wall_origin_us(&self) -> i64 {
        self.wall_origin_us
    }

    /// Microseconds from 1970 to `instant`.
    pub fn wall_us(&self, instant: Instant) -> i64 {
        let micros = i64::try_from(instant.as_micros()).unwrap_or(i64::MAX);
        self.wall_origin_us.saturating_add(micros)
    }

    /// `instant` as a time that tokio can sleep until.
    pub(crate) fn to_tokio(self, instant: Instant) -> tokio::time::Instant {
        let after = instant.since(Instant::ZERO + BEFORE_START).min(FAR);
        tokio::time::Instant::from_std(self.origin + after)
    }
}

/// Sleeping longer than this makes no difference, and keeps the sum within the clock's range.
const FAR: Duration = Duration::from_secs(365 * 24 * 3_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_follows_the_monotonic_clock() {
        let clock = Clock::start();
        assert!(clock.wall_origin_us() > 1_600_000_000_000_000);
        let later = Instant::from_millis(1_500);
        assert_eq!(clock.wall_us(later), clock.wall_origin_us() + 1_500_000);
        assert!(clock.wall_us(Instant::FAR_FUTURE) > clock.wall_origin_us());
        let _ = clock.to_tokio(Instant::FAR_FUTURE);
    }
}
