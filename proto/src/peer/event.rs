//! What crosses the border between a peer's protocol and its application: commands in, events
//! out.

use core::time::Duration;
use std::sync::Arc;

use thiserror::Error;

use crate::filter::TopicFilter;
use crate::id::{Incarnation, NodeId, Origin, RequestId, Topic};
pub use crate::peer::notice::Notice;
pub use crate::peer::own_topics::OwnTopics;
use crate::peer::seed_set::KnownSeeds;
use crate::wire::batch::{Batch, Message};
use crate::wire::frame::{Hosting, PeerEntry, PeerItem, TopicItem};
use crate::wire::record::{TopicPolicy, TopicRecord};

/// What the application may ask. Each gets one [`Event::Answer`] with its request id.
#[derive(Clone, Debug)]
pub enum Command {
    /// Make this peer the host of a new topic. With `exist_ok`, a topic that this peer already
    /// hosts is fine. Answers [`Answer::Topic`].
    CreateTopic {
        /// Echoed.
        request: RequestId,
        /// The topic.
        topic: Topic,
        /// A topic hosted here already is no error.
        exist_ok: bool,
        /// How its messages are kept; a topic that exists already keeps its own.
        policy: TopicPolicy,
    },
    /// End a topic that this peer hosts. Answers [`Answer::Done`].
    DeleteTopic {
        /// Echoed.
        request: RequestId,
        /// The topic.
        topic: Topic,
    },
    /// What the seeds know of a topic. Answers [`Answer::Topic`].
    TopicInfo {
        /// Echoed.
        request: RequestId,
        /// The topic.
        topic: Topic,
    },
    /// A page of the topics that a seed knows. Answers [`Answer::Topics`].
    ListTopics {
        /// Echoed.
        request: RequestId,
        /// An MQTT filter, empty for all.
        filter: String,
        /// How many to leave out.
        offset: u32,
        /// How many at most.
        limit: u32,
    },
    /// A page of the peers that a seed knows; without seeds, those that this peer knows.
    /// Answers [`Answer::Peers`].
    ListPeers {
        /// Echoed.
        request: RequestId,
        /// A part of name, address or id, empty for all.
        filter: String,
        /// How many to leave out.
        offset: u32,
        /// How many at most.
        limit: u32,
    },
    /// Have the seeds list a peer no more that does not answer. Answers [`Answer::Forgotten`].
    Forget {
        /// Echoed.
        request: RequestId,
        /// Its id, or the first digits of it, its address, or its name.
        who: String,
    },
    /// Receive a topic from now on, or with everything that neighbours retain. Answers
    /// [`Answer::Topic`]. A repeated subscription is fine.
    Subscribe {
        /// Echoed.
        request: RequestId,
        /// The topic.
        topic: Topic,
        /// Where to begin.
        from: From,
    },
    /// Receive a topic no more. Answers [`Answer::Done`].
    Unsubscribe {
        /// Echoed.
        request: RequestId,
        /// The topic.
        topic: Topic,
    },
    /// Publish one message. Answers [`Answer::Published`].
    Publish {
        /// Echoed.
        request: RequestId,
        /// The topic.
        topic: Topic,
        /// Headers and body, within the limits of [`crate::wire::batch`].
        message: Message,
    },
    /// What was published to a subscribed topic before, from this peer's retention and that of a
    /// few neighbours. What is not in the answer and not missing from it is delivered after it,
    /// so the two together have neither a hole nor a duplicate. Answers [`Answer::History`].
    History {
        /// Echoed.
        request: RequestId,
        /// The topic.
        topic: Topic,
        /// Where to begin. [`From::New`] asks for what the topic retains alone.
        from: From,
        /// How far streams were received already: nothing of them up to there is in the answer,
        /// and all that follows is in it or comes, wherever the rest begins.
        received: Vec<(Origin, u64)>,
    },
    /// What this peer kept of a topic over a restart. To be given before the topic is subscribed
    /// to. Answers [`Answer::Done`].
    Restore {
        /// Echoed.
        request: RequestId,
        /// The topic.
        topic: Topic,
        /// The next number of each stream: what precedes it was delivered in a former life.
        positions: Vec<(Origin, u64)>,
        /// Batches to retain and to serve to others, oldest first, each with its age in
        /// milliseconds.
        batches: Vec<(Arc<Batch>, u32)>,
        /// What may be the message that the topic retains, each with its age in milliseconds.
        retained: Vec<(Arc<Batch>, u32)>,
        /// What was published at most so long ago is delivered too, as far as it is not known by
        /// its position: the former life missed it.
        missed: Duration,
    },
    /// Tell the application of topics that a filter selects: of those that there are by the
    /// answer, [`Answer::Matching`], of those that appear later by [`Event::TopicAppeared`].
    /// Where too few seeds answer, these are the topics that this peer knows; it is told of
    /// others when the seeds are there.
    WatchFilter {
        /// Echoed.
        request: RequestId,
        /// The filter.
        filter: TopicFilter,
    },
    /// Tell of a filter's topics no more. Answers [`Answer::Done`].
    UnwatchFilter {
        /// Echoed.
        request: RequestId,
        /// The filter.
        filter: TopicFilter,
    },
    /// Tell seeds and neighbours that this peer leaves. Answers [`Answer::Done`]; then nothing
    /// more happens.
    Leave {
        /// Echoed.
        request: RequestId,
    },
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum From {
    /// With what is published after it.
    #[default]
    New,
    /// With everything that this peer and its neighbours retain.
    All,
    /// With the last so many messages, by time of publication.
    Last(u64),
    /// With what was published at most so long ago.
    Since(Duration),
    /// With what one publisher published from a number on.
    Stream {
        /// The publisher.
        origin: NodeId,
        /// Its life; the newest that anybody retains when `None`.
        incarnation: Option<Incarnation>,
        /// The first number that is wanted.
        seq: u64,
    },
}

/// A part of the history of a topic.
#[derive(Clone, Debug, PartialEq)]
pub enum Passage {
    /// The message that the topic retains, alone in its batch, unless it is part of what follows.
    /// It may be older than all that was asked for.
    Retained(Arc<Batch>),
    /// Messages of a batch from a number on.
    Batch {
        /// All of the batch.
        batch: Arc<Batch>,
        /// The first message that was asked for.
        from_seq: u64,
    },
    /// Whoever asked has a stream up to a number, or did not want it. What is delivered live may
    /// begin before that, for others of the topic, and after more than that: then what is between
    /// is lost.
    Known {
        /// The stream.
        origin: Origin,
        /// The last number.
        to: u64,
    },
    /// Messages that nobody who was asked retains.
    Gap {
        /// The stream.
        origin: Origin,
        /// First missing sequence number.
        from: u64,
        /// Last missing sequence number.
        to: u64,
    },
}

/// What the application and the log are told.
#[derive(Clone, Debug)]
pub enum Event {
    /// The end of a command.
    Answer {
        /// That of the command.
        request: RequestId,
        /// How it went.
        result: Result<Answer, CommandError>,
    },
    /// The next messages of a stream: in order, once. Deliver those from `from_seq` on.
    Deliver {
        /// The messages.
        batch: Arc<Batch>,
        /// The first that is new; earlier ones were delivered before or precede the
        /// subscription.
        from_seq: u64,
    },
    /// Messages that nobody could supply in time. What follows is delivered.
    Gap {
        /// The topic.
        topic: Topic,
        /// The stream.
        origin: Origin,
        /// First missing sequence number.
        from: u64,
        /// Last missing sequence number.
        to: u64,
    },
    /// A topic is there that a watched filter selects: it was created, or has become known.
    TopicAppeared {
        /// The topic.
        topic: Topic,
    },
    /// A subscribed topic was deleted by its host; the subscription is over.
    TopicDeleted {
        /// The topic.
        topic: Topic,
    },
    /// For the log.
    Notice(Notice),
}

/// How a command succeeded.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is done.
    Done,
    /// A topic.
    Topic(Box<TopicInfo>),
    /// The live topics that a filter selects, ordered by name.
    Matching(Vec<Topic>),
    /// Topics.
    Topics {
        /// How many match.
        total: u32,
        /// The page.
        items: Vec<TopicItem>,
    },
    /// Peers.
    Peers {
        /// How many match.
        total: u32,
        /// The page.
        items: Vec<PeerItem>,
    },
    /// A peer is listed no more, with what it was before.
    Forgotten(PeerItem),
    /// A publication is on its way.
    Published {
        /// Its sequence number in this peer's stream of the topic.
        seq: u64,
        /// The sequence number of the first message of its batch.
        batch: u64,
        /// On how many links it went out. 0 is a result: nobody listens yet.
        reached: u32,
    },
    /// What was published before, in order of publication, each stream in its own order.
    History(Vec<Passage>),
}

impl Answer {
    pub(crate) fn topic(info: TopicInfo) -> Self {
        Self::Topic(Box::new(info))
    }
}

/// What is known of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its record.
    pub record: TopicRecord,
    /// How many live peers subscribe to it, as far as the seeds know.
    pub subscribers: u32,
    /// A majority of the seeds answered; otherwise this is what the peer itself knows, and may be
    /// out of date.
    pub confirmed: bool,
    /// Where its host is, as far as the seeds know.
    pub hosting: Hosting,
    /// What this peer has of it, when it is subscribed.
    pub local: Option<LocalInfo>,
}

/// What a subscribed peer has of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalInfo {
    /// Retained messages.
    pub messages: u64,
    /// Their encoded batches, in bytes.
    pub bytes: u64,
    /// Messages a second over the last ten, in thousandths.
    pub rate_milli: u64,
}

/// Why a command was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// Nobody created it, or its host deleted it.
    #[error("Topic '{0}' not found")]
    TopicNotFound(Topic),
    /// Somebody hosts it already.
    #[error("Topic '{topic}' already exists, hosted by {host}")]
    TopicExists {
        /// The topic.
        topic: Topic,
        /// Its host.
        host: NodeId,
    },
    /// Only the host may delete a topic.
    #[error("Topic '{topic}' is hosted by {host}, only its host can delete it")]
    NotHost {
        /// The topic.
        topic: Topic,
        /// Its host.
        host: NodeId,
    },
    /// Fewer than a majority of the seeds answered.
    #[error("{}", no_quorum(*quorum, *total))]
    NoQuorum {
        /// floor(n/2)+1.
        quorum: usize,
        /// n.
        total: usize,
    },
    /// The peer is at one of its limits.
    #[error("limit reached: {what} (at most {limit})")]
    Limit {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The message is too large.
    #[error("a message has at most {limit} bytes, this one has {size}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The peer's own queue is full.
    #[error("busy: {waiting} publications wait to go out, retry in {retry_ms} ms")]
    Busy {
        /// How many wait.
        waiting: usize,
        /// When to try again.
        retry_ms: u32,
    },
    /// A seed refused, and says why.
    #[error("{0}")]
    Refused(String),
    /// The peer is leaving.
    #[error("the peer is leaving the cluster")]
    Leaving,
}

fn no_quorum(quorum: usize, total: usize) -> String {
    match total {
        0 => "no seed is configured: name them as [[seeds]] in the configuration".to_owned(),
        _ => format!(
            "fewer than {quorum} of {total} seeds answered; gossip goes on, try again later"
        ),
    }
}

/// What a peer keeps over restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Durable {
    /// The peers it knows: neighbours first, then the passive view.
    KnownPeers(Vec<PeerEntry>),
    /// The records of its own topics, or what has changed of them.
    Topics(OwnTopics),
    /// The life it is in.
    Incarnation(Incarnation),
    /// The seeds, as they have changed since the configuration was written.
    Seeds(KnownSeeds),
}
