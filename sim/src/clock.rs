//! A node's own clock: it begins at the node's start, as a real driver's does, and runs a little
//! fast or slow. So no machine can get away with comparing instants of two nodes.

use tidings_proto::Instant;

const MILLION: i128 = 1_000_000;

/// Converts between the world's time and a node's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// The world's time at the node's start.
    pub born: Instant,
    /// Parts per million that the clock runs fast, or slow when negative; above -1,000,000.
    pub skew_ppm: i32,
}

impl Clock {
    /// What the node's clock shows.
    pub fn local(self, world: Instant) -> Instant {
        let elapsed = world.as_micros().saturating_sub(self.born.as_micros());
        if self.skew_ppm == 0 {
            return Instant::from_micros(elapsed);
        }
        let scaled = i128::from(elapsed) * (MILLION + i128::from(self.skew_ppm)) / MILLION;
        Instant::from_micros(u64::try_from(scaled).unwrap_or(u64::MAX))
    }

    /// The first instant of the world at which the node's clock shows `local` or later.
    pub fn world(self, local: Instant) -> Instant {
        if local == Instant::FAR_FUTURE {
            return local;
        }
        let rate = MILLION + i128::from(self.skew_ppm);
        let elapsed = if self.skew_ppm == 0 {
            local.as_micros()
        } else {
            let scaled = (i128::from(local.as_micros()) * MILLION + rate - 1) / rate;
            u64::try_from(scaled).unwrap_or(u64::MAX)
        };
        Instant::from_micros(elapsed.saturating_add(self.born.as_micros()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_reached_early() {
        for skew_ppm in [-200, -3, 0, 7, 200] {
            let clock = Clock { born: Instant::from_micros(12_345), skew_ppm };
            for local in [0, 1, 999, 1_000_000, 86_400_000_001] {
                let world = clock.world(Instant::from_micros(local));
                assert!(clock.local(world).as_micros() >= local, "{skew_ppm} {local}");
                let earlier = Instant::from_micros(world.as_micros() - 1);
                assert!(clock.local(earlier).as_micros() < local.max(1), "{skew_ppm} {local}");
            }
            assert_eq!(clock.world(Instant::FAR_FUTURE), Instant::FAR_FUTURE);
        }
    }
}
