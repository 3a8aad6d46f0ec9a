//! How topics are received and kept, as clients write it.

use std::collections::BTreeMap;

use serde::ser::{SerializeMap as _, Serializer};
use serde::{Deserialize, Serialize};
use tidings_proto::wire::record::TopicPolicy;

use super::start::Start;
use crate::subscribe::{Policy, Position};
use crate::{Incarnation, Topic};

/// Positions in one request. With their names they fill about half of a line.
pub const POSITIONS_MAX: usize = 4_096;

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
    /// How far the streams of each topic were received: nothing up to there comes again, and all
    /// that follows it comes, wherever the rest begins. At most [`POSITIONS_MAX`] in all.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub received: Received,
}

/// How far streams were received, by topic.
pub type Received = BTreeMap<String, Vec<PositionView>>;

/// How far a stream was received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionView {
    /// The publisher.
    pub origin: String,
    /// Its life.
    pub incarnation: u64,
    /// The last number that was received.
    pub seq: u64,
}

/// The same for the library; `None` when a name is none.
pub(crate) fn parse_received(received: &Received) -> Option<BTreeMap<Topic, Vec<Position>>> {
    let position = |view: &PositionView| {
        let (origin, incarnation) = (view.origin.parse().ok()?, Incarnation(view.incarnation));
        Some(Position { origin, incarnation, seq: view.seq })
    };
    let of_topic = |(topic, views): (&String, &Vec<PositionView>)| {
        let positions: Option<Vec<Position>> = views.iter().map(position).collect();
        Some((Topic::new(topic).ok()?, positions?))
    };
    received.iter().map(of_topic).collect()
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
            received: Received::new(),
        }
    }

    /// As events on the connection.
    #[must_use]
    pub fn streamed(mut self) -> Self {
        self.stream = true;
        self
    }

    /// After what was received before.
    #[must_use]
    pub fn after(mut self, received: Received) -> Self {
        self.received = received;
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
