//! What a subscription yields.

use std::net::SocketAddr;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tidings_proto::wire::batch::BatchHeader;
use tidings_proto::wire::headers::Headers;
use tidings_proto::{Incarnation, NodeId, Origin, Topic};

/// The next thing that happened in a subscribed topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// A message. Those of one stream come in order, each once.
    Message(Message),
    /// Messages of a stream that this subscription does not get. What follows them comes.
    Gap(Gap),
    /// The topic was deleted by its host. Nothing follows.
    TopicDeleted(Topic),
}

impl Delivery {
    pub(crate) fn topic(&self) -> &Topic {
        match self {
            Self::Message(message) => &message.topic,
            Self::Gap(gap) => &gap.topic,
            Self::TopicDeleted(topic) => topic,
        }
    }
}

/// A message, as its origin signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic.
    pub topic: Topic,
    /// The publisher.
    pub origin: NodeId,
    /// The publisher's life; with `origin` and `topic` it names the stream.
    pub incarnation: Incarnation,
    /// Where the publisher can be dialled.
    pub origin_addr: SocketAddr,
    /// Its place in its stream, from 1 and without gaps.
    pub seq: u64,
    /// When it was signed, in microseconds since 1970 by the publisher's clock.
    pub published_at_us: i64,
    /// It is not new: the topic retains it, and it comes because the subscription has begun.
    pub retained: bool,
    /// Texts beside the body.
    pub headers: Headers,
    /// The body. It shares the memory of the batch that brought it.
    pub body: Bytes,
}

impl Message {
    pub(crate) fn new(
        header: &BatchHeader,
        seq: u64,
        message: tidings_proto::wire::batch::Message,
    ) -> Self {
        Self {
            topic: header.topic.clone(),
            origin: header.origin.node,
            incarnation: header.origin.incarnation,
            origin_addr: header.address,
            seq,
            published_at_us: header.published_at_us,
            retained: false,
            headers: message.headers,
            body: message.body,
        }
    }

    /// When it was signed, by the publisher's clock. A time that no calendar has, which only a
    /// broken publisher signs, reads as 1970.
    pub fn published_at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.published_at_us).unwrap_or_default()
    }
}

/// Consecutive messages of one stream that a subscription does not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The topic.
    pub topic: Topic,
    /// The stream's publisher.
    pub origin: NodeId,
    /// The publisher's life.
    pub incarnation: Incarnation,
    /// First missing sequence number.
    pub from: u64,
    /// Last missing sequence number.
    pub to: u64,
    /// Why they are missing.
    pub reason: GapReason,
}

impl Gap {
    pub(crate) fn new(topic: Topic, origin: Origin, from: u64, to: u64, reason: GapReason) -> Self {
        Self { topic, origin: origin.node, incarnation: origin.incarnation, from, to, reason }
    }

    /// How many messages are missing.
    pub fn count(&self) -> u64 {
        self.to.saturating_sub(self.from).saturating_add(1)
    }
}

/// Why messages are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// Nobody could supply them in time.
    Unavailable,
    /// This subscription was not read, its queue was full, and the oldest made room.
    SlowConsumer,
}

impl GapReason {
    /// For logs and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::SlowConsumer => "slow_consumer",
        }
    }
}
