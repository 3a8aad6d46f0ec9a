//! Filters on the control port: a name with `+` or `#` where a topic may stand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::value::RawValue;
use tidings_proto::peer::event::CommandError;
use tidings_proto::{Topic, TopicFilter};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::control::answer::Done;
use crate::control::connection::Connection;
use crate::control::error::Problem;
use crate::control::output::{Closed, Output};
use crate::control::streams::Streams;
use crate::error::Error;
use crate::peer::Peer;
use crate::session::{AGAIN, Received, WAITING_MAX, since};
use crate::subscribe::SubscribeOptions;

/// Whether a name that a client gave is a filter: names of topics contain no wildcards.
pub(crate) fn is_filter(name: &str) -> bool {
    name.contains(['+', '#'])
}

/// The filters that one connection gets as events. Dropping them ends them.
#[derive(Debug, Default)]
pub(crate) struct FilterStreams {
    filters: BTreeMap<TopicFilter, DropGuard>,
}

impl Connection {
    /// Receives all topics that a filter selects.
    pub(crate) async fn subscribe_filter(
        &mut self,
        id: Option<&RawValue>,
        filter: &str,
        (options, received): (SubscribeOptions, Received),
        (stream, answer): (bool, Result<serde_json::Value, Problem>),
    ) -> Result<(), Closed> {
        if !stream || self.named.is_some() {
            let session = self.session();
            let done = session.subscribe_filter_as(filter, options, received, stream).await;
            let answer = done.map_err(Problem::from).and(answer);
            return self.answer(id, answer).await;
        }
        // What appears while the topics that are there are subscribed to is not missed.
        let begun = Instant::now();
        match self.open_filter(filter, options, &received).await {
            Ok(None) => self.answer(id, answer).await,
            Ok(Some((filter, subscriptions, appeared))) => {
                // The answer comes before the first event.
                self.answer(id, answer).await?;
                for subscription in subscriptions {
                    self.streams.start_matching(subscription, self.output.clone());
                }
                let stop = CancellationToken::new();
                let guard = stop.clone().drop_guard();
                self.filters.filters.insert(filter.clone(), guard);
                let (peer, streams) = (self.shared.peer.clone(), self.streams.clone());
                let how = (options, received, begun);
                let follow = follow(peer, streams, self.output.clone(), how, appeared);
                let runtime = self.shared.peer.runtime().clone();
                let peer = self.shared.peer.clone();
                runtime.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = follow => {}
                    }
                    // The peer may have stopped: then nothing is watched anyway.
                    let _ = peer.inner.unwatch(&filter).await;
                });
                Ok(())
            }
            Err(problem) => self.answer::<Done>(id, Err(problem)).await,
        }
    }

    /// What there is of a filter; `None` when it is streamed already.
    async fn open_filter(
        &mut self,
        filter: &str,
        options: SubscribeOptions,
        received: &Received,
    ) -> Result<Option<(TopicFilter, Vec<crate::Subscription>, mpsc::Receiver<Topic>)>, Problem>
    {
        let filter = TopicFilter::new(filter).map_err(Error::from)?;
        if self.filters.filters.contains_key(&filter) {
            return Ok(None);
        }
        self.streams.check_room()?;
        let (topics, appeared) = self.shared.peer.inner.watch(&filter).await?;
        let mut subscriptions = Vec::new();
        for topic in topics {
            if self.streams.has(topic.as_str()) {
                continue;
            }
            let received = received.get(&topic).map_or(&[][..], Vec::as_slice);
            match self.shared.peer.subscribe_matching(topic.as_str(), received, options).await {
                Ok(subscription) => subscriptions.push(subscription),
                // It was deleted meanwhile.
                Err(Error::Refused(CommandError::TopicNotFound(_))) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some((filter, subscriptions, appeared)))
    }

    /// Ends this connection's stream of a filter; when it has none, the session's filter.
    pub(crate) async fn unsubscribe_filter(&mut self, filter: &str) -> Result<Done, Problem> {
        let name = TopicFilter::new(filter).map_err(Error::from)?;
        if self.filters.filters.remove(&name).is_none() {
            self.session().unsubscribe_filter(filter).await?;
            return Ok(Done {});
        }
        let others: Vec<_> = self.filters.filters.keys().cloned().collect();
        let unwanted =
            |topic: &Topic| name.matches(topic) && !others.iter().any(|other| other.matches(topic));
        for topic in self.streams.matching(unwanted) {
            if let Some(subscription) = self.streams.end(topic.as_str()).await {
                subscription.unsubscribe().await?;
            }
        }
        Ok(Done {})
    }
}

/// Streams the topics that appear, from when the filter was `begun`.
async fn follow(
    peer: Peer,
    mut streams: Streams,
    output: Output,
    (options, received, begun): (SubscribeOptions, Received, Instant),
    mut appeared: mpsc::Receiver<Topic>,
) {
    let mut waiting = BTreeSet::new();
    loop {
        let topics = tokio::select! {
            biased;
            topic = appeared.recv() => match topic {
                Some(topic) => BTreeSet::from([topic]),
                None => return,
            },
            () = tokio::time::sleep(AGAIN), if !waiting.is_empty() => std::mem::take(&mut waiting),
        };
        for topic in topics {
            if streams.has(topic.as_str()) || streams.check_room().is_err() {
                continue;
            }
            let options = SubscribeOptions { from: since(begun), ..options };
            let received = received.get(&topic).map_or(&[][..], Vec::as_slice);
            match peer.subscribe_matching(topic.as_str(), received, options).await {
                Ok(subscription) => streams.start_matching(subscription, output.clone()),
                Err(error) if error.passes() && waiting.len() < WAITING_MAX => {
                    waiting.insert(topic);
                }
                Err(error) => tracing::warn!(%topic, %error, "matching_topic_not_received"),
            }
        }
    }
}
