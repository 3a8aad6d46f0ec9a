//! Durations as people type and read them.

use std::time::Duration;

/// Units, the longest spelling first where one ends in another.
const UNITS: [(&str, f64); 4] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3_600.0)];
/// No wait is longer.
const SECONDS_MAX: f64 = 30.0 * 24.0 * 3_600.0;

/// Reads `500ms`, `2s`, `1.5m`, `1h`, or a number of seconds.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
    let (number, factor) = match unit {
        Some((unit, factor)) => (text.strip_suffix(unit).unwrap_or(text), *factor),
        None => (text, 1.0),
    };
    match number.trim().parse::<f64>().map(|number| number * factor) {
        Ok(seconds) if (0.0..=SECONDS_MAX).contains(&seconds) => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err("a duration is a number and ms, s, m or h, at most 30 days".to_owned()),
    }
}

/// A duration for people.
pub(crate) fn show(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..10 => format!("{:.2} s", span.as_secs_f64()),
        10..60 => format!("{:.1} s", span.as_secs_f64()),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let millis = |text| parse(text).map(|span| span.as_millis());
        assert_eq!(millis("500ms"), Ok(500));
        assert_eq!(millis("2s"), Ok(2_000));
        assert_eq!(millis("1.5m"), Ok(90_000));
        assert_eq!(millis("1h"), Ok(3_600_000));
        assert_eq!(millis("3"), Ok(3_000));
        for wrong in ["", "s", "-1s", "nan", "inf", "1e300", "1d", "ten"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_short_to_read() {
        assert_eq!(show(Duration::from_millis(1_234)), "1.23 s");
        assert_eq!(show(Duration::from_secs(61)), "1 min 1 s");
        assert_eq!(show(Duration::from_secs(7_260)), "2 h 1 min");
    }
}
