//! Kinds of values: how they are typed, what is allowed, how they are printed.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tidings_proto::config::Verify;

use crate::logging::{LogFormat, LogLevel};

/// A value as it was typed.
#[derive(Clone, Debug)]
pub(super) enum Raw<'a> {
    /// A string of the file.
    Text(Cow<'a, str>),
    /// A whole number of the file.
    Integer(Option<u64>, String),
    /// A truth value of the file.
    Boolean(bool),
    /// Something else of the file, and what it is.
    Other(&'static str),
    /// What was typed in the environment or after a flag, where everything is text.
    Typed(&'a str),
}

impl Raw<'_> {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Typed(text) => Some(text),
            _ => None,
        }
    }

    fn integer(&self) -> Option<u64> {
        match self {
            Self::Integer(number, _) => *number,
            Self::Typed(text) => text.parse().ok(),
            _ => None,
        }
    }
}

/// As it was typed, for errors.
impl std::fmt::Display for Raw<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Typed(text) => write!(f, "{text:?}"),
            Self::Integer(_, text) => f.write_str(text),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

/// A kind of value. `None` means: not allowed.
pub(super) trait Kind<T> {
    fn parse(&self, raw: &Raw<'_>) -> Option<T>;
    /// As it stands in a file.
    fn show(&self, value: &T) -> String;
    /// What is allowed, for errors: "expected ...".
    fn allowed(&self) -> String;
}

/// Text of a length in bytes, without control characters.
pub(super) struct Text(pub(super) usize, pub(super) usize);

impl Kind<String> for Text {
    fn parse(&self, raw: &Raw<'_>) -> Option<String> {
        let text = raw.text()?;
        let fits = (self.0..=self.1).contains(&text.len()) && !text.contains(char::is_control);
        fits.then(|| text.to_owned())
    }

    fn show(&self, value: &String) -> String {
        quote(value)
    }

    fn allowed(&self) -> String {
        format!("text of {} to {} bytes, in quotes", self.0, self.1)
    }
}

/// A path.
pub(super) struct File;

impl Kind<PathBuf> for File {
    fn parse(&self, raw: &Raw<'_>) -> Option<PathBuf> {
        raw.text().filter(|text| !text.contains('\0')).map(PathBuf::from)
    }

    fn show(&self, value: &PathBuf) -> String {
        quote(&value.to_string_lossy())
    }

    fn allowed(&self) -> String {
        "a path, in quotes".to_owned()
    }
}

/// An address to listen on; port 0 takes a free one.
pub(super) struct Address;

impl Kind<SocketAddr> for Address {
    fn parse(&self, raw: &Raw<'_>) -> Option<SocketAddr> {
        raw.text()?.parse().ok()
    }

    fn show(&self, value: &SocketAddr) -> String {
        quote(&value.to_string())
    }

    fn allowed(&self) -> String {
        "an address IP:PORT in quotes, as in \"127.0.0.1:7200\" or \"[::1]:7200\"".to_owned()
    }
}

/// An address, or nothing.
pub(super) struct MaybeAddress;

impl Kind<Option<SocketAddr>> for MaybeAddress {
    fn parse(&self, raw: &Raw<'_>) -> Option<Option<SocketAddr>> {
        match raw.text()? {
            "" => Some(None),
            text => text.parse().ok().map(Some),
        }
    }

    fn show(&self, value: &Option<SocketAddr>) -> String {
        quote(&value.map_or_else(String::new, |address| address.to_string()))
    }

    fn allowed(&self) -> String {
        format!("{}, or \"\" for none", Address.allowed())
    }
}

/// A whole number in a range.
pub(super) struct Count<T>(pub(super) T, pub(super) T);

impl<T: Copy + PartialOrd + TryFrom<u64> + std::fmt::Display> Kind<T> for Count<T> {
    fn parse(&self, raw: &Raw<'_>) -> Option<T> {
        let number = T::try_from(raw.integer()?).ok()?;
        (self.0..=self.1).contains(&number).then_some(number)
    }

    fn show(&self, value: &T) -> String {
        value.to_string()
    }

    fn allowed(&self) -> String {
        format!("a whole number from {} to {}", self.0, self.1)
    }
}

/// A number of bytes in a range.
pub(super) struct Size<T>(pub(super) T, pub(super) T);

impl<T: Copy + PartialOrd + TryFrom<u64> + TryInto<u64>> Kind<T> for Size<T> {
    fn parse(&self, raw: &Raw<'_>) -> Option<T> {
        let bytes = raw.integer().or_else(|| with_unit(raw.text()?, &SIZE_UNITS))?;
        let bytes = T::try_from(bytes).ok()?;
        (self.0..=self.1).contains(&bytes).then_some(bytes)
    }

    fn show(&self, value: &T) -> String {
        let bytes = (*value).try_into().unwrap_or(u64::MAX);
        match show_unit(bytes, &SIZE_UNITS[..3]) {
            Some(text) => quote(&text),
            None => bytes.to_string(),
        }
    }

    fn allowed(&self) -> String {
        let (least, most) = (self.show(&self.0), self.show(&self.1));
        format!("a number of bytes from {least} to {most}, as in 65536 or \"64MiB\"")
    }
}

/// A duration in a range of milliseconds.
pub(super) struct Span(pub(super) u64, pub(super) u64);

impl Kind<Duration> for Span {
    fn parse(&self, raw: &Raw<'_>) -> Option<Duration> {
        let micros = with_unit(raw.text()?, &TIME_UNITS)?;
        let range = self.0.saturating_mul(1_000)..=self.1.saturating_mul(1_000);
        range.contains(&micros).then(|| Duration::from_micros(micros))
    }

    fn show(&self, value: &Duration) -> String {
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        quote(&show_unit(micros, &TIME_UNITS).unwrap_or_else(|| "0s".to_owned()))
    }

    fn allowed(&self) -> String {
        let show = |millis| self.show(&Duration::from_millis(millis));
        format!(
            "a duration from {} to {} in quotes, as in \"250ms\", \"1s\" or \"10min\"",
            show(self.0),
            show(self.1)
        )
    }
}

/// A truth value.
pub(super) struct Flag;

impl Kind<bool> for Flag {
    fn parse(&self, raw: &Raw<'_>) -> Option<bool> {
        match raw {
            Raw::Boolean(value) => Some(*value),
            Raw::Typed(text) => text.parse().ok(),
            _ => None,
        }
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }

    fn allowed(&self) -> String {
        "true or false".to_owned()
    }
}

/// One of a few words.
pub(super) struct Word<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Kind<T> for Word<T> {
    fn parse(&self, raw: &Raw<'_>) -> Option<T> {
        let text = raw.text()?;
        self.0.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
    }

    fn show(&self, value: &T) -> String {
        quote(self.0.iter().find(|(_, known)| known == value).map_or("", |(word, _)| word))
    }

    fn allowed(&self) -> String {
        let words: Vec<_> = self.0.iter().map(|(word, _)| quote(word)).collect();
        format!("one of {}", words.join(", "))
    }
}

pub(super) const LEVELS: Word<LogLevel> = Word(&[
    ("off", LogLevel::Off),
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
]);

pub(super) const FORMATS: Word<LogFormat> =
    Word(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);

pub(super) const VERIFY: Word<Verify> = Word(&[("every", Verify::Every), ("links", Verify::Links)]);

/// A TOML string.
pub(super) fn quote(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A whole number right before its unit.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim_ascii();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_ascii_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// In the largest unit that leaves no rest.
fn show_unit(value: u64, units: &[(&str, u64)]) -> Option<String> {
    let fits = |(_, factor): &&(&str, u64)| value > 0 && value.is_multiple_of(*factor);
    let (unit, factor) = units.iter().find(fits)?;
    Some(format!("{}{unit}", value / factor))
}

/// The ones that are printed, largest first, then others that are understood.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

const TIME_UNITS: [(&str, u64); 6] = [
    ("d", 24 * 3_600_000_000),
    ("h", 3_600_000_000),
    ("min", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];
