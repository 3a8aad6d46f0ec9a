//! What the control port says of sessions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::control::answer::{EventView, GapView, MessageView, is_zero};
use crate::delivery::{Delivery, GapReason};
use crate::session::{Pulled, SessionInfo, SubscriptionInfo};
use crate::subscribe::Policy;

/// Messages that were kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullView {
    /// In order.
    pub messages: Vec<MessageView>,
    /// How many wait still.
    pub remaining: usize,
    /// How many were dropped since the last pull because nobody took them in time.
    pub dropped: u64,
    /// What is missing, exactly.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<GapView>,
    /// Topics that were deleted; their subscriptions are over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics_deleted: Vec<String>,
}

impl From<Pulled> for PullView {
    fn from(pulled: Pulled) -> Self {
        let mut view = Self { remaining: pulled.remaining, ..Self::default() };
        for numbered in &pulled.deliveries {
            if let Delivery::Gap(gap) = &numbered.delivery
                && gap.reason == GapReason::SlowConsumer
            {
                view.dropped += gap.count();
            }
            match EventView::from(numbered) {
                EventView::Message(message) => view.messages.push(message),
                EventView::Gap(gap) => view.gaps.push(gap),
                EventView::TopicDeleted { topic } => view.topics_deleted.push(topic),
            }
        }
        view
    }
}

/// A connected session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectedView {
    /// Its name.
    pub name: String,
    /// It was there before, and goes on where it stood.
    pub restored: bool,
    /// What it receives.
    pub topics: Vec<String>,
    /// How many messages wait in it.
    pub unread: usize,
    /// It is kept so long after its connection is lost, in milliseconds.
    pub expiry_ms: u64,
    /// Its filters: it receives all topics that they select.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
    /// How it receives what.
    pub subscriptions: Vec<SubscriptionView>,
}

/// A subscription of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionView {
    /// The topic.
    pub topic: String,
    /// It comes as events.
    pub stream: bool,
    /// `block-retention` or `drop-oldest`.
    pub policy: String,
    /// How many messages wait.
    pub unread: usize,
    /// The number of the next message that is not handed out, among all of the topic that came to
    /// this peer.
    #[serde(default)]
    pub cursor: u64,
    /// The place of the last delivery that was handed out, for `ack`; nothing in the permanent
    /// session.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pos: u64,
    /// Deliveries that were handed out and are not known to have arrived.
    #[serde(default)]
    pub unconfirmed: usize,
}

impl From<&SubscriptionInfo> for SubscriptionView {
    fn from(info: &SubscriptionInfo) -> Self {
        let policy = match info.options.policy {
            Policy::BlockRetention => "block-retention",
            Policy::DropOldest { .. } => "drop-oldest",
        };
        Self {
            topic: info.topic.to_string(),
            stream: info.stream,
            policy: policy.to_owned(),
            unread: info.unread,
            cursor: info.cursor,
            pos: info.pos,
            unconfirmed: info.unconfirmed,
        }
    }
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// Its name; nothing for the permanent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Somebody is connected with it.
    pub live: bool,
    /// Nobody is: it ends after this, in milliseconds, unless somebody connects with its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    /// How many topics it receives.
    pub topics: usize,
    /// How many messages wait in it.
    pub unread: usize,
    /// What it receives: the first [`crate::SUBSCRIPTIONS_SHOWN_MAX`] topics.
    #[serde(default)]
    pub subscriptions: Vec<SubscriptionView>,
}

impl From<SessionInfo> for SessionView {
    fn from(info: SessionInfo) -> Self {
        let SessionInfo { name, live, expires_in, topics, unread, subscriptions } = info;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            name,
            live,
            expires_in_ms: expires_in.map(millis),
            topics,
            unread,
            subscriptions: subscriptions.iter().map(Into::into).collect(),
        }
    }
}

/// Sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionsView {
    /// How many there are.
    pub total: usize,
    /// A page of them, the permanent one first.
    pub sessions: Vec<SessionView>,
}
