//! Where a subscription begins, as clients write it.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidings_proto::peer::event::From;
use tidings_proto::{Incarnation, NodeId};

/// What is allowed, for errors.
pub(super) const ALLOWED: &str = "\"new\", \"all\", \"last:N\", {\"since\":\"10m\"}, \
    {\"since\":\"2026-01-31T12:00:00Z\"} or {\"origin\":\"<id>\",\"seq\":N}";

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Start {
    /// With what is published after it. `"new"`
    #[default]
    New,
    /// With everything that is retained. `"all"`
    All,
    /// With the last so many messages. `"last:10"`
    Last(u64),
    /// With what was published at most so long ago. `{"since":"10m"}`
    Ago(Duration),
    /// With what was published since then, in microseconds since 1970, by the clock of the peer
    /// that is asked. `{"since":"2026-01-31T12:00:00Z"}`
    At(i64),
    /// With what one publisher published from a number on.
    /// `{"origin":"<id>","seq":7,"incarnation":3}`; without an incarnation its newest life.
    Stream {
        /// The publisher.
        origin: NodeId,
        /// Its life.
        incarnation: Option<Incarnation>,
        /// The first number that is wanted.
        seq: u64,
    },
}

impl Start {
    /// In the library's words, when it is `now_us` microseconds after 1970.
    pub(crate) fn from(self, now_us: i64) -> From {
        match self {
            Self::New => From::New,
            Self::All => From::All,
            Self::Last(count) => From::Last(count),
            Self::Ago(age) => From::Since(age),
            Self::At(at_us) => {
                let age_us = u64::try_from(now_us.saturating_sub(at_us)).unwrap_or(0);
                From::Since(Duration::from_micros(age_us))
            }
            Self::Stream { origin, incarnation, seq } => From::Stream { origin, incarnation, seq },
        }
    }

    /// Reads what stands after `since`: a duration such as `90s`, or a time in RFC 3339.
    pub fn since(text: &str) -> Option<Self> {
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Some(Self::At(time.timestamp_micros()));
        }
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(digits);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        let millis = number.parse::<u64>().ok()?.checked_mul(unit_ms)?;
        Some(Self::Ago(Duration::from_millis(millis)))
    }

    fn word(text: &str) -> Option<Self> {
        match text {
            "new" => Some(Self::New),
            "all" => Some(Self::All),
            _ => text.strip_prefix("last:")?.parse().ok().map(Self::Last),
        }
    }
}

impl Serialize for Start {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let since = |serializer: S, text: &str| {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry("since", text)?;
            map.end()
        };
        match self {
            Self::New => serializer.serialize_str("new"),
            Self::All => serializer.serialize_str("all"),
            Self::Last(count) => serializer.serialize_str(&format!("last:{count}")),
            Self::Ago(age) => since(serializer, &format!("{}ms", age.as_millis())),
            Self::At(at_us) => {
                let time: DateTime<Utc> =
                    DateTime::from_timestamp_micros(*at_us).unwrap_or_default();
                since(serializer, &time.to_rfc3339_opts(SecondsFormat::Micros, true))
            }
            Self::Stream { origin, incarnation, seq } => {
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry("origin", &origin.to_string())?;
                map.serialize_entry("seq", seq)?;
                if let Some(incarnation) = incarnation {
                    map.serialize_entry("incarnation", &incarnation.0)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visit)
    }
}

struct Visit;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    since: Option<String>,
    origin: Option<String>,
    seq: Option<u64>,
    incarnation: Option<u64>,
}

impl<'de> Visitor<'de> for Visit {
    type Value = Start;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(ALLOWED)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Start, E> {
        Start::word(text).ok_or_else(|| E::custom(ALLOWED))
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Start, M::Error> {
        let fields = Fields::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        let start = match fields {
            Fields { since: Some(text), origin: None, seq: None, incarnation: None } => {
                Start::since(&text)
            }
            Fields { since: None, origin: Some(origin), seq: Some(seq @ 1..), incarnation } => {
                let incarnation = incarnation.map(Incarnation);
                origin.parse().ok().map(|origin| Start::Stream { origin, incarnation, seq })
            }
            _ => None,
        };
        start.ok_or_else(|| M::Error::custom(ALLOWED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<Start> {
        serde_json::from_str(json).ok()
    }

    #[test]
    fn every_beginning_reads_as_it_is_written() {
        let origin = NodeId([7; 32]);
        let all = [
            Start::New,
            Start::All,
            Start::Last(10),
            Start::Ago(Duration::from_secs(600)),
            Start::At(1_800_000_000_123_456),
            Start::Stream { origin, incarnation: None, seq: 1 },
            Start::Stream { origin, incarnation: Some(Incarnation(3)), seq: 9 },
        ];
        for start in all {
            let json = serde_json::to_string(&start).expect("written");
            assert_eq!(read(&json), Some(start), "{json}");
        }
    }

    #[test]
    fn durations_and_times_are_told_apart() {
        assert_eq!(read(r#"{"since":"10m"}"#), Some(Start::Ago(Duration::from_secs(600))));
        assert_eq!(read(r#"{"since":"2d"}"#), Some(Start::Ago(Duration::from_secs(172_800))));
        let at = read(r#"{"since":"2026-01-31T12:00:00+01:00"}"#);
        assert_eq!(at, Some(Start::At(1_769_857_200_000_000)));
        let age = Start::At(5_000_000).from(7_500_000);
        assert_eq!(age, From::Since(Duration::from_millis(2_500)));
        assert_eq!(Start::At(9).from(7), From::Since(Duration::ZERO), "the future is now");
    }

    #[test]
    fn anything_else_is_refused() {
        for json in [
            r#""old""#,
            r#""last:""#,
            r#""last:-1""#,
            "7",
            "{}",
            r#"{"since":"10"}"#,
            r#"{"since":"99999999999999999999d"}"#,
            r#"{"since":"10m","seq":1}"#,
            r#"{"origin":"xyz","seq":1}"#,
            r#"{"seq":1}"#,
            r#"{"since":"10m","more":1}"#,
        ] {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
