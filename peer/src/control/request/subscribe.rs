//! How topics are received and kept, as clients write it.

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use tidings_proto::wire::record::TopicPolicy;

use super::start::Start;
use crate::subscribe::Policy;

/// What to receive, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Subscribe {
    /// The topic.
    pub topic: String,
    /// As events.
    pub stream: bool,
    /// Where to begin.
    pub from: Start,
    /// What becomes of what is not read in time.
    #[serde(flatten)]
    pub policy: Unread,
    /// Keep the log of a durable topic on disk.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub durable: bool,
}

/// What becomes of what is not read in time: in JSON `policy` and `buffer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Unread(pub Policy);

/// How much of a topic is kept: in JSON `durable` and `retention`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Keep(pub TopicPolicy);

impl Subscribe {
    /// A topic from now on, kept for `pull`.
    pub fn new(topic: impl Into<String>) -> Self {
        Self {
            topic: topic.into(),
            stream: false,
            from: Start::New,
            policy: Unread::default(),
            durable: false,
        }
    }

    /// As events on the connection.
    #[must_use]
    pub fn streamed(mut self) -> Self {
        self.stream = true;
        self
    }

    /// From elsewhere on.
    #[must_use]
    pub fn starting(mut self, from: Start) -> Self {
        self.from = from;
        self
    }
}

impl Serialize for Unread {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Policy::DropOldest { messages } = self.0 {
            map.serialize_entry("policy", "drop-oldest")?;
            map.serialize_entry("buffer", &messages)?;
        }
        map.end()
    }
}

impl Serialize for Keep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.0.durable {
            map.serialize_entry("durable", &true)?;
        }
        let TopicPolicy { retention_bytes, retention_age_ms, .. } = self.0;
        if retention_bytes.is_some() || retention_age_ms.is_some() {
            let retention = Retention { bytes: retention_bytes, age_ms: retention_age_ms };
            map.serialize_entry("retention", &retention)?;
        }
        map.end()
    }
}

/// The field `retention`.
#[derive(Clone, Copy, Debug, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retention {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) age_ms: Option<u64>,
}
