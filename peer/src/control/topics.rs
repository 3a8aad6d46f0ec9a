//! What the control port says of topics.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tidings_proto::peer::event::TopicInfo;
use tidings_proto::wire::frame::{Hosting, TopicItem};
use tidings_proto::wire::record::TopicPolicy;

use crate::control::answer::time_us;

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicView {
    /// Its name.
    pub topic: String,
    /// The node that created it.
    pub host: String,
    /// Which creation of the name it is.
    pub generation: u64,
    /// When it was created, by its host's clock.
    pub created_at: String,
    /// Peers that receive it.
    pub subscribers: u32,
    /// More, when one topic was asked for.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub more: Option<TopicMore>,
}

/// How much of a topic is kept; what is not said is as each peer is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionView {
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Age, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
}

impl RetentionView {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl From<&TopicPolicy> for RetentionView {
    fn from(policy: &TopicPolicy) -> Self {
        Self { bytes: policy.retention_bytes, age_ms: policy.retention_age_ms }
    }
}

/// Where the host of a topic, or of a name, is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whereabouts {
    /// `hosted`, `host_away` (it died or left, and may return), or `orphaned` (another peer may
    /// take the topic over); `unknown` without an answer of a seed.
    pub state: String,
    /// Where the host can be dialled, when it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_addr: Option<SocketAddr>,
    /// How long the host has been away, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_away_ms: Option<u64>,
    /// When another peer may take the topic over, in milliseconds from now; 0 when it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takeover_in_ms: Option<u64>,
    /// When the topic is dropped unless somebody subscribes or its host returns, in milliseconds
    /// from now. Not there while it has subscribers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop_in_ms: Option<u64>,
}

impl From<Hosting> for Whereabouts {
    fn from(hosting: Hosting) -> Self {
        let (state, host_addr, absence) = match hosting {
            // What was dropped is not found, and so not shown.
            Hosting::None | Hosting::Dropped => ("unknown", None, None),
            Hosting::Here(peer) => ("hosted", Some(peer.address), None),
            Hosting::Away(absence) => ("host_away", None, Some(absence)),
            Hosting::Orphaned(absence) => ("orphaned", None, Some(absence)),
        };
        Self {
            state: state.to_owned(),
            host_addr,
            host_away_ms: absence.map(|absence| absence.gone_ms),
            takeover_in_ms: absence.map(|absence| absence.takeover_in_ms),
            drop_in_ms: absence.and_then(|absence| absence.drop_in_ms),
        }
    }
}

/// What else is known of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicMore {
    /// Where its host is.
    #[serde(flatten)]
    pub whereabouts: Whereabouts,
    /// The log is kept on disk by the host.
    pub durable: bool,
    /// How much of it subscribers keep, when its host has limited that.
    #[serde(default, skip_serializing_if = "RetentionView::is_default")]
    pub retention: RetentionView,
    /// A majority of the seeds confirmed this.
    pub confirmed: bool,
    /// This peer receives it.
    pub subscribed: bool,
    /// Messages that this peer retains.
    pub retained_messages: u64,
    /// Their bytes.
    pub retained_bytes: u64,
    /// Messages a second that this peer saw over the last ten, in thousandths.
    pub rate_milli: u64,
}

impl From<&TopicInfo> for TopicMore {
    fn from(info: &TopicInfo) -> Self {
        let local = info.local.unwrap_or_default();
        Self {
            whereabouts: Whereabouts::from(info.hosting),
            durable: info.record.policy.durable,
            retention: RetentionView::from(&info.record.policy),
            confirmed: info.confirmed,
            subscribed: info.local.is_some(),
            retained_messages: local.messages,
            retained_bytes: local.bytes,
            rate_milli: local.rate_milli,
        }
    }
}

impl From<TopicInfo> for TopicView {
    fn from(info: TopicInfo) -> Self {
        Self {
            topic: info.record.topic.to_string(),
            host: info.record.host.to_string(),
            generation: info.record.generation,
            created_at: time_us(info.record.created_at_us),
            subscribers: info.subscribers,
            more: Some(TopicMore::from(&info)),
        }
    }
}

impl From<TopicItem> for TopicView {
    fn from(item: TopicItem) -> Self {
        Self {
            topic: item.topic.to_string(),
            host: item.host.to_string(),
            generation: item.generation,
            created_at: time_us(item.created_at_us),
            subscribers: item.subscribers,
            more: None,
        }
    }
}

/// Topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicsView {
    /// How many match.
    pub total: usize,
    /// A page of them.
    pub topics: Vec<TopicView>,
}
