//! L5: a slow consumer or a slow link is its own trouble: the latency of the others does not
//! notice.

use tidings_proto::Instant;

use super::Verdicts;

/// The rule's name.
pub const RULE: &str = "L5 bystanders";

/// The p99 of all but the slow ones, in milliseconds, in a run with slow ones (`with`) and in the
/// same run in which nobody is slow (`without`): it may be larger by `more_ppm` parts per
/// million.
pub fn judge(
    verdicts: &mut Verdicts,
    now: Instant,
    [with_ms, without_ms]: [f64; 2],
    more_ppm: u32,
) {
    let limit_ms = without_ms * (1.0 + f64::from(more_ppm) / 1e6);
    if with_ms > limit_ms || without_ms <= 0.0 {
        let text = format_args!(
            "p99 of the others is {with_ms:.1} ms, without slow ones {without_ms:.1} ms, at most \
             {limit_ms:.1} ms are allowed"
        );
        verdicts.report(RULE, now, 0, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_when_others_are_slower_and_when_nothing_was_measured() {
        let mut verdicts = Verdicts::default();
        let mut total = |ms: [f64; 2]| {
            judge(&mut verdicts, Instant::ZERO, ms, 100_000);
            verdicts.total
        };
        assert_eq!(total([109.9, 100.0]), 0);
        assert_eq!(total([80.0, 100.0]), 0);
        assert_eq!(total([110.1, 100.0]), 1);
        assert_eq!(total([0.0, 0.0]), 2);
    }
}
