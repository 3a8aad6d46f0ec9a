//! Subscribing: the reader, the machine's command, and what was published before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_proto::peer::event::{Answer, Command, CommandError, From, Passage};
use tidings_proto::wire::batch::Batch;
use tidings_proto::{Incarnation, NodeId, Origin, Topic};
use tokio::sync::oneshot;

use crate::delivery::GapReason;
use crate::error::Error;
use crate::journal::{Entry, QueueLimits, Reader};
use crate::peer::{Inner, Peer, expect_topic, wait};
use crate::pending::{Extra, Handover};
use crate::subscription::Subscription;

/// A subscription that begins in the past is live from this much before now: what was under way
/// when it was asked for is delivered or part of the history, whichever is first.
const OVERLAP: Duration = Duration::from_secs(5);

/// When too many ask at once for history, or for what topics retain, who comes later tries again
/// so often ...
const BUSY_TRIES_MAX: usize = 200;
/// ... with this pause.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// What becomes of messages that an application does not read in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Policy {
    /// They wait until the topic's limit of unread messages is reached (`unread_messages`,
    /// `unread_bytes` in the config); then the oldest are lost, and a gap says which. The default.
    #[default]
    BlockRetention,
    /// Only so many of the newest wait; older ones are lost, and a gap says which.
    DropOldest {
        /// Messages that wait at most, from 1.
        messages: usize,
    },
}

/// How to receive a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SubscribeOptions {
    /// Where to begin. Default: with what is published after it.
    pub from: From,
    /// What becomes of what is not read in time.
    pub policy: Policy,
    /// Keep the topic's log on disk, if the topic is durable, and serve it to others after a
    /// restart. The topic's host does so anyway.
    pub durable: bool,
}

/// How far a stream was received: one life of one publisher in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The publisher.
    pub origin: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// The last number that was received.
    pub seq: u64,
}

impl std::convert::From<From> for SubscribeOptions {
    fn from(from: From) -> Self {
        Self { from, ..Self::default() }
    }
}

impl Policy {
    pub(crate) fn limits(self) -> Option<QueueLimits> {
        match self {
            Self::BlockRetention => None,
            Self::DropOldest { messages } => {
                Some(QueueLimits { messages_max: messages.max(1), bytes_max: usize::MAX })
            }
        }
    }
}

impl Peer {
    /// Receives a topic from now on.
    ///
    /// # Errors
    /// There is no such topic, or no majority of seeds says so.
    pub async fn subscribe(&self, topic: &str) -> Result<Subscription, Error> {
        self.subscribe_with(topic, SubscribeOptions::default()).await
    }

    /// Receives a topic, after what this peer and its neighbours retain of it as far as `from`
    /// says so: without a hole and without a duplicate.
    ///
    /// # Errors
    /// There is no such topic, or no majority of seeds says so.
    pub async fn subscribe_from(&self, topic: &str, from: From) -> Result<Subscription, Error> {
        self.subscribe_with(topic, from).await
    }

    /// Receives a topic in a way of one's own.
    ///
    /// # Errors
    /// There is no such topic, it is not durable though its log shall be kept, or no majority of
    /// seeds says so.
    pub async fn subscribe_with(
        &self,
        topic: &str,
        options: impl Into<SubscribeOptions>,
    ) -> Result<Subscription, Error> {
        self.subscribe_keeping(Topic::new(topic)?, options.into(), Vec::new(), false).await
    }

    /// Goes on where a former subscription stood, perhaps one at another peer: of the streams
    /// that were `received` comes what follows, as far as anybody retains it, and a
    /// [`crate::Gap`] says what nobody does. Other streams begin as `options` say.
    ///
    /// # Errors
    /// As for [`Self::subscribe_with`].
    pub async fn subscribe_after(
        &self,
        topic: &str,
        received: &[Position],
        options: impl Into<SubscribeOptions>,
    ) -> Result<Subscription, Error> {
        let (topic, received) = (Topic::new(topic)?, positions(received));
        self.subscribe_keeping(topic, options.into(), received, false).await
    }

    /// [`Self::subscribe_after`] for a topic that a filter selects: where logs are to be kept, one
    /// that is not durable is received all the same.
    pub(crate) async fn subscribe_matching(
        &self,
        topic: &str,
        received: &[Position],
        options: SubscribeOptions,
    ) -> Result<Subscription, Error> {
        match self.subscribe_after(topic, received, options).await {
            Err(Error::NotDurable(_)) => {
                let options = SubscribeOptions { durable: false, ..options };
                self.subscribe_after(topic, received, options).await
            }
            done => done,
        }
    }

    /// With `keep`, what is not read is kept on disk.
    pub(crate) async fn subscribe_keeping(
        &self,
        topic: Topic,
        options: SubscribeOptions,
        received: Vec<(Origin, u64)>,
        keep: bool,
    ) -> Result<Subscription, Error> {
        // In a task of its own: when the caller goes away, the machine's answer must be awaited
        // all the same before the topic is left again.
        let subscribing = Arc::clone(&self.inner).subscribe(topic, options, received, keep);
        self.inner.to_the_end(subscribing).await
    }
}

impl Inner {
    /// Subscribes. With `keep`, what the subscription has not read is kept on disk.
    pub(crate) async fn subscribe(
        self: Arc<Self>,
        topic: Topic,
        options: SubscribeOptions,
        received: Vec<(Origin, u64)>,
        keep: bool,
    ) -> Result<Subscription, Error> {
        let (from, limits) = (options.from, options.policy.limits());
        let begun = Instant::now();
        let gate = self.membership.lock().await;
        let reader = self.shared.fanout.read(&topic, limits, self.first_ordinal())?;
        let history = from != From::New || !received.is_empty();
        if keep && !history {
            reader.keep();
        }
        // From here on dropping the subscription cleans up.
        let mut subscription = Subscription::new(reader, Arc::clone(&self));
        let live = match from {
            From::New if !history => From::New,
            // Where neighbours are found too late to be asked for history, what is new to this
            // peer is found missing and repaired.
            From::Since(age) if !received.is_empty() => From::Since(age.max(OVERLAP)),
            _ => From::Since(OVERLAP),
        };
        let ticket = self.shared.pending.ticket(Extra::None)?;
        let (request, name) = (ticket.request, topic.clone());
        self.send(Command::Subscribe { request, topic: name, from: live }).await?;
        drop(gate);
        let answer = wait(ticket).await?;
        if options.durable {
            Arc::clone(&self).keep_log(expect_topic(answer)?).await?;
        }
        if history {
            let past = match from {
                // The topic was looked up meanwhile.
                From::Since(age) => (From::Since(age + begun.elapsed()), received),
                from => (from, received),
            };
            let begun = self.begin_in_the_past(&topic, past, &subscription, limits, keep).await?;
            subscription.replace_reader(begun);
        } else if let Some(batch) = self.retained(&topic).await? {
            subscription.begin_with(&batch);
        }
        Ok(subscription)
    }

    /// The message that a subscribed topic retains.
    async fn retained(&self, topic: &Topic) -> Result<Option<Arc<Batch>>, Error> {
        match self.history(topic, From::New).await {
            Ok(passages) => Ok(passages.into_iter().find_map(|passage| match passage {
                Passage::Retained(batch) => Some(batch),
                _ => None,
            })),
            // It was deleted meanwhile, which the subscription tells.
            Err(Error::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What this peer and its neighbours retain of a topic.
    pub(crate) async fn history(&self, topic: &Topic, from: From) -> Result<Vec<Passage>, Error> {
        for _ in 0..BUSY_TRIES_MAX {
            let (topic, received) = (topic.clone(), Vec::new());
            let command = |request| Command::History { request, topic, from, received };
            match self.ask(command).await {
                Ok(Answer::History(passages)) => return Ok(passages),
                Ok(other) => return crate::peer::unexpected(&other),
                Err(error) if is_crowd(&error) => tokio::time::sleep(BUSY_PAUSE).await,
                Err(error) => return Err(error),
            }
        }
        Err(Error::Busy("subscriptions"))
    }

    /// A reader with the history of the topic before what is live.
    async fn begin_in_the_past(
        &self,
        topic: &Topic,
        (from, received): (From, Vec<(Origin, u64)>),
        subscription: &Subscription,
        limits: Option<QueueLimits>,
        keep: bool,
    ) -> Result<Reader, Error> {
        let begun = Instant::now();
        for _ in 0..BUSY_TRIES_MAX {
            let (sender, receiver) = oneshot::channel();
            let journal = Arc::clone(subscription.reader().journal());
            let handover = Handover { journal, limits, keep, sender };
            let ticket = self.shared.pending.ticket(Extra::Handover(handover))?;
            let (request, topic, received) = (ticket.request, topic.clone(), received.clone());
            let from = match from {
                From::Since(age) => From::Since(age + begun.elapsed()),
                from => from,
            };
            self.send(Command::History { request, topic, from, received }).await?;
            match wait(ticket).await {
                Ok(_) => return receiver.await.map_err(|_| Error::Stopped),
                Err(error) if is_crowd(&error) => tokio::time::sleep(BUSY_PAUSE).await,
                Err(error) => return Err(error),
            }
        }
        Err(Error::Busy("subscriptions"))
    }

    /// The number of the first message of a journal that begins now: above those of all journals
    /// that began earlier, also in a former life, as a topic has fewer than a million messages a
    /// second.
    pub(crate) fn first_ordinal(&self) -> u64 {
        u64::try_from(self.clock.wall_us(self.clock.now())).unwrap_or(1 << 40).max(1 << 40)
    }
}

/// Whether many ask for history at once, which passes.
fn is_crowd(error: &Error) -> bool {
    matches!(error, Error::Refused(CommandError::Limit { .. }))
}

/// As the machine takes them; of two of one stream the further one.
pub(crate) fn positions(received: &[Position]) -> Vec<(Origin, u64)> {
    let mut positions: BTreeMap<Origin, u64> = BTreeMap::new();
    for &Position { origin: node, incarnation, seq } in received {
        let known = positions.entry(Origin { node, incarnation }).or_default();
        *known = seq.max(*known);
    }
    positions.into_iter().collect()
}

impl Handover {
    /// In the driver's task: what is delivered from here on is live, what was before is history.
    pub(crate) fn complete(
        self,
        answer: Result<Answer, CommandError>,
    ) -> Result<Answer, CommandError> {
        let Answer::History(passages) = answer? else { return Ok(Answer::Done) };
        let mut reader = Reader::at_end(&self.journal, self.limits);
        let mut history = Vec::new();
        for passage in passages {
            match passage {
                Passage::Retained(batch) => history.push(Entry::Retained(batch)),
                Passage::Batch { batch, from_seq } => {
                    history.push(Entry::Batch { batch, from_seq })
                }
                Passage::Gap { origin, from, to } => {
                    let reason = GapReason::Unavailable;
                    history.push(Entry::Gap { origin, from, to, reason });
                }
                Passage::Known { origin, to } => reader.knows(origin, to),
            }
        }
        reader.prepend(history);
        if self.keep {
            reader.keep();
        }
        // Whoever asked may be gone.
        let _ = self.sender.send(reader);
        Ok(Answer::Done)
    }
}
