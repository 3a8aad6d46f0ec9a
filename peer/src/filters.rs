//! Filters: which are watched, who is told of the topics that appear, and a subscription to all
//! topics of one.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;
use tidings_proto::peer::event::{Answer, Command, CommandError};
use tidings_proto::{Topic, TopicFilter};
use tokio::sync::mpsc;

use crate::delivery::Delivery;
use crate::error::Error;
use crate::peer::{Inner, Peer, wait};
use crate::pending::Extra;
use crate::session::{AGAIN, since};
use crate::subscribe::SubscribeOptions;
use crate::subscription::Subscription;

/// Topics that appeared and that a watcher has not looked at; what is beyond is only logged. As
/// many as a peer may take part in (design §9).
const APPEARED_MAX: usize = 10_000;

/// The watched filters of a peer.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    watchers: Mutex<BTreeMap<TopicFilter, Vec<mpsc::Sender<Topic>>>>,
}

impl Filters {
    /// Tells of all topics that `filter` selects and that appear from now on. The receiver ends
    /// it by being dropped.
    pub(crate) fn watch(&self, filter: &TopicFilter) -> mpsc::Receiver<Topic> {
        let (sender, receiver) = mpsc::channel(APPEARED_MAX);
        self.lock().entry(filter.clone()).or_default().push(sender);
        receiver
    }

    /// Forgets watchers of `filter` that are gone. Returns whether nobody is left.
    pub(crate) fn tidy(&self, filter: &TopicFilter) -> bool {
        let mut watchers = self.lock();
        let Some(senders) = watchers.get_mut(filter) else { return true };
        senders.retain(|sender| !sender.is_closed());
        let is_empty = senders.is_empty();
        if is_empty {
            watchers.remove(filter);
        }
        is_empty
    }

    /// A topic is there that was not known before.
    pub(crate) fn appeared(&self, topic: &Topic) {
        for (filter, senders) in &*self.lock() {
            if !filter.matches(topic) {
                continue;
            }
            for sender in senders {
                if let Err(mpsc::error::TrySendError::Full(_)) = sender.try_send(topic.clone()) {
                    tracing::warn!(%topic, %filter, "appeared_topic_dropped");
                }
            }
        }
    }

    /// The peer has stopped: nobody is told any more.
    pub(crate) fn stop(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TopicFilter, Vec<mpsc::Sender<Topic>>>> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Watches a filter: the topics that it selects now, and those that appear from now on; a
    /// topic may come both ways.
    pub(crate) async fn watch(
        &self,
        filter: &TopicFilter,
    ) -> Result<(Vec<Topic>, mpsc::Receiver<Topic>), Error> {
        let gate = self.membership.lock().await;
        let appeared = self.shared.filters.watch(filter);
        let ticket = self.shared.pending.ticket(Extra::None)?;
        let (request, name) = (ticket.request, filter.clone());
        self.send(Command::WatchFilter { request, filter: name }).await?;
        // Whoever watches it no more by now was before, and does not take it away.
        drop(gate);
        match wait(ticket).await? {
            Answer::Matching(topics) => Ok((topics, appeared)),
            other => crate::peer::unexpected(&other),
        }
    }

    /// Watches a filter no more, unless somebody else does.
    pub(crate) async fn unwatch(&self, filter: &TopicFilter) -> Result<(), Error> {
        let gate = self.membership.lock().await;
        if !self.shared.filters.tidy(filter) {
            return Ok(());
        }
        let ticket = self.shared.pending.ticket(Extra::None)?;
        let (request, name) = (ticket.request, filter.clone());
        self.send(Command::UnwatchFilter { request, filter: name }).await?;
        drop(gate);
        wait(ticket).await.map(drop)
    }
}

/// Receives all topics that a filter selects, those created later included. It is a stream of
/// [`Delivery`] as [`Subscription`] is; each topic's messages come in order.
pub struct FilterSubscription {
    filter: TopicFilter,
    options: SubscribeOptions,
    since: Instant,
    peer: Peer,
    appeared: mpsc::Receiver<Topic>,
    joining: Vec<Joining>,
    topics: BTreeMap<Topic, Subscription>,
    /// Where the next look for something to read begins.
    turn: usize,
}

type Joining = Pin<Box<dyn Future<Output = (Topic, Result<Subscription, Error>)> + Send>>;

impl Peer {
    /// Receives all topics that an MQTT filter selects: those that exist, and each that is
    /// created later from its creation on. Where logs are to be kept (`durable`), those of the
    /// topics that are durable are.
    ///
    /// # Errors
    /// The text is no filter, or a limit is reached.
    pub async fn subscribe_filter(
        &self,
        filter: &str,
        options: impl Into<SubscribeOptions>,
    ) -> Result<FilterSubscription, Error> {
        let (filter, options) = (TopicFilter::new(filter)?, options.into());
        let subscribing = self.clone().receive_filter(filter, options);
        self.inner.to_the_end(subscribing).await
    }

    async fn receive_filter(
        self,
        filter: TopicFilter,
        options: SubscribeOptions,
    ) -> Result<FilterSubscription, Error> {
        let since = Instant::now();
        let (topics, appeared) = self.inner.watch(&filter).await?;
        // From here on dropping it cleans up.
        let mut all = FilterSubscription {
            filter,
            options,
            since,
            peer: self.clone(),
            appeared,
            joining: Vec::new(),
            topics: BTreeMap::new(),
            turn: 0,
        };
        for topic in topics {
            match self.subscribe_matching(topic.as_str(), &[], options).await {
                Ok(subscription) => drop(all.topics.insert(topic, subscription)),
                // It was deleted meanwhile.
                Err(Error::Refused(CommandError::TopicNotFound(_))) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }
}

impl FilterSubscription {
    /// The filter.
    pub fn filter(&self) -> &TopicFilter {
        &self.filter
    }

    /// The topics that it receives now, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.keys()
    }

    /// The next delivery; `None` when the peer has stopped. Nothing is lost when the future is
    /// dropped.
    pub async fn next(&mut self) -> Option<Delivery> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Joins the topics that have appeared.
    fn poll_joining(&mut self, cx: &mut Context<'_>) -> bool {
        let mut open = true;
        loop {
            match self.appeared.poll_recv(cx) {
                Poll::Ready(Some(topic)) if self.is_live(&topic) => {}
                Poll::Ready(Some(topic)) => self.join(topic, Duration::ZERO),
                Poll::Ready(None) => {
                    open = false;
                    break;
                }
                Poll::Pending => break,
            }
        }
        let mut at = 0;
        while let Some(joining) = self.joining.get_mut(at) {
            let Poll::Ready((topic, joined)) = joining.as_mut().poll(cx) else {
                at += 1;
                continue;
            };
            drop(self.joining.swap_remove(at));
            match joined {
                // It has appeared twice.
                Ok(_) if self.is_live(&topic) => {}
                Ok(mut subscription) => {
                    if let Some(mut former) = self.topics.remove(&topic) {
                        subscription.inherit(&mut former);
                    }
                    self.topics.insert(topic, subscription);
                }
                Err(error) if error.passes() => self.join(topic, AGAIN),
                Err(error) => tracing::warn!(%topic, %error, "matching_topic_not_received"),
            }
        }
        open
    }

    /// Whether more of the topic may come than what waits to be read.
    fn is_live(&self, topic: &Topic) -> bool {
        self.topics.get(topic).is_some_and(|subscription| !subscription.has_ended())
    }

    /// Subscribes to a topic that has appeared, after a pause.
    fn join(&mut self, topic: Topic, pause: Duration) {
        let (peer, options, begun) = (self.peer.clone(), self.options, self.since);
        self.joining.push(Box::pin(async move {
            if !pause.is_zero() {
                // On the peer's runtime: whoever polls this may have none. Its end ends all.
                let _ = peer.runtime().spawn(async move { tokio::time::sleep(pause).await }).await;
            }
            let options = SubscribeOptions { from: since(begun), ..options };
            let joined = peer.subscribe_matching(topic.as_str(), &[], options).await;
            (topic, joined)
        }));
    }
}

impl Stream for FilterSubscription {
    type Item = Delivery;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let this = self.get_mut();
        let open = this.poll_joining(cx);
        let count = this.topics.len();
        let mut ended = Vec::new();
        let mut found = None;
        let (first, turn) = (this.turn.checked_rem(count).unwrap_or(0), this.turn);
        for step in 0..count {
            let place = (first + step) % count;
            let Some((topic, subscription)) = this.topics.iter_mut().nth(place) else { break };
            match Pin::new(subscription).poll_next(cx) {
                Poll::Ready(Some(delivery)) => {
                    this.turn = turn.wrapping_add(step + 1);
                    found = Some(delivery);
                    break;
                }
                Poll::Ready(None) => ended.push(topic.clone()),
                Poll::Pending => {}
            }
        }
        for topic in ended {
            this.topics.remove(&topic);
        }
        match found {
            Some(delivery) => Poll::Ready(Some(delivery)),
            None if !open && this.topics.is_empty() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for FilterSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FilterSubscription({} {} topics)", self.filter, self.topics.len())
    }
}

impl Drop for FilterSubscription {
    fn drop(&mut self) {
        self.appeared.close();
        if self.peer.inner.handle.is_stopped() {
            return;
        }
        let (peer, filter) = (Arc::clone(&self.peer.inner), self.filter.clone());
        self.peer.inner.runtime.spawn(async move {
            // Nobody is left to be told.
            let _ = peer.unwatch(&filter).await;
        });
    }
}
