//! How long messages take, as the logs of their receivers say, with and without something that
//! should not matter.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::node::Node;
use crate::wait;

/// When one of two conditions held, in microseconds since 1970.
#[derive(Clone, Copy, Debug)]
struct Round {
    changed: bool,
    from_us: i64,
    to_us: i64,
}

/// Rounds in turn with and without a change, so that what else happens on the machine meets both.
#[derive(Debug, Default)]
pub struct Rounds {
    rounds: Vec<Round>,
}

/// What was measured in each round, in milliseconds.
#[derive(Clone, Debug)]
pub struct Compared {
    /// 99 of 100 messages took at most this, in each round without the change.
    pub plain_p99_ms: Vec<f64>,
    /// The same, in each round with it.
    pub changed_p99_ms: Vec<f64>,
    /// The fewest messages that a round measured.
    pub samples_min: usize,
}

impl Rounds {
    /// One round: lets `settle` pass, then measures for `time`; meanwhile `work` is called as
    /// often as it returns.
    pub fn run(&mut self, changed: bool, settle: Duration, time: Duration, mut work: impl FnMut()) {
        let begun = Instant::now();
        while begun.elapsed() < settle {
            work();
        }
        let from_us = now_us();
        while begun.elapsed() < settle + time {
            work();
        }
        self.rounds.push(Round { changed, from_us, to_us: now_us() });
    }

    /// Compares the rounds by the logs of these peers.
    ///
    /// # Panics
    /// When a round measured nothing.
    pub fn compare<'a>(&self, peers: impl IntoIterator<Item = &'a Node>) -> Compared {
        let mut samples: Vec<Vec<f64>> = vec![Vec::new(); self.rounds.len()];
        for peer in peers {
            for line in peer.events("gossip") {
                let published_us = line.gossip().published_us;
                let within = |round: &Round| (round.from_us..round.to_us).contains(&published_us);
                if let Some(at) = self.rounds.iter().position(within) {
                    samples[at].push((line.time_us - published_us) as f64 / 1e3);
                }
            }
        }
        let samples_min = samples.iter().map(Vec::len).min().unwrap_or(0);
        let p99 = |changed: bool| {
            let rounds = self.rounds.iter().zip(&samples);
            let of = rounds.filter(|(round, _)| round.changed == changed);
            of.map(|(_, samples)| percentile(&mut samples.clone(), 99)).collect()
        };
        Compared { plain_p99_ms: p99(false), changed_p99_ms: p99(true), samples_min }
    }
}

impl Compared {
    /// Checks that the median of the rounds with the change is less than 10% above that of the
    /// rounds without, or not above it by more than what cannot be told from noise: `floor`, or
    /// the difference between the best and the worst round without the change.
    ///
    /// # Panics
    /// When it is not, or the rounds are too few or too short to tell.
    #[track_caller]
    pub fn expect_alike(&self, what: &str, floor: Duration) {
        let [plain, changed] =
            [&self.plain_p99_ms, &self.changed_p99_ms].map(|all| percentile(&mut all.clone(), 50));
        assert!(self.plain_p99_ms.len() >= 3 && self.samples_min >= 300, "{self:?}");
        let (best, worst) = (
            percentile(&mut self.plain_p99_ms.clone(), 0),
            percentile(&mut self.plain_p99_ms.clone(), 100),
        );
        let noise = (worst - best).max(floor.as_secs_f64() * 1e3);
        let most = (1.1 * plain).max(plain + noise);
        assert!(changed <= most, "{what}: p99 {plain} ms became {changed} ms: {self:?}");
        eprintln!("{what}: p99 {plain} ms, {changed} ms: {self:?}");
    }
}

/// Publishes with all `publish` in turn, one each `step`, for as long as it is called.
pub fn steadily(step: Duration, mut publish: impl FnMut(u64)) -> impl FnMut() {
    let mut next = Instant::now();
    let mut number = 0;
    move || {
        wait::pause(next.saturating_duration_since(Instant::now()));
        publish(number);
        number += 1;
        // A machine that stood still does not catch up in a burst.
        next = (next + step).max(Instant::now());
    }
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_micros()).expect("before the year 290,000")
}

/// The value that `percent` of all are not above.
///
/// # Panics
/// When there is none.
fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() * percent).div_ceil(100).saturating_sub(1);
    *values.get(at).expect("something was measured")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(plain: &[f64], changed: &[f64]) -> Compared {
        let (plain_p99_ms, changed_p99_ms) = (plain.to_vec(), changed.to_vec());
        Compared { plain_p99_ms, changed_p99_ms, samples_min: 1_000 }
    }

    #[test]
    fn percentiles_are_values_that_occur() {
        let mut values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!((percentile(&mut values, 50), percentile(&mut values, 99)), (100.0, 198.0));
        assert_eq!(percentile(&mut [7.0], 99), 7.0);
    }

    #[test]
    fn one_bad_round_decides_nothing() {
        let floor = Duration::from_millis(1);
        compared(&[10.0, 11.0, 12.0], &[12.0, 11.5, 90.0]).expect_alike("x", floor);
        compared(&[1.0, 1.0, 1.0], &[1.9, 1.9, 1.9]).expect_alike("x", floor);
    }

    #[test]
    fn what_plain_rounds_differ_by_is_noise() {
        let floor = Duration::from_millis(1);
        compared(&[10.0, 12.0, 18.0], &[19.9; 3]).expect_alike("x", floor);
    }

    #[test]
    #[should_panic(expected = "x: p99 12 ms became 20.1 ms")]
    fn more_than_noise_is_too_much() {
        compared(&[10.0, 12.0, 18.0], &[20.1; 3]).expect_alike("x", Duration::from_millis(1));
    }

    #[test]
    #[should_panic(expected = "x: p99 20 ms became 22.1 ms")]
    fn ten_percent_more_is_too_much() {
        compared(&[20.0; 3], &[22.1; 3]).expect_alike("x", Duration::from_millis(2));
    }
}
