//! Time as the protocol knows it: microseconds since an origin that the driver chose.
//!
//! The standard library's `Instant` cannot be constructed, printed or replayed. This one is a
//! plain integer, so that a simulator can own time and a run can be repeated. All arithmetic
//! saturates: no duration from the wire can make it wrap or panic.

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time, in microseconds since the driver's origin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Instant(u64);

impl Instant {
    /// The driver's origin.
    pub const ZERO: Self = Self(0);
    /// Later than every instant a run can reach.
    pub const FAR_FUTURE: Self = Self(u64::MAX);

    /// The instant `micros` microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The instant `millis` milliseconds after the origin.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time since `earlier`, zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Milliseconds since `earlier`, capped at `u32::MAX`.
    pub fn millis_since(self, earlier: Self) -> u32 {
        let millis = self.0.saturating_sub(earlier.0) / 1_000;
        u32::try_from(millis).unwrap_or(u32::MAX)
    }

    /// The instant `millis` milliseconds before this one, not before the origin.
    pub fn minus_millis(self, millis: u32) -> Self {
        Self(self.0.saturating_sub(u64::from(millis) * 1_000))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Instant::FAR_FUTURE + Duration::MAX, Instant::FAR_FUTURE);
        assert_eq!(Instant::ZERO.since(Instant::from_millis(5)), Duration::ZERO);
        assert_eq!(Instant::from_millis(1).minus_millis(u32::MAX), Instant::ZERO);
        assert_eq!(Instant::FAR_FUTURE.millis_since(Instant::ZERO), u32::MAX);
    }

    #[test]
    fn prints_as_seconds() {
        assert_eq!(format!("{:?}", Instant::from_micros(1_000_002)), "1.000002s");
    }
}
