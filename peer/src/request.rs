//! Requests and replies: a message that says where its replies go, and the replies to it.
//!
//! All requests of a peer share one topic of replies, [`Topic::replies_to`], which the peer hosts
//! and receives while requests wait and for a minute more. A `correlation_id` tells the requests
//! apart; it is random, so that nobody else can guess it.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tidings_proto::Topic;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::delivery::{Delivery, Message};
use crate::error::Error;
use crate::outgoing::Outgoing;
use crate::peer::{Inner, Peer};
use crate::publish::Published;
use crate::subscription::Subscription;

/// The header that names the topic for the replies.
pub const REPLY_TO: &str = "reply_to";
/// The header that a reply takes over from its request.
pub const CORRELATION_ID: &str = "correlation_id";

/// Requests of one peer that wait at once; one more is refused as busy. As many as sessions
/// (design §9).
const REQUESTS_MAX: usize = 4_096;
/// Replies to one request that wait to be read; further ones are dropped.
const REPLIES_MAX: usize = 1_024;
/// How often it is checked whether replies are still waited for.
const LOOK: Duration = Duration::from_secs(1);
/// After the last request, replies are received for so many looks: a script that asks now and
/// then finds its way back still open.
const LOOKS_IDLE: u32 = 60;

/// The requests of a peer that wait for replies.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    state: Mutex<State>,
    /// Held while replies begin to be received.
    starting: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<String, mpsc::Sender<Message>>,
    /// Replies are received.
    running: bool,
}

/// The replies to one request, as they come. Dropping it ends the waiting.
pub struct Replies {
    correlation_id: String,
    replies: mpsc::Receiver<Message>,
    published: Published,
    peer: Arc<Inner>,
}

impl Replies {
    /// How the request went out; on 0 links nobody but this peer's own subscriptions got it.
    pub fn published(&self) -> Published {
        self.published
    }

    /// The next reply; `None` when the peer has stopped. It may never come: wait with a time
    /// limit. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Message> {
        self.replies.recv().await
    }
}

impl Stream for Replies {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.replies.poll_recv(cx)
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Replies({})", self.correlation_id)
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        self.peer.requests.lock().waiting.remove(&self.correlation_id);
    }
}

impl Peer {
    /// Publishes a request and waits for the first reply, for at most `timeout`.
    ///
    /// # Errors
    /// As [`Peer::publish`], [`Error::NoReply`], or no majority of seeds that takes the topic
    /// for the replies.
    pub async fn request(
        &self,
        topic: &str,
        message: impl Into<Outgoing>,
        timeout: Duration,
    ) -> Result<Message, Error> {
        let message = message.into();
        let reached = std::sync::atomic::AtomicU32::new(0);
        let asked = async {
            let mut replies = self.request_many(topic, message).await?;
            reached.store(replies.published().reached, std::sync::atomic::Ordering::Relaxed);
            replies.next().await.ok_or(Error::Stopped)
        };
        let answered = tokio::time::timeout(timeout, asked).await;
        answered.unwrap_or_else(|_| Err(Error::NoReply { timeout, reached: reached.into_inner() }))
    }

    /// Publishes a request. Whoever subscribes to `topic` may reply, so there may be any number
    /// of replies.
    ///
    /// # Errors
    /// As [`Peer::publish`], or no majority of seeds that takes the topic for the replies.
    pub async fn request_many(
        &self,
        topic: &str,
        message: impl Into<Outgoing>,
    ) -> Result<Replies, Error> {
        let correlation_id = format!("{:032x}", rand::random::<u128>());
        let message = message
            .into()
            .with_header(REPLY_TO, Topic::replies_to(self.about().node).as_str())?
            .with_header(CORRELATION_ID, &correlation_id)?;
        let (sender, replies) = mpsc::channel(REPLIES_MAX);
        self.inner().requests.enter(&correlation_id, sender)?;
        // From here on dropping it cleans up.
        let published = Published { seq: 0, batch: 0, reached: 0 };
        let peer = Arc::clone(self.inner());
        let mut waiting = Replies { correlation_id, replies, published, peer };
        self.receive_replies().await?;
        waiting.published = self.publish(topic, message).await?;
        Ok(waiting)
    }

    /// Publishes a reply to `request`.
    ///
    /// # Errors
    /// [`Error::NoReplyWanted`], or as [`Peer::publish`]; a topic that is not found says that the
    /// requester is gone.
    pub async fn reply(
        &self,
        request: &Message,
        reply: impl Into<Outgoing>,
    ) -> Result<Published, Error> {
        let topic = request.headers.get(REPLY_TO).ok_or(Error::NoReplyWanted)?;
        let reply = match request.headers.get(CORRELATION_ID) {
            Some(id) => reply.into().with_header(CORRELATION_ID, id)?,
            None => reply.into(),
        };
        self.publish(topic, reply).await
    }

    /// Sees to it that replies to this peer are received.
    async fn receive_replies(&self) -> Result<(), Error> {
        let requests = &self.inner().requests;
        let _one_at_a_time = requests.starting.lock().await;
        if requests.lock().running {
            return Ok(());
        }
        let topic = Topic::replies_to(self.about().node);
        self.ensure_topic(topic.as_str()).await?;
        let replies = self.subscribe(topic.as_str()).await?;
        requests.lock().running = true;
        self.inner().runtime.spawn(receive(Arc::clone(self.inner()), replies));
        Ok(())
    }
}

/// Hands replies to who waits for them, until nobody does for a while.
async fn receive(peer: Arc<Inner>, mut replies: Subscription) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut idle = 0;
    loop {
        tokio::select! {
            delivery = replies.next() => match delivery {
                Some(Delivery::Message(message)) => peer.requests.give(message),
                Some(Delivery::Gap(_)) => {}
                Some(Delivery::TopicDeleted(_)) | None => return peer.requests.stop(),
            },
            _ = look.tick() => {
                // This task and its subscription: nobody else uses the peer.
                let alone = Arc::strong_count(&peer) <= 2;
                idle = if peer.requests.lock().waiting.is_empty() { idle + 1 } else { 0 };
                if (alone || idle >= LOOKS_IDLE) && peer.requests.stop_if_idle() {
                    return;
                }
            }
        }
    }
}

impl Requests {
    fn enter(&self, id: &str, sender: mpsc::Sender<Message>) -> Result<(), Error> {
        let mut state = self.lock();
        if state.waiting.len() >= REQUESTS_MAX {
            return Err(Error::Busy("requests"));
        }
        state.waiting.insert(id.to_owned(), sender);
        Ok(())
    }

    /// A reply that is too late, to nobody's request, or one too many is dropped: who asked has
    /// stopped reading.
    fn give(&self, reply: Message) {
        let Some(id) = reply.headers.get(CORRELATION_ID) else { return };
        let waiting = self.lock().waiting.get(id).cloned();
        let given = waiting.is_some_and(|sender| sender.try_send(reply).is_ok());
        if !given {
            tracing::debug!("reply_dropped");
        }
    }

    /// Nothing is received any more: who waits is told.
    fn stop(&self) {
        let mut state = self.lock();
        state.running = false;
        state.waiting.clear();
    }

    fn stop_if_idle(&self) -> bool {
        let mut state = self.lock();
        let idle = state.waiting.is_empty();
        state.running = !idle;
        idle
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
