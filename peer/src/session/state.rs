//! The subscriptions of a session, and what of them is taken.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tidings_proto::{Topic, TopicFilter};
use tokio::sync::Notify;

use super::filters::Followed;
use super::kept::{Kept, Numbered};
use crate::delivery::Delivery;
use crate::error::Error;

/// Bytes of message bodies in one pull; the message that goes over it is the last.
const PULL_BYTES_MAX: usize = 4 << 20;

/// What a pull took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pulled {
    /// In order, topic by topic.
    pub deliveries: Vec<Numbered>,
    /// Messages that wait still.
    pub remaining: usize,
}

/// What was taken, and how far the readers are by that.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) pulled: Pulled,
    /// The number of the next unread message of each topic from which something was taken.
    pub(super) read_to: Vec<(Topic, u64)>,
    /// Topics that were deleted and from which everything was taken.
    pub(super) finished: Vec<(Topic, Kept)>,
    ended: Vec<Topic>,
    messages: usize,
    bytes: usize,
}

/// What a pull takes.
#[derive(Debug)]
pub(super) enum Which {
    /// Of all topics that are not streamed.
    All,
    /// Of one topic.
    One(Topic),
    /// Of all topics that a filter selects.
    Matching(TopicFilter),
}

impl Which {
    /// What a name, perhaps a filter, stands for.
    pub(super) fn new(name: Option<&str>) -> Result<Self, Error> {
        Ok(match name {
            None => Self::All,
            Some(name) if name.contains(['+', '#']) => Self::Matching(TopicFilter::new(name)?),
            Some(name) => Self::One(Topic::new(name)?),
        })
    }
}

/// The subscriptions of one session.
#[derive(Debug, Default)]
pub(super) struct State {
    topics: Mutex<BTreeMap<Topic, Kept>>,
    /// Filters, and the topics that are there for their sake.
    pub(super) followed: Followed,
    /// The set of subscriptions has changed, or something was confirmed.
    changed: Notify,
    /// A topic begins to be streamed.
    pub(super) streaming: Notify,
}

impl State {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<Topic, Kept>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes who waits for deliveries, to look again.
    pub(super) fn changed(&self) {
        self.changed.notify_waiters();
    }

    /// Takes what there is, and waits for it when there is nothing.
    pub(super) async fn take(
        &self,
        which: &Which,
        max: usize,
        wait: Duration,
    ) -> Result<Taken, Error> {
        let deadline = tokio::time::sleep(wait);
        tokio::pin!(deadline);
        loop {
            let changed = self.changed.notified();
            let collected = poll_fn(|cx| self.poll_take(cx, which, max));
            tokio::select! {
                biased;
                taken = collected => return taken,
                () = &mut deadline => return Ok(Taken::default()),
                () = changed => {}
            }
        }
    }

    /// Ready as soon as there is anything to tell.
    fn poll_take(
        &self,
        cx: &mut Context<'_>,
        which: &Which,
        max: usize,
    ) -> Poll<Result<Taken, Error>> {
        let mut topics = self.lock();
        let mut taken = Taken::default();
        let mut found = 0;
        match which {
            Which::One(topic) => {
                if let Some(kept) = topics.get_mut(topic) {
                    found += 1;
                    taken.take(cx, topic, kept, max);
                }
            }
            Which::All | Which::Matching(_) => {
                let is_wanted = |topic: &Topic, kept: &Kept| match which {
                    Which::Matching(filter) => filter.matches(topic),
                    _ => !kept.stream,
                };
                for (topic, kept) in topics.iter_mut() {
                    if is_wanted(topic, kept) {
                        found += 1;
                        taken.take(cx, topic, kept, max);
                    }
                }
            }
        }
        let live = found - taken.ended.len();
        for topic in std::mem::take(&mut taken.ended) {
            // What may have to be handed out again is kept until it has arrived.
            if topics.get(&topic).is_some_and(Kept::is_over) {
                taken.finished.extend(topics.remove_entry(&topic));
            }
        }
        if taken.pulled.deliveries.is_empty() {
            return match live {
                0 if !self.awaits(which) => {
                    let topic =
                        if let Which::One(topic) = which { Some(topic.clone()) } else { None };
                    Poll::Ready(Err(Error::NotSubscribed(topic)))
                }
                _ => Poll::Pending,
            };
        }
        Poll::Ready(Ok(taken))
    }

    /// Whether something may come although there is no subscription yet.
    fn awaits(&self, which: &Which) -> bool {
        match which {
            Which::All => self.followed.awaits(None),
            Which::One(topic) => self.followed.selects(topic),
            Which::Matching(filter) => self.followed.awaits(Some(filter)),
        }
    }

    /// The next delivery of one topic; `None` when it has ended or is not subscribed to.
    pub(super) async fn next_of(&self, topic: &Topic) -> Option<Numbered> {
        loop {
            let changed = self.changed.notified();
            let next = poll_fn(|cx| match self.lock().get_mut(topic) {
                Some(kept) => kept.poll_next(cx),
                None => Poll::Ready(None),
            });
            tokio::select! {
                biased;
                next = next => return next,
                () = changed => {}
            }
        }
    }

    /// The next delivery of one topic, if it is here already.
    pub(super) fn try_next_of(&self, topic: &Topic) -> Option<Numbered> {
        let mut topics = self.lock();
        let noop = std::task::Waker::noop();
        match topics.get_mut(topic)?.poll_next(&mut Context::from_waker(noop)) {
            Poll::Ready(next) => next,
            Poll::Pending => None,
        }
    }

    /// Everything that was handed out has arrived; with `streams`, what came as events too.
    pub(super) fn confirm(&self, streams: bool) {
        let mut topics = self.lock();
        topics.values_mut().filter(|kept| streams || !kept.stream).for_each(Kept::confirm);
        topics.retain(|_, kept| !(kept.remembers() && kept.is_over()));
    }
}

/// What was taken goes back when the future that hands it out is dropped.
#[derive(Debug)]
pub(super) struct Handing<'a> {
    state: &'a State,
    taken: Taken,
}

impl<'a> Handing<'a> {
    pub(super) fn new(state: &'a State, taken: Taken) -> Self {
        Self { state, taken }
    }

    pub(super) fn taken(&self) -> &Taken {
        &self.taken
    }

    /// It is handed out.
    pub(super) fn done(mut self) -> Taken {
        std::mem::take(&mut self.taken)
    }
}

impl Drop for Handing<'_> {
    fn drop(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        if taken.pulled.deliveries.is_empty() {
            return;
        }
        let mut topics = self.state.lock();
        for (topic, kept) in taken.finished {
            topics.entry(topic).or_insert(kept);
        }
        for numbered in taken.pulled.deliveries.into_iter().rev() {
            // Of a topic that was unsubscribed from meanwhile nothing is wanted.
            if let Some(kept) = topics.get_mut(numbered.delivery.topic()) {
                kept.put_back(numbered);
            }
        }
        drop(topics);
        self.state.changed();
    }
}

impl Taken {
    fn take(&mut self, cx: &mut Context<'_>, topic: &Topic, kept: &mut Kept, max: usize) {
        let before = self.pulled.deliveries.len();
        let mut ended = false;
        while !self.is_full(max) {
            match kept.poll_next(cx) {
                Poll::Ready(Some(numbered)) => self.add(numbered),
                Poll::Ready(None) => {
                    ended = true;
                    break;
                }
                Poll::Pending => break,
            }
        }
        self.pulled.remaining += kept.pending();
        if ended {
            self.ended.push(topic.clone());
        } else if self.pulled.deliveries.len() > before {
            self.read_to.push((topic.clone(), kept.ordinal()));
        }
    }

    fn add(&mut self, numbered: Numbered) {
        if let Delivery::Message(message) = &numbered.delivery {
            self.messages += 1;
            self.bytes += message.body.len();
        }
        self.pulled.deliveries.push(numbered);
    }

    /// Gaps count as much as messages do, so that there is an end to them.
    fn is_full(&self, max: usize) -> bool {
        let others = self.pulled.deliveries.len() - self.messages;
        self.messages >= max || others >= max || self.bytes >= PULL_BYTES_MAX
    }
}
