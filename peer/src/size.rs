//! Sizes as people type them.

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
}
