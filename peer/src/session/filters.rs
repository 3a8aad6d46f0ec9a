//! Filters of a session: it receives all topics that they select, those created later included.
//! Each topic is received once, however many filters select it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tidings_proto::peer::event::{CommandError, From};
use tidings_proto::{Topic, TopicFilter};
use tokio::sync::futures::Notified;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::state::State;
use super::{Session, Sessions};
use crate::error::Error;
use crate::peer::{Inner, Peer};
use crate::subscribe::{Position, SubscribeOptions};

/// What appears is received from when the filter was subscribed to on, and this much earlier:
/// news of a topic and its first messages travel on different ways.
const LOOK_BACK: Duration = Duration::from_secs(1);

/// Topics that cannot be subscribed to now, for want of a majority of the seeds, are tried again
/// after this.
pub(crate) const AGAIN: Duration = Duration::from_secs(1);
/// Topics of one filter that wait for that; as many as a session may have.
pub(crate) const WAITING_MAX: usize = 10_000;

/// How far streams were received, by topic.
pub(crate) type Received = BTreeMap<Topic, Vec<Position>>;

/// The filters of a session, and the topics that it receives for their sake alone.
#[derive(Debug, Default)]
pub(super) struct Followed {
    inner: Mutex<Inside>,
    /// Held while a filter begins or ends: another request finds it done or undone, not half-way.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Inside {
    /// Each with what ends it.
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

    /// All filters, in order.
    pub(super) fn filters(&self) -> Vec<TopicFilter> {
        self.lock().filters.keys().cloned().collect()
    }

    /// The topic is received for its own sake from now on, or for that of filters. Returns
    /// whether that is news.
    pub(super) fn set_own(&self, topic: &Topic, own: bool) -> bool {
        let mut inner = self.lock();
        if own { inner.topics.remove(topic) } else { inner.topics.insert(topic.clone()) }
    }

    /// A filter begins; what it follows ends when it does.
    fn begin(&self, filter: &TopicFilter) -> CancellationToken {
        let stop = CancellationToken::new();
        self.lock().filters.insert(filter.clone(), stop.clone().drop_guard());
        stop
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
    /// are received when this returns; each that is created later, from its creation on. Where
    /// logs are to be kept (`durable`), those of the topics that are durable are.
    ///
    /// # Errors
    /// The text is no filter, or a limit is reached.
    pub async fn subscribe_filter(
        &self,
        filter: &str,
        options: impl Into<SubscribeOptions>,
    ) -> Result<(), Error> {
        self.subscribe_filter_as(filter, options.into(), Received::new(), false).await
    }

    /// [`Self::subscribe_filter`]; with `stream` its topics are left out by a pull of all topics.
    /// Of what was `received` nothing comes again.
    pub(crate) async fn subscribe_filter_as(
        &self,
        filter: &str,
        options: SubscribeOptions,
        received: Received,
        stream: bool,
    ) -> Result<(), Error> {
        let (filter, session) = (TopicFilter::new(filter)?, self.bystander());
        let subscribing =
            async move { session.subscribe_filter_here(filter, options, received, stream).await };
        self.peer.inner.to_the_end(subscribing).await
    }

    async fn subscribe_filter_here(
        &self,
        filter: TopicFilter,
        options: SubscribeOptions,
        received: Received,
        stream: bool,
    ) -> Result<(), Error> {
        let _changing = self.state.followed.changing.lock().await;
        if self.state.followed.has(&filter) {
            return Ok(());
        }
        let since = Instant::now();
        let (topics, appeared) = self.peer.inner.watch(&filter).await?;
        if self.name.is_none()
            && let Err(error) =
                self.peer.sessions().store.begin_filter(filter.clone(), options).await
        {
            drop(appeared);
            self.peer.inner.unwatch(&filter).await?;
            return Err(error);
        }
        let stop = self.state.followed.begin(&filter);
        let mut follower = Follower::new(self, options, since);
        (follower.received, follower.stream) = (received, stream);
        for topic in topics {
            let received = follower.received_of(&topic);
            if let Err(error) = self.follow(&topic, options, received, stream).await {
                drop(appeared);
                let unwanted = self.state.followed.end(&filter).unwrap_or_default();
                self.end_filter(filter, unwanted).await?;
                return Err(error);
            }
        }
        self.peer.runtime().spawn(follower.run(filter, appeared, stop));
        self.state.changed();
        Ok(())
    }

    /// A filter of the permanent session goes on after a restart. What was published to topics
    /// that appeared meanwhile, for as long as was `missed`, is received too.
    pub(crate) fn resume_filter(
        &self,
        filter: TopicFilter,
        options: SubscribeOptions,
        missed: Duration,
    ) {
        let since = Instant::now().checked_sub(missed).unwrap_or_else(Instant::now);
        let stop = self.state.followed.begin(&filter);
        let follower = Follower::new(self, options, since);
        self.peer.runtime().spawn(follower.resume(filter, stop));
    }

    /// Receives the topics of a filter no more, but for those that it receives for their own
    /// sake or for that of another filter.
    ///
    /// # Errors
    /// The text is no filter, the session has no such filter, or the peer has stopped.
    pub async fn unsubscribe_filter(&self, filter: &str) -> Result<(), Error> {
        let filter = TopicFilter::new(filter)?;
        let _changing = self.state.followed.changing.lock().await;
        let Some(unwanted) = self.state.followed.end(&filter) else {
            return Err(Error::NotSubscribed(None));
        };
        let session = self.bystander();
        let ending = async move { session.end_filter(filter, unwanted).await };
        self.peer.inner.to_the_end(ending).await
    }

    async fn end_filter(&self, filter: TopicFilter, unwanted: Vec<Topic>) -> Result<(), Error> {
        for topic in unwanted {
            match self.unsubscribe(topic.as_str()).await {
                // It was deleted meanwhile.
                Ok(()) | Err(Error::NotSubscribed(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if self.name.is_none() {
            self.peer.sessions().store.end_filter(filter.clone()).await?;
        }
        self.peer.inner.unwatch(&filter).await
    }

    /// Resolves when a topic begins to be streamed, from when this is called on.
    pub(crate) fn streaming(&self) -> Notified<'_> {
        self.state.streaming.notified()
    }

    /// Topics that are streamed.
    pub(crate) fn streamed(&self) -> Vec<Topic> {
        let topics = self.state.lock();
        let streamed = topics.iter().filter(|(_, kept)| kept.stream);
        streamed.map(|(topic, _)| topic.clone()).collect()
    }

    /// Its filters.
    pub fn filters(&self) -> Vec<TopicFilter> {
        self.state.followed.filters()
    }

    async fn follow(
        &self,
        topic: &Topic,
        options: SubscribeOptions,
        received: &[Position],
        stream: bool,
    ) -> Result<(), Error> {
        let has = self.state.lock().get(topic).is_some_and(|k| !k.subscription.has_ended());
        if has {
            return Ok(());
        }
        let mut done = self.subscribe_as(topic.as_str(), options, received, stream).await;
        if let Err(Error::NotDurable(_)) = done {
            // It is received all the same; the logs of others are kept.
            let options = SubscribeOptions { durable: false, ..options };
            done = self.subscribe_as(topic.as_str(), options, received, stream).await;
        }
        match done {
            Ok(()) => {
                self.state.followed.set_own(topic, false);
                if self.name.is_none() {
                    self.peer.sessions().store.set_matching(topic.clone(), true);
                }
                Ok(())
            }
            // It was deleted again before it could be received.
            Err(Error::Refused(CommandError::TopicNotFound(_))) => Ok(()),
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
    received: Received,
    stream: bool,
    since: Instant,
    /// Topics that are to be received and could not be yet.
    waiting: BTreeSet<Topic>,
}

impl Follower {
    fn new(session: &Session, options: SubscribeOptions, since: Instant) -> Self {
        Self {
            peer: Arc::downgrade(&session.peer.inner),
            sessions: Arc::downgrade(&session.peer.sessions),
            state: Arc::downgrade(&session.state),
            name: session.name.clone(),
            options,
            received: Received::new(),
            stream: false,
            since,
            waiting: BTreeSet::new(),
        }
    }

    fn received_of(&self, topic: &Topic) -> &[Position] {
        self.received.get(topic).map_or(&[], Vec::as_slice)
    }

    /// Begins again after a restart, as soon as the machine can be asked.
    async fn resume(mut self, filter: TopicFilter, stop: CancellationToken) {
        loop {
            let Some(peer) = self.peer.upgrade() else { return };
            match peer.watch(&filter).await {
                Ok((topics, appeared)) => {
                    self.waiting.extend(topics);
                    drop(peer);
                    return self.run(filter, appeared, stop).await;
                }
                Err(Error::Stopped) => return,
                Err(error) => tracing::debug!(%filter, %error, "not_watched_yet"),
            }
            drop(peer);
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn run(
        mut self,
        filter: TopicFilter,
        mut appeared: mpsc::Receiver<Topic>,
        stop: CancellationToken,
    ) {
        let mut pause = Duration::ZERO;
        loop {
            let appeared = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                topic = appeared.recv() => match topic {
                    Some(topic) => Some(topic),
                    None => break,
                },
                () = tokio::time::sleep(pause), if !self.waiting.is_empty() => None,
            };
            let Some(session) = self.session() else { break };
            let topics = match appeared {
                Some(topic) => BTreeSet::from([topic]),
                None => std::mem::take(&mut self.waiting),
            };
            for topic in topics {
                self.receive(&session, &filter, topic).await;
            }
            pause = AGAIN;
        }
        drop(appeared);
        if let Some(peer) = self.peer.upgrade() {
            // The peer may have stopped: then nothing is watched anyway.
            let _ = peer.unwatch(&filter).await;
        }
    }

    /// Receives a topic that the filter selects, now or, where nobody can be asked, later.
    async fn receive(&mut self, session: &Session, filter: &TopicFilter, topic: Topic) {
        let options = SubscribeOptions { from: since(self.since), ..self.options };
        let received = self.received_of(&topic);
        let followed = session.follow(&topic, options, received, self.stream).await;
        let Err(error) = followed else { return };
        if error.passes() && self.waiting.len() < WAITING_MAX {
            self.waiting.insert(topic);
        } else {
            tracing::warn!(%topic, %filter, %error, "matching_topic_not_received");
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
