//! Answers and events: what the control port writes, what its clients read, and what the HTTP
//! views show.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use tidings_proto::peer::status::{NeighborStatus, SeedState, SeedStatus, TopicStatus};
use tidings_proto::wire::frame::{PeerItem, PeerState};
use tidings_proto::wire::headers::Headers;
use tidings_runtime::NetworkView;

use crate::control::counters::StreamView;
use crate::delivery::{Delivery, Gap, Message};
use crate::publish::Published;

pub use crate::control::names::{NameMore, NameView, NamesView};
pub use crate::control::sessions::{
    ConnectedView, PullView, SessionView, SessionsView, SubscriptionView,
};
pub use crate::control::topics::{RetentionView, TopicMore, TopicView, TopicsView, Whereabouts};

/// Done, and there is nothing to say about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// A published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedView {
    /// Its number in this peer's stream of the topic.
    pub seq: u64,
    /// The number of the first message of its batch.
    pub batch: u64,
    /// On how many links it went out.
    pub reached: u32,
}

impl From<Published> for PublishedView {
    fn from(published: Published) -> Self {
        let Published { seq, batch, reached } = published;
        Self { seq, batch, reached }
    }
}

/// A peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its identity.
    pub node: String,
    /// Where it can be dialled.
    pub addr: SocketAddr,
    /// Its name, perhaps empty.
    pub name: String,
    /// Its life.
    pub incarnation: u64,
    /// `alive`, `suspect` or `dead`, as the seed sees it.
    pub state: String,
    /// It is linked to the peer that answers.
    pub neighbor: bool,
}

impl PeerView {
    pub(crate) fn new(item: PeerItem, neighbor: bool) -> Self {
        let state = match item.state {
            PeerState::Alive => "alive",
            PeerState::Suspect => "suspect",
            PeerState::Dead => "dead",
        };
        Self {
            node: item.node.to_string(),
            addr: item.address,
            name: item.name,
            incarnation: item.incarnation.0,
            state: state.to_owned(),
            neighbor,
        }
    }
}

/// Peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeersView {
    /// How many match.
    pub total: usize,
    /// A page of them.
    pub peers: Vec<PeerView>,
}

/// A peer that is listed no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgottenView {
    /// What was listed of it.
    pub peer: PeerView,
}

impl From<PeerItem> for ForgottenView {
    fn from(item: PeerItem) -> Self {
        Self { peer: PeerView::new(item, false) }
    }
}

/// The configured seeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedsView {
    /// How many must be joined.
    pub quorum: usize,
    /// How many are joined.
    pub joined: usize,
    /// How many there are.
    pub total: usize,
    /// All of them.
    pub seeds: Vec<SeedView>,
}

/// A seed, as this peer sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedView {
    /// Its overlay address.
    pub addr: SocketAddr,
    /// Its identity, once it was reached.
    pub node: Option<String>,
    /// `joined`, `connecting`, `unreachable` or `spare`.
    pub state: String,
}

impl From<&SeedStatus> for SeedView {
    fn from(seed: &SeedStatus) -> Self {
        let state = match seed.state {
            SeedState::Joined => "joined",
            SeedState::Connecting => "connecting",
            SeedState::Unreachable => "unreachable",
            SeedState::Spare => "spare",
        };
        let node = seed.node.map(|node| node.to_string());
        Self { addr: seed.address, node, state: state.to_owned() }
    }
}

/// A peer about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// Its identity.
    pub node: String,
    /// Its name, perhaps empty.
    pub name: String,
    /// What it listens on for peers.
    pub listen: SocketAddr,
    /// What other peers are told to dial.
    pub address: SocketAddr,
    /// Its control port.
    pub control: Option<SocketAddr>,
    /// Its HTTP port.
    pub http: Option<SocketAddr>,
    /// Its life.
    pub incarnation: u64,
    /// A majority of the seeds is joined.
    pub joined: bool,
    /// How many seeds are joined.
    pub seeds_joined: usize,
    /// How many must be.
    pub quorum: usize,
    /// Its links to peers.
    pub neighbors: Vec<NeighborView>,
    /// Known peers without a link.
    pub passive: usize,
    /// Topics that it receives, hosts or publishes to.
    pub topics: Vec<LocalTopicView>,
    /// What it has done since it started.
    pub counters: BTreeMap<String, u64>,
    /// How many streams it receives: publishers of topics.
    pub streams_total: usize,
    /// Those with holes first, then those with the greatest lag; at most 256.
    pub streams: Vec<StreamView>,
    /// What its links do and did.
    #[serde(flatten)]
    pub network: NetworkView,
    /// Its program.
    pub version: String,
    /// How long it runs, in milliseconds.
    pub uptime_ms: u64,
}

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighborView {
    /// Its identity.
    pub node: String,
    /// Where it can be dialled.
    pub addr: SocketAddr,
    /// Its name, perhaps empty.
    pub name: String,
    /// This peer dialled it.
    pub outbound: bool,
    /// Topics shared with it.
    pub topics: usize,
}

impl From<&NeighborStatus> for NeighborView {
    fn from(neighbor: &NeighborStatus) -> Self {
        Self {
            node: neighbor.peer.node.to_string(),
            addr: neighbor.peer.address,
            name: neighbor.name.clone(),
            outbound: neighbor.outbound,
            topics: neighbor.topics,
        }
    }
}

/// A topic at this peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalTopicView {
    /// Its name.
    pub topic: String,
    /// An application of this peer receives it.
    pub subscribed: bool,
    /// This peer hosts it.
    pub hosted: bool,
    /// Neighbours that share it.
    pub neighbors: usize,
    /// Batches retained.
    pub retained_batches: usize,
    /// Bytes retained.
    pub retained_bytes: usize,
    /// It has the message that the topic retains.
    #[serde(default)]
    pub retains: bool,
    /// Streams known.
    pub streams: usize,
}

impl From<&TopicStatus> for LocalTopicView {
    fn from(topic: &TopicStatus) -> Self {
        Self {
            topic: topic.topic.to_string(),
            subscribed: topic.subscribed,
            hosted: topic.hosted,
            neighbors: topic.neighbors,
            retained_batches: topic.retained_batches,
            retained_bytes: topic.retained_bytes,
            retains: topic.retains,
            streams: topic.streams,
        }
    }
}

/// A message. Its body is in `message` when it is UTF-8, else in `message_base64`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageView {
    /// The topic.
    pub topic: String,
    /// The publisher.
    pub origin: String,
    /// Where the publisher can be dialled.
    pub origin_addr: SocketAddr,
    /// Its number in its stream.
    pub seq: u64,
    /// The publisher's life; with `origin` and `topic` it names the stream that `seq` counts.
    #[serde(default)]
    pub incarnation: u64,
    /// When it was published, by the publisher's clock.
    pub published_at: String,
    /// It is not new: its topic retains it, and the subscription has just begun.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retained: bool,
    /// Texts beside the body.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// In a named session: its place among what the session got of the topic, for `ack`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pos: u64,
    /// In a named session: it was sent before, and it is not known whether it arrived.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redelivered: bool,
    /// The body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_base64: Option<String>,
}

impl MessageView {
    /// The bytes of the body; `None` when the sender wrote no legal base64.
    pub fn body(&self) -> Option<Vec<u8>> {
        match (&self.message, &self.message_base64) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(encoded)) => BASE64.decode(encoded).ok(),
            (None, None) => Some(Vec::new()),
        }
    }
}

impl From<&Message> for MessageView {
    fn from(message: &Message) -> Self {
        let text = std::str::from_utf8(&message.body).ok().map(str::to_owned);
        let encoded = text.is_none().then(|| BASE64.encode(&message.body));
        Self {
            topic: message.topic.to_string(),
            origin: message.origin.to_string(),
            origin_addr: message.origin_addr,
            seq: message.seq,
            incarnation: message.incarnation.0,
            published_at: time(message.published_at()),
            retained: message.retained,
            headers: message.headers.clone(),
            pos: 0,
            redelivered: false,
            message: text,
            message_base64: encoded,
        }
    }
}

/// The replies to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepliesView {
    /// As they came; fewer than were asked for when the time was over.
    pub replies: Vec<MessageView>,
    /// On how many links the request went out.
    pub reached: u32,
}

/// Messages of one stream that are missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapView {
    /// The topic.
    pub topic: String,
    /// The stream's publisher.
    pub origin: String,
    /// The publisher's life.
    #[serde(default)]
    pub incarnation: u64,
    /// First missing number.
    pub from: u64,
    /// Last missing number.
    pub to: u64,
    /// How many that is.
    pub count: u64,
    /// `unavailable` or `slow_consumer`.
    pub reason: String,
    /// As that of a message.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pos: u64,
}

impl From<&Gap> for GapView {
    fn from(gap: &Gap) -> Self {
        Self {
            topic: gap.topic.to_string(),
            origin: gap.origin.to_string(),
            incarnation: gap.incarnation.0,
            from: gap.from,
            to: gap.to,
            count: gap.count(),
            reason: gap.reason.as_str().to_owned(),
            pos: 0,
        }
    }
}

/// What a streaming connection is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventView {
    /// A message.
    Message(MessageView),
    /// Missing messages.
    Gap(GapView),
    /// A topic was deleted; its subscription is over.
    TopicDeleted {
        /// The topic.
        topic: String,
    },
}

impl From<&Delivery> for EventView {
    fn from(delivery: &Delivery) -> Self {
        match delivery {
            Delivery::Message(message) => Self::Message(message.into()),
            Delivery::Gap(gap) => Self::Gap(gap.into()),
            Delivery::TopicDeleted(topic) => Self::TopicDeleted { topic: topic.to_string() },
        }
    }
}

/// All commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelpView {
    /// In the order in which one needs them.
    pub commands: Vec<CommandView>,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandView {
    /// Its name.
    pub command: String,
    /// Its fields; those with `?` may be left out.
    pub fields: String,
    /// What it does.
    pub does: String,
}

pub(crate) fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// RFC 3339, UTC, microseconds.
pub(crate) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

pub(crate) fn time_us(micros: i64) -> String {
    time(DateTime::from_timestamp_micros(micros).unwrap_or_default())
}
