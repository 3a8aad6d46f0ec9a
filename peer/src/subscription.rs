//! A subscription: the application's end of a queue.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use tidings_proto::Topic;

use crate::delivery::Delivery;
use crate::error::Error;
use crate::peer::Inner;
use crate::queue::Queue;

/// Receives a topic. Dropping it ends it, and the last one of a topic takes the peer out of the
/// topic.
///
/// What is not read waits in a bounded queue ([`crate::QueueLimits`]); when it is full the oldest
/// batch makes room and a [`crate::Gap`] says exactly what is missing.
pub struct Subscription {
    queue: Arc<Queue>,
    peer: Arc<Inner>,
    ended: bool,
}

impl Subscription {
    pub(crate) fn new(queue: Arc<Queue>, peer: Arc<Inner>) -> Self {
        Self { queue, peer, ended: false }
    }

    /// The topic.
    pub fn topic(&self) -> &Topic {
        self.queue.topic()
    }

    /// The next delivery; `None` when the topic was deleted or the peer has stopped, and
    /// everything before that was read. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Delivery> {
        poll_fn(|cx| self.queue.poll_next(cx)).await
    }

    /// The next delivery if it is here already.
    pub fn try_next(&mut self) -> Option<Delivery> {
        self.queue.try_next()
    }

    /// How many messages wait to be read.
    pub fn pending(&self) -> usize {
        self.queue.len()
    }

    /// How many messages were dropped so far because they were not read in time.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Whether everything was read and nothing follows.
    pub fn is_finished(&self) -> bool {
        self.queue.is_finished()
    }

    /// Whether nothing follows what waits to be read.
    pub(crate) fn has_ended(&self) -> bool {
        self.queue.is_closed()
    }

    /// Takes over what an ended subscription of the same topic holds, to be read first.
    pub(crate) fn inherit(&self, former: &Self) {
        self.queue.inherit(&former.queue);
    }

    /// Ends the subscription and waits until the peer is out of the topic, when this was the
    /// last one.
    ///
    /// # Errors
    /// The peer has stopped, or did not answer in time; the subscription is over all the same.
    pub async fn unsubscribe(mut self) -> Result<(), Error> {
        self.ended = true;
        self.peer.shared.fanout.remove(&self.queue);
        let (peer, topic) = (Arc::clone(&self.peer), self.queue.topic().clone());
        // In a task of its own, so that it is done even when this future is dropped.
        let task = self.peer.runtime.spawn(async move { peer.leave_topic(topic).await });
        task.await.unwrap_or(Err(Error::Stopped))
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscription({} {} waiting)", self.queue.topic(), self.queue.len())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.peer.shared.fanout.remove(&self.queue);
        let topic = self.queue.topic().clone();
        if !self.peer.shared.fanout.wants(&topic) && !self.peer.handle.is_stopped() {
            let peer = Arc::clone(&self.peer);
            self.peer.runtime.spawn(async move {
                // Nobody is left to be told.
                let _ = peer.leave_topic(topic).await;
            });
        }
    }
}

impl Stream for Subscription {
    type Item = Delivery;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.queue.poll_next(cx)
    }
}
