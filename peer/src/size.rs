//! Sizes as people type and read them.

/// Units, the longest spelling first where one ends in another.
const UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// Reads `16MiB`, `500KB`, or a number of bytes.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let unit = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (number, factor) = unit.unwrap_or((text, &1));
    let size = number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(*factor));
    let allowed = "a size is a whole number from 1 and B, KB, MB, GB, KiB, MiB or GiB";
    size.filter(|size| *size > 0).ok_or_else(|| allowed.to_owned())
}

/// A size for people: exact where it is a whole number of a unit, else with a digit after the
/// point.
pub(crate) fn show(bytes: u64) -> String {
    let fits = |(_, factor): &&(&str, u64)| factor.is_power_of_two() && bytes >= *factor;
    let (unit, factor) = UNITS
        .iter()
        .filter(fits)
        .max_by_key(|(_, factor)| *factor)
        .map_or(("B", 1), |&(unit, factor)| (unit, factor));
    match bytes % factor {
        0 => format!("{} {unit}", bytes / factor),
        _ => format!("{:.1} {unit}", bytes as f64 / factor as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let sizes = [("1", 1), ("10B", 10), ("3KB", 3_000), ("3 KiB", 3_072), ("2GiB", 2 << 30)];
        sizes.iter().for_each(|(text, size)| assert_eq!(parse(text), Ok(*size), "{text}"));
        for wrong in ["", "0", "KB", "-1", "1.5MB", "99999999999GiB", "1TB", "1 0"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_short_to_read() {
        let sizes = [(0, "0 B"), (1_023, "1023 B"), (1_536, "1.5 KiB"), (64 << 20, "64 MiB")];
        sizes.iter().for_each(|(size, text)| assert_eq!(show(*size), *text));
        assert_eq!(parse(&show(5 << 30)), Ok(5 << 30));
    }
}
