//! Requests: one JSON object a line.

mod parse;
mod start;
mod subscribe;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use tidings_proto::wire::headers::Headers;

pub(crate) use parse::parse;
pub use start::Start;
pub(crate) use subscribe::parse_received;
pub use subscribe::{Keep, POSITIONS_MAX, PositionView, Received, Subscribe, Unread};

/// Messages that one `pull` answers at most.
pub const PULL_MAX: u32 = 10_000;
/// Messages that one `pull` answers unless told otherwise.
pub const PULL_DEFAULT: u32 = 100;
/// The longest that one `pull` waits, in milliseconds.
pub const PULL_WAIT_MS_MAX: u64 = 3_600_000;
/// Replies that one `request` answers at most.
pub const REPLIES_MAX: u32 = 1_000;
/// The longest that one `request` waits, in milliseconds.
pub const TIMEOUT_MS_MAX: u64 = 3_600_000;
/// How long one `request` waits unless told otherwise, in milliseconds. As `nats request`.
pub const TIMEOUT_MS_DEFAULT: u64 = 5_000;
/// The longest that one `publish` waits for room, in milliseconds; unless told otherwise it does.
pub const PUBLISH_WAIT_MS_MAX: u64 = 30_000;
/// Messages that wait with the policy `drop-oldest` unless told otherwise. As many as MQTT brokers
/// keep for a slow client (mosquitto's `max_queued_messages`).
pub const BUFFER_DEFAULT: u32 = 1_000;
/// The most messages that may wait with the policy `drop-oldest`.
pub const BUFFER_MAX: u32 = 1_000_000;
/// Items that one list answers at most.
pub const LIST_MAX: u32 = 10_000;
/// Items that one list answers unless told otherwise.
pub const LIST_DEFAULT: u32 = 1_000;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    /// Host a new topic.
    CreateTopic {
        /// The topic.
        topic: String,
        /// A topic that this peer hosts already is fine.
        exist_ok: bool,
        /// Whether its log is kept on disk, and how much is kept at all.
        #[serde(flatten)]
        policy: Keep,
    },
    /// End a topic that this peer hosts.
    DeleteTopic {
        /// The topic.
        topic: String,
    },
    /// Topics that match an MQTT filter.
    ListTopics(List),
    /// What is known of a topic.
    TopicInfo {
        /// The topic.
        topic: String,
    },
    /// Have a name that no other peer of the cluster has.
    Register {
        /// The name.
        name: String,
        /// A name that this peer has already is fine.
        exist_ok: bool,
    },
    /// Give up a name of this peer.
    Unregister {
        /// The name.
        name: String,
    },
    /// Names that match an MQTT filter.
    Names(List),
    /// Who has a name.
    NameInfo {
        /// The name.
        name: String,
    },
    /// Receive a topic: kept for `pull`, or as events on this connection.
    Subscribe(Subscribe),
    /// Go on with a session of that name, or begin one.
    Connect {
        /// The name.
        name: String,
        /// Up to which place each topic has arrived; nothing up to there comes again.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        received: BTreeMap<String, u64>,
    },
    /// End the session of this connection.
    Disconnect,
    /// What of the session of this connection has arrived.
    Ack {
        /// The topic.
        topic: String,
        /// Everything up to this place.
        pos: u64,
    },
    /// All sessions.
    Sessions {
        /// How many to leave out.
        offset: u32,
        /// How many at most, up to [`LIST_MAX`].
        limit: u32,
    },
    /// Receive a topic no more.
    Unsubscribe {
        /// The topic.
        topic: String,
    },
    /// Publish one message.
    Publish(Publish),
    /// Publish a request and wait for replies.
    Request(Ask),
    /// Take messages that were kept.
    Pull(Pull),
    /// Known peers.
    Peers(List),
    /// A peer that is gone is to be listed no more.
    Forget {
        /// Its id, or the first digits of it, its address, or its name.
        peer: String,
    },
    /// The configured seeds.
    Seeds,
    /// This peer.
    Status,
    /// Is anybody there?
    Ping,
    /// All commands.
    Help,
}

/// What to publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Publish {
    /// The topic.
    pub topic: String,
    /// The message.
    #[serde(flatten)]
    pub body: Body,
    /// Texts beside it.
    #[serde(skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// How long to wait for room when the peer is busy, in milliseconds, before it is refused;
    /// [`PUBLISH_WAIT_MS_MAX`] when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

impl Publish {
    /// A message without headers.
    pub fn new(topic: impl Into<String>, body: impl Into<Bytes>) -> Self {
        let (topic, body) = (topic.into(), Body(body.into()));
        Self { topic, body, headers: Headers::default(), wait_ms: None }
    }
}

/// A message that is replied to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ask {
    /// The topic.
    pub topic: String,
    /// The message.
    #[serde(flatten)]
    pub body: Body,
    /// Texts beside it.
    #[serde(skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// How long to wait for replies, in milliseconds, up to [`TIMEOUT_MS_MAX`].
    pub timeout_ms: u64,
    /// How many replies end the waiting, 1 to [`REPLIES_MAX`].
    pub replies: u32,
}

/// What to take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pull {
    /// Of this topic; of all that are subscribed when `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// At most so many messages, 1 to [`PULL_MAX`].
    pub max: u32,
    /// Wait as long for the first one, in milliseconds.
    pub wait_ms: u64,
}

/// What to list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct List {
    /// What items must match; empty for all.
    pub filter: String,
    /// How many to leave out.
    pub offset: u32,
    /// How many at most, up to [`LIST_MAX`].
    pub limit: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { filter: String::new(), offset: 0, limit: LIST_DEFAULT }
    }
}

/// The bytes of a message. In JSON `message` when they are UTF-8, else `message_base64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body(pub Bytes);

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match std::str::from_utf8(&self.0) {
            Ok(text) => map.serialize_entry("message", text)?,
            Err(_) => map.serialize_entry("message_base64", &BASE64.encode(&self.0))?,
        }
        map.end()
    }
}
