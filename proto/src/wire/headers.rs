//! Headers of a message: a small map of texts that travels beside the body.
//!
//! Encoded as pairs in ascending order of their names, each name once:
//!
//! | bytes | field |
//! |---|---|
//! | 1 + n | name: length, from 1, then UTF-8 |
//! | 2 + v | value: length, then UTF-8 |
//!
//! An origin that signs anything else has sent headers that nobody can read: its messages arrive
//! without them, and the batch is not refused for it.

use std::collections::BTreeMap;
use std::fmt;

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::wire::batch::HEADERS_BYTES_MAX;

/// The longest name of a header, in bytes of UTF-8: as much as one byte can say.
pub const HEADER_NAME_BYTES_MAX: usize = 255;

/// The header of a message that its topic retains: whoever subscribes later gets it first. It
/// counts on a message that is alone in its batch; its value is `true`. An empty body takes away
/// what was retained before.
pub const RETAIN: &str = "retain";

/// Headers, legal by construction: at most [`HEADERS_BYTES_MAX`] bytes encoded, names of 1 to
/// [`HEADER_NAME_BYTES_MAX`] bytes without control characters, values of any text. They share the
/// memory of the batch that brought them and are read in place.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Headers(Bytes);

/// Why texts are not headers.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HeadersError {
    /// A name without a character.
    #[error("the name of a header has at least one character")]
    EmptyName,
    /// A name longer than [`HEADER_NAME_BYTES_MAX`].
    #[error("the name of a header has at most {HEADER_NAME_BYTES_MAX} bytes, this one has {0}")]
    LongName(usize),
    /// A control character in a name, which breaks logs.
    #[error("the name of a header may not contain {0:?}")]
    Character(char),
    /// More than [`HEADERS_BYTES_MAX`] in all.
    #[error("the headers of a message have at most {HEADERS_BYTES_MAX} bytes, these have {0}")]
    TooLarge(usize),
}

impl Headers {
    /// Headers with these names and values; of a name that is there twice the last value counts.
    ///
    /// # Errors
    /// The rule that a name or the whole breaks.
    pub fn new<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, HeadersError>
    where
        N: Into<String>,
        V: Into<String>,
    {
        let sorted: BTreeMap<String, String> =
            pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let mut size = 0_usize;
        for (name, value) in &sorted {
            check_name(name)?;
            size = size.saturating_add(3 + name.len()).saturating_add(value.len());
        }
        if size > HEADERS_BYTES_MAX {
            return Err(HeadersError::TooLarge(size));
        }
        let mut out = BytesMut::with_capacity(size);
        for (name, value) in &sorted {
            out.put_u8(u8::try_from(name.len()).expect("the name was checked"));
            out.put_slice(name.as_bytes());
            out.put_u16(u16::try_from(value.len()).expect("all together was checked"));
            out.put_slice(value.as_bytes());
        }
        Ok(Self(out.freeze()))
    }

    /// These headers and one more, or with another value of it.
    ///
    /// # Errors
    /// The rule that the name or the whole breaks.
    pub fn with(
        &self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, HeadersError> {
        let own = self.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self::new(own.chain([(name.into(), value.into())]))
    }

    /// Takes encoded headers; `None` when they are not what [`Self::new`] makes.
    pub fn decode(encoded: Bytes) -> Option<Self> {
        is_legal(&encoded).then_some(Self(encoded))
    }

    /// The encoded headers.
    pub fn encoded(&self) -> &Bytes {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a header.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Names and values, in order of the names.
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.0 }
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// As a map.
impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = BTreeMap::<String, String>::deserialize(deserializer)?;
        Self::new(map).map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// The headers of a message, read in place.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    /// Ends at what cannot be read, which legal headers have none of.
    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.rest.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        let (length, rest) = rest.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        self.rest = rest;
        Some((core::str::from_utf8(name).ok()?, core::str::from_utf8(value).ok()?))
    }
}

/// Whether these bytes are headers: what [`Headers::decode`] takes.
pub(crate) fn is_legal(encoded: &[u8]) -> bool {
    let mut iter = Iter { rest: encoded };
    let mut last: Option<&str> = None;
    while !iter.rest.is_empty() {
        let Some((name, _)) = iter.next() else { return false };
        if check_name(name).is_err() || last.is_some_and(|last| last >= name) {
            return false;
        }
        last = Some(name);
    }
    encoded.len() <= HEADERS_BYTES_MAX
}

fn check_name(name: &str) -> Result<(), HeadersError> {
    if name.is_empty() {
        return Err(HeadersError::EmptyName);
    }
    if name.len() > HEADER_NAME_BYTES_MAX {
        return Err(HeadersError::LongName(name.len()));
    }
    match name.chars().find(|c| c.is_control()) {
        Some(character) => Err(HeadersError::Character(character)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_are_sorted_and_found() {
        let headers = Headers::new([("b", "2"), ("a", "1"), ("b", "3")]).expect("legal");
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "3")]);
        assert_eq!((headers.get("b"), headers.get("c")), (Some("3"), None));
        assert_eq!(headers.encoded().as_ref(), b"\x01a\x00\x011\x01b\x00\x013");
        let more = headers.with("c", "größe").expect("legal");
        assert_eq!(more.get("c"), Some("größe"));
        assert!(Headers::default().is_empty() && !more.is_empty());
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        let new = |name: &str, value: &str| Headers::new([(name, value)]).map(drop);
        assert_eq!(new("", "x"), Err(HeadersError::EmptyName));
        assert_eq!(new(&"n".repeat(256), "x"), Err(HeadersError::LongName(256)));
        assert_eq!(new("a\nb", "x"), Err(HeadersError::Character('\n')));
        assert_eq!(new("a", &"x".repeat(HEADERS_BYTES_MAX - 4)), Ok(()));
        let over = new("a", &"x".repeat(HEADERS_BYTES_MAX - 3));
        assert_eq!(over, Err(HeadersError::TooLarge(HEADERS_BYTES_MAX + 1)));
        let huge = new("a", &"x".repeat(1 << 20));
        assert_eq!(huge, Err(HeadersError::TooLarge((1 << 20) + 4)));
    }

    #[test]
    fn other_bytes_are_no_headers() {
        for bytes in [
            &b"\x01"[..],
            b"\x00\x00\x00",
            b"\x01a\x00\x02x",
            b"\x01a\x00\x00\x01a\x00\x00",
            b"\x01b\x00\x00\x01a\x00\x00",
            b"\x01\xff\x00\x00",
            b"\x01a\x00\x01\xff",
            b"\x01\n\x00\x00",
        ] {
            assert_eq!(Headers::decode(Bytes::from_static(bytes)), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            map in proptest::collection::btree_map("[^\\p{Cc}]{1,20}", ".{0,40}", 0..20)
        ) {
            let headers = Headers::new(map.clone()).expect("small");
            let read = Headers::decode(headers.encoded().clone()).expect("own writing");
            let pairs: BTreeMap<_, _> =
                read.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(pairs, map);
        }

        #[test]
        fn bytes_that_are_taken_are_the_only_way_to_say_it(
            bytes in proptest::collection::vec(prop_oneof![0..4_u8, 97..100_u8], 0..24)
        ) {
            if let Some(headers) = Headers::decode(Bytes::from(bytes.clone())) {
                let again = Headers::new(headers.iter()).expect("legal");
                prop_assert_eq!(again.encoded().as_ref(), &bytes[..]);
            }
        }
    }
}
