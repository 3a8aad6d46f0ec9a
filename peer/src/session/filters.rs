//! Filters of a session: it receives all topics that they select, those created later included.
//! Each topic is received once, however many filters select it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tidings_proto::peer::event::{CommandError, From};
use tidings_proto::{Topic, TopicFilter};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::state::State;
use super::{Session, Sessions};
use crate::error::Error;
use crate::peer::{Inner, Peer};
use crate::subscribe::SubscribeOptions;

/// What appears is received from when the filter was subscribed to on, and this much earlier:
/// news of a topic and its first messages travel on different ways.
pub(crate) const LOOK_BACK: Duration = Duration::from_secs(1);

/// The filters of a session, and the topics that it receives for their sake alone.
#[derive(Debug, Default)]
pub(super) struct Followed {
    inner: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    filters: BTreeMap<TopicFilter, DropGuard>,
    topics: BTreeSet<Topic>,
}

impl Followed {
    /// Whether topics may come that a pull waits for: those of one filter, or any.
    pub(super) fn awaits(&self, wanted: Option<&TopicFilter>) -> bool {
        let inner = self.lock();
        match wanted {
            Some(wanted) => inner.filters.keys().any(|filter| overlap(filter, wanted)),
            None => !inner.filters.is_empty(),
        }
    }

    /// Whether there is a subscription to just this filter.
    fn has(&self, filter: &TopicFilter) -> bool {
        self.lock().filters.contains_key(filter)
    }

    /// Whether a filter selects the topic.
    pub(super) fn selects(&self, topic: &Topic) -> bool {
        self.lock().filters.keys().any(|filter| filter.matches(topic))
    }

    /// The topic is received for its own sake from now on, or for that of filters.
    pub(super) fn set_own(&self, topic: &Topic, own: bool) {
        let mut inner = self.lock();
        if own {
            inner.topics.remove(topic);
        } else {
            inner.topics.insert(topic.clone());
        }
    }

    /// Ends a filter. Returns the topics that are wanted no more, or `None` when there is no such
    /// filter.
    fn end(&self, filter: &TopicFilter) -> Option<Vec<Topic>> {
        let mut inner = self.lock();
        inner.filters.remove(filter)?;
        let Inside { filters, topics } = &mut *inner;
        let unwanted = |topic: &&Topic| {
            filter.matches(topic) && !filters.keys().any(|other| other.matches(topic))
        };
        let unwanted: Vec<Topic> = topics.iter().filter(unwanted).cloned().collect();
        topics.retain(|topic| !unwanted.contains(topic));
        Some(unwanted)
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Receives all topics that an MQTT filter selects, to be pulled. Those that exist by now
    /// are received when this returns; each that is created later, from its creation on.
    ///
    /// # Errors
    /// The text is no filter, or a limit is reached.
    pub async fn subscribe_filter(
        &self,
        filter: &str,
        options: impl Into<SubscribeOptions>,
    ) -> Result<(), Error> {
        let (filter, options) = (TopicFilter::new(filter)?, options.into());
        if self.state.followed.has(&filter) {
            return Ok(());
        }
        let since = Instant::now();
        let (topics, appeared) = self.peer.inner.watch(&filter).await?;
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        self.state.followed.lock().filters.insert(filter.clone(), guard);
        for topic in topics {
            self.follow(&topic, options).await?;
        }
        let follower = Follower {
            peer: Arc::downgrade(&self.peer.inner),
            sessions: Arc::downgrade(&self.peer.sessions),
            state: Arc::downgrade(&self.state),
            name: self.name.clone(),
            options,
            since,
        };
        self.peer.runtime().spawn(follower.run(filter, appeared, stop));
        self.state.changed();
        Ok(())
    }

    /// Receives the topics of a filter no more, but for those that it receives for their own
    /// sake or for that of another filter.
    ///
    /// # Errors
    /// The text is no filter, the session has no such filter, or the peer has stopped.
    pub async fn unsubscribe_filter(&self, filter: &str) -> Result<(), Error> {
        let filter = TopicFilter::new(filter)?;
        let Some(unwanted) = self.state.followed.end(&filter) else {
            return Err(Error::NotSubscribed(None));
        };
        for topic in unwanted {
            match self.unsubscribe(topic.as_str()).await {
                // It was deleted meanwhile.
                Ok(()) | Err(Error::NotSubscribed(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.peer.inner.unwatch(&filter).await
    }

    async fn follow(&self, topic: &Topic, options: SubscribeOptions) -> Result<(), Error> {
        let has = self.state.lock().get(topic).is_some_and(|k| !k.subscription.has_ended());
        if has {
            return Ok(());
        }
        match self.subscribe_as(topic.as_str(), options, &[], false).await {
            Ok(()) => {
                self.state.followed.set_own(topic, false);
                Ok(())
            }
            // It was deleted again before it could be received, or is not durable as others are.
            Err(Error::Refused(CommandError::TopicNotFound(_)) | Error::NotDurable(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What receives topics that appear, as long as the session is there.
struct Follower {
    peer: Weak<Inner>,
    sessions: Weak<Sessions>,
    state: Weak<State>,
    name: Option<String>,
    options: SubscribeOptions,
    since: Instant,
}

impl Follower {
    async fn run(
        self,
        filter: TopicFilter,
        mut appeared: mpsc::Receiver<Topic>,
        stop: CancellationToken,
    ) {
        loop {
            let topic = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                topic = appeared.recv() => topic,
            };
            let (Some(topic), Some(session)) = (topic, self.session()) else { break };
            let options = SubscribeOptions { from: since(self.since), ..self.options };
            if let Err(error) = session.follow(&topic, options).await {
                tracing::warn!(%topic, %filter, %error, "matching_topic_not_received");
            }
        }
        drop(appeared);
        if let Some(peer) = self.peer.upgrade() {
            // The peer may have stopped: then nothing is watched anyway.
            let _ = peer.unwatch(&filter).await;
        }
    }

    /// A handle that is nobody's use of the session: dropping it loses nothing.
    fn session(&self) -> Option<Session> {
        let peer = Peer { inner: self.peer.upgrade()?, sessions: self.sessions.upgrade()? };
        let (state, name) = (self.state.upgrade()?, self.name.clone());
        Some(Session { peer, state, name, ended: AtomicBool::new(true) })
    }
}

/// From an instant on.
pub(crate) fn since(since: Instant) -> From {
    From::Since(since.elapsed() + LOOK_BACK)
}

/// Whether a topic can be of both filters.
fn overlap(one: &TopicFilter, other: &TopicFilter) -> bool {
    let (mut one, mut other) = (one.as_str().split('/'), other.as_str().split('/'));
    loop {
        match (one.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_overlap_where_a_topic_is_of_both() {
        let filter = |text| TopicFilter::new(text).expect("legal");
        for (one, other, both) in [
            ("a/+", "a/b", true),
            ("+/b", "a/+", true),
            ("a/#", "a", true),
            ("#", "x/y", true),
            ("a/+", "b/+", false),
            ("a/+", "a", false),
            ("a/b/c", "a/+", false),
        ] {
            assert_eq!(overlap(&filter(one), &filter(other)), both, "{one} {other}");
            assert_eq!(overlap(&filter(other), &filter(one)), both, "{other} {one}");
        }
    }
}
