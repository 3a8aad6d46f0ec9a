//! Headers of messages, as people type them.

use tidings::Headers;

use crate::failure::Failure;

/// Reads `key:value`; space around the key and before the value is left out.
pub(crate) fn parse(text: &str) -> Result<(String, String), String> {
    let Some((name, value)) = text.split_once(':') else {
        return Err("a header is KEY:VALUE".to_owned());
    };
    Ok((name.trim().to_owned(), value.trim_start().to_owned()))
}

/// Headers with these names and values.
pub(crate) fn of(pairs: Vec<(String, String)>) -> Result<Headers, Failure> {
    Headers::new(pairs).map_err(|error| Failure::usage(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_split_at_its_first_colon() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(parse("a:b"), pair("a", "b"));
        assert_eq!(parse("url: http://x"), pair("url", "http://x"));
        assert_eq!(parse("empty:"), pair("empty", ""));
        assert!(parse("nothing").is_err());
    }
}
