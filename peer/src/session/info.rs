//! Sessions as lists show them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tidings_proto::Topic;

use super::kept::Kept;
use crate::subscribe::SubscribeOptions;

/// A list of sessions shows as many subscriptions of each; `topics` counts all.
pub const SUBSCRIPTIONS_SHOWN_MAX: usize = 64;

/// What a session is about, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Its name; `None` for the permanent one.
    pub name: Option<String>,
    /// Somebody is connected with it.
    pub live: bool,
    /// The session of a user who is gone ends after this, unless somebody connects with it.
    pub expires_in: Option<Duration>,
    /// How many topics it receives.
    pub topics: usize,
    /// How many messages wait in it.
    pub unread: usize,
    /// What it receives, at most [`SUBSCRIPTIONS_SHOWN_MAX`].
    pub subscriptions: Vec<SubscriptionInfo>,
}

/// A subscription of a session, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionInfo {
    /// The topic.
    pub topic: Topic,
    /// It comes as events, not on request.
    pub stream: bool,
    /// How it was asked for.
    pub options: SubscribeOptions,
    /// How many messages wait.
    pub unread: usize,
    /// The number of the next message that is not handed out, among all of the topic that came to
    /// this peer.
    pub cursor: u64,
    /// The place of the last delivery that was handed out; see [`crate::Numbered::pos`].
    pub pos: u64,
    /// Deliveries that were handed out and are not known to have arrived.
    pub unconfirmed: usize,
}

impl SessionInfo {
    /// A session that ends at `ends`, or is in use.
    pub(super) fn new(
        name: Option<String>,
        ends: Option<Instant>,
        topics: &BTreeMap<Topic, Kept>,
    ) -> Self {
        Self {
            name,
            live: ends.is_none(),
            expires_in: ends.map(|ends| ends.saturating_duration_since(Instant::now())),
            topics: topics.len(),
            unread: topics.values().map(Kept::pending).sum(),
            subscriptions: topics
                .iter()
                .take(SUBSCRIPTIONS_SHOWN_MAX)
                .map(SubscriptionInfo::from)
                .collect(),
        }
    }
}

impl From<(&Topic, &Kept)> for SubscriptionInfo {
    fn from((topic, kept): (&Topic, &Kept)) -> Self {
        Self {
            topic: topic.clone(),
            stream: kept.stream,
            options: kept.options,
            unread: kept.pending(),
            cursor: kept.subscription.reader().ordinal(),
            pos: kept.handed_out(),
            unconfirmed: kept.unconfirmed(),
        }
    }
}
