//! Figures in the width that a table has.

/// Three digits, with k and M.
pub(crate) fn number(value: Option<f64>) -> String {
    let Some(value) = value else { return "-".to_owned() };
    match value.abs() {
        0.0 => "0".to_owned(),
        1e6.. => format!("{:.2}M", value / 1e6),
        1e4.. => format!("{:.0}k", value / 1e3),
        1e3.. => format!("{:.1}k", value / 1e3),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Microseconds as milliseconds.
pub(crate) fn ms(us: Option<f64>) -> String {
    match us.map(|us| us / 1e3) {
        None => "-".to_owned(),
        Some(ms @ 100.0..) => format!("{ms:.0}"),
        Some(ms @ 10.0..) => format!("{ms:.1}"),
        Some(ms) => format!("{ms:.2}"),
    }
}

/// A part of 1; only all of it is 100%.
pub(crate) fn percent(part: Option<f64>) -> String {
    match part {
        None => "-".to_owned(),
        Some(1.0..) => "100%".to_owned(),
        Some(part @ 0.999..) => format!("{:.4}%", (part * 1e6).floor() / 1e4),
        Some(part) => format!("{:.1}%", part * 100.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let shown = [0.0, 0.256, 12.34, 123.4, 1_234.0, 12_345.0, 1_234_567.0];
        let shown = shown.map(|value| number(Some(value)));
        assert_eq!(shown, ["0", "0.26", "12.3", "123", "1.2k", "12k", "1.23M"]);
        assert_eq!([ms(Some(1_234.0)), ms(Some(123_456.0)), ms(None)], ["1.23", "123", "-"]);
        let shown = [1.0, 0.999_999, 0.5].map(|part| percent(Some(part)));
        assert_eq!(shown, ["100%", "99.9999%", "50.0%"]);
    }
}
