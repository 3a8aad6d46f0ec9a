//! How long after its publication a stream's news is here.

/// The share of a new sample in the smoothed value, as TCP smooths its round trips (RFC 6298).
const SMOOTHING: i64 = 8;

/// The smoothed time between publication and first receipt. It compares two clocks, so it serves
/// people only, and is negative when the publisher's clock is ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lag {
    smoothed_us: Option<i64>,
}

impl Lag {
    /// A batch published at `published_us` was received at `received_us`, both in microseconds
    /// since 1970.
    pub(crate) fn sample(&mut self, published_us: i64, received_us: i64) {
        let sample = received_us.saturating_sub(published_us);
        self.smoothed_us = Some(match self.smoothed_us {
            Some(smoothed) => smoothed.saturating_add(sample.saturating_sub(smoothed) / SMOOTHING),
            None => sample,
        });
    }

    /// In microseconds; `None` before the first batch.
    pub(crate) fn micros(self) -> Option<i64> {
        self.smoothed_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_with_the_first_sample_and_follows_slowly() {
        let mut lag = Lag::default();
        assert_eq!(lag.micros(), None);
        lag.sample(1_000, 9_000);
        assert_eq!(lag.micros(), Some(8_000));
        lag.sample(1_000, 1_000);
        assert_eq!(lag.micros(), Some(7_000));
        for _ in 0..100 {
            lag.sample(5_000, 4_000);
        }
        assert!((-1_000..-980).contains(&lag.micros().expect("sampled")), "{lag:?}");
    }

    #[test]
    fn clocks_that_are_far_off_do_no_harm() {
        let mut lag = Lag::default();
        lag.sample(i64::MIN, i64::MAX);
        lag.sample(i64::MAX, i64::MIN);
        lag.sample(i64::MIN, i64::MAX);
        assert!(lag.micros().is_some());
    }
}
