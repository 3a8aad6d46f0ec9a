//! A subscription: the application's end of a journal.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use tidings_proto::Topic;
use tidings_proto::wire::batch::Batch;

use crate::delivery::Delivery;
use crate::error::Error;
use crate::journal::Reader;
use crate::peer::Inner;

/// Receives a topic. Dropping it ends it, and the last one of a topic takes the peer out of the
/// topic.
///
/// What is not read waits, once for all subscriptions of the topic, within the limits of the
/// subscription's [`crate::Policy`]; beyond them the oldest go and a [`crate::Gap`] says exactly
/// what is missing.
///
/// It is a [`Stream`] of [`Delivery`]. Dropping a future of [`Self::next`] loses nothing.
pub struct Subscription {
    /// `None` only while it is dropped.
    reader: Option<Reader>,
    peer: Arc<Inner>,
    ended: bool,
}

impl Subscription {
    pub(crate) fn new(reader: Reader, peer: Arc<Inner>) -> Self {
        Self { reader: Some(reader), peer, ended: false }
    }

    pub(crate) fn reader(&self) -> &Reader {
        self.reader.as_ref().expect("it is there until the subscription is dropped")
    }

    fn reader_mut(&mut self) -> &mut Reader {
        self.reader.as_mut().expect("it is there until the subscription is dropped")
    }

    /// Goes on with another reader of the same journal.
    pub(crate) fn replace_reader(&mut self, reader: Reader) {
        self.reader = Some(reader);
    }

    /// Begins with the message that the topic retains.
    pub(crate) fn begin_with(&mut self, batch: &Arc<Batch>) {
        self.reader_mut().begin_with(batch);
    }

    /// The topic.
    pub fn topic(&self) -> &Topic {
        self.reader().topic()
    }

    /// The next delivery; `None` when the topic was deleted or the peer has stopped, and
    /// everything before that was read. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Delivery> {
        poll_fn(|cx| self.reader_mut().poll_next(cx)).await
    }

    /// The next delivery if it is here already.
    pub fn try_next(&mut self) -> Option<Delivery> {
        self.reader_mut().try_next()
    }

    /// How many messages wait to be read.
    pub fn pending(&self) -> usize {
        self.reader().len()
    }

    /// How many messages it has lost so far because they were not read in time.
    pub fn dropped(&self) -> u64 {
        self.reader().dropped()
    }

    /// Whether everything was read and nothing follows.
    pub fn is_finished(&self) -> bool {
        self.reader().is_finished()
    }

    /// Whether nothing follows what waits to be read.
    pub(crate) fn has_ended(&self) -> bool {
        self.reader().is_closed()
    }

    /// Takes over what an ended subscription of the same topic holds, to be read first.
    pub(crate) fn inherit(&mut self, former: &mut Self) {
        let former = former.reader_mut();
        self.reader_mut().inherit(former);
    }

    /// Ends the subscription and waits until the peer is out of the topic, when this was the
    /// last one.
    ///
    /// # Errors
    /// The peer has stopped, or did not answer in time; the subscription is over all the same.
    pub async fn unsubscribe(mut self) -> Result<(), Error> {
        let topic = self.end();
        let peer = Arc::clone(&self.peer);
        self.peer.to_the_end(async move { peer.leave_topic(topic).await }).await
    }

    /// Takes the reader out. Returns the topic.
    fn end(&mut self) -> Topic {
        self.ended = true;
        let journal = Arc::clone(self.reader().journal());
        self.reader = None;
        self.peer.shared.fanout.forget(&journal);
        journal.topic().clone()
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reader {
            Some(reader) => write!(f, "Subscription({} {} waiting)", reader.topic(), reader.len()),
            None => write!(f, "Subscription(ended)"),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if self.ended || self.reader.is_none() {
            return;
        }
        let topic = self.end();
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

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.reader_mut().poll_next(cx)
    }
}
