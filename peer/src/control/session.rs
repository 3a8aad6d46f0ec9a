//! A session: subscriptions whose messages are kept until somebody pulls them.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream as _;
use tidings_proto::Topic;
use tidings_proto::peer::event::From;
use tokio::sync::Notify;

use crate::control::answer::{GapView, MessageView, PullView};
use crate::control::error::{Code, Problem};
use crate::delivery::{Delivery, GapReason};
use crate::peer::Peer;
use crate::subscription::Subscription;

/// Bytes of message bodies in one answer to `pull`; the message that goes over it is the last.
const PULL_BYTES_MAX: usize = 4 << 20;

/// The permanent session of a peer, shared by all connections of its control port. Each
/// subscription has the library's bounded queue; what overflows there is told by the next pull.
#[derive(Debug)]
pub(crate) struct Session {
    topics: Mutex<BTreeMap<Topic, Subscription>>,
    /// The set of subscriptions has changed.
    changed: Notify,
    subscriptions_max: usize,
}

/// What a pull has collected.
#[derive(Debug, Default)]
struct Pulled {
    view: PullView,
    bytes: usize,
}

impl Session {
    pub(crate) fn new(subscriptions_max: usize) -> Self {
        Self { topics: Mutex::default(), changed: Notify::new(), subscriptions_max }
    }

    /// Keeps the messages of `topic` from now on. A topic that is kept already is fine.
    pub(crate) async fn subscribe(
        &self,
        peer: &Peer,
        topic: &str,
        from: From,
    ) -> Result<(), Problem> {
        let name = Topic::new(topic).map_err(crate::error::Error::from)?;
        {
            let topics = self.lock();
            if topics.get(&name).is_some_and(|kept| !kept.has_ended()) {
                return Ok(());
            }
            if topics.len() >= self.subscriptions_max && !topics.contains_key(&name) {
                let limit = self.subscriptions_max;
                let message =
                    format!("limit reached: subscriptions of a session (at most {limit})");
                return Err(Problem::new(Code::Limit, message));
            }
        }
        let subscription = peer.subscribe_from(topic, from).await?;
        let mut topics = self.lock();
        // Another connection may have been faster; its subscription began earlier and stays.
        match topics.get(&name) {
            Some(kept) if !kept.has_ended() => {}
            former => {
                // A topic of that name was deleted; what came before that can still be pulled.
                if let Some(former) = former {
                    subscription.inherit(former);
                }
                topics.insert(name, subscription);
            }
        }
        drop(topics);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Takes a subscription out of the session.
    pub(crate) fn remove(&self, topic: &str) -> Option<Subscription> {
        let name = Topic::new(topic).ok()?;
        let removed = self.lock().remove(&name);
        self.changed.notify_waiters();
        removed
    }

    /// Takes what is kept of `topic`, or of all topics, and waits for it when there is nothing.
    pub(crate) async fn pull(
        &self,
        topic: Option<&str>,
        max: usize,
        wait: Duration,
    ) -> Result<PullView, Problem> {
        let topic = topic.map(Topic::new).transpose().map_err(crate::error::Error::from)?;
        let deadline = tokio::time::sleep(wait);
        tokio::pin!(deadline);
        loop {
            let changed = self.changed.notified();
            let collected = poll_fn(|cx| self.poll_collect(cx, topic.as_ref(), max));
            tokio::select! {
                biased;
                pulled = collected => return pulled,
                () = &mut deadline => return Ok(PullView::default()),
                () = changed => {}
            }
        }
    }

    /// Ready as soon as there is anything to tell.
    fn poll_collect(
        &self,
        cx: &mut Context<'_>,
        topic: Option<&Topic>,
        max: usize,
    ) -> Poll<Result<PullView, Problem>> {
        let mut topics = self.lock();
        let mut pulled = Pulled::default();
        let mut remaining = 0;
        let mut finished = Vec::new();
        let mut found = 0;
        for (name, subscription) in topics.iter_mut() {
            if topic.is_some_and(|topic| topic != name) {
                continue;
            }
            found += 1;
            while !pulled.is_full(max) {
                match Pin::new(&mut *subscription).poll_next(cx) {
                    Poll::Ready(Some(delivery)) => pulled.add(&delivery),
                    Poll::Ready(None) => {
                        finished.push(name.clone());
                        break;
                    }
                    Poll::Pending => break,
                }
            }
            remaining += subscription.pending();
        }
        let live = found - finished.len();
        for name in finished {
            topics.remove(&name);
        }
        if pulled.is_empty() {
            return match live {
                0 => Poll::Ready(Err(not_subscribed(topic))),
                _ => Poll::Pending,
            };
        }
        Poll::Ready(Ok(PullView { remaining, ..pulled.view }))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Topic, Subscription>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulled {
    fn add(&mut self, delivery: &Delivery) {
        match delivery {
            Delivery::Message(message) => {
                self.bytes += message.body.len();
                self.view.messages.push(MessageView::from(message));
            }
            Delivery::Gap(gap) => {
                if gap.reason == GapReason::SlowConsumer {
                    self.view.dropped += gap.count();
                }
                self.view.gaps.push(GapView::from(gap));
            }
            Delivery::TopicDeleted(topic) => self.view.topics_deleted.push(topic.to_string()),
        }
    }

    fn is_full(&self, max: usize) -> bool {
        self.view.messages.len() >= max
            || self.view.gaps.len() >= max
            || self.bytes >= PULL_BYTES_MAX
    }

    fn is_empty(&self) -> bool {
        let PullView { messages, gaps, topics_deleted, .. } = &self.view;
        messages.is_empty() && gaps.is_empty() && topics_deleted.is_empty()
    }
}

pub(crate) fn not_subscribed(topic: Option<&Topic>) -> Problem {
    let message = match topic {
        Some(topic) => format!("not subscribed to '{topic}'"),
        None => "not subscribed to any topic".to_owned(),
    };
    Problem::new(Code::NotSubscribed, message)
}
