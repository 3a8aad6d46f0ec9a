//! Events of topics that go on when the peer is restarted or the connection is lost: nothing is
//! shown twice, and each stream goes on after the last message that was shown.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidings::control::{
    Client, ClientError, Code, ConnectedView, EventView, POSITIONS_MAX, PositionView, Received,
    Request, Start, Subscribe, Unread,
};
use tidings_runtime::table;

use crate::cli::Control;
use crate::failure::Failure;

/// After a lost connection the peer is tried again after this, and then ever more seldom.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// A topic that was there and is not found by a peer that has just started may be one whose host
/// restarts too. After so long it is gone.
const GONE_AFTER: Duration = Duration::from_secs(30);
/// Streams whose position is remembered; beyond it the one that was silent for longest is
/// forgotten, and could be shown again after a restart. As many as a topic's streams.
const STREAMS_MAX: usize = 65_536;

/// Follows topics over restarts of the peer.
#[derive(Debug)]
pub(crate) struct Follower {
    control: Control,
    topics: Vec<String>,
    wanted: Wanted,
    client: Option<Client>,
    seen: Seen,
    begun: Instant,
    /// In a session: the place of the last event of each topic that was handed out, and whether
    /// the peer was told that it has arrived.
    handed_out: BTreeMap<String, (u64, bool)>,
}

/// How topics are followed.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// Where each begins.
    pub(crate) start: Start,
    /// What becomes of what is not read in time.
    pub(crate) policy: Unread,
    /// Keep the logs of those that are durable on the peer's disk.
    pub(crate) durable: bool,
    /// The session to use; `None` for streams of the connection alone.
    pub(crate) session: Option<String>,
}

/// How far each stream was shown.
#[derive(Debug, Default)]
struct Seen {
    streams: HashMap<Stream, Position>,
    /// The retained message of each topic that was shown. It says nothing of its stream: what
    /// precedes and what follows it was not asked for.
    retained: HashMap<String, (Stream, u64)>,
    /// Rises with each message.
    clock: u64,
}

/// One life of one publisher in one topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Stream {
    topic: String,
    origin: String,
    incarnation: u64,
}

#[derive(Clone, Copy, Debug)]
struct Position {
    seq: u64,
    at: u64,
}

impl Follower {
    /// Subscribes.
    ///
    /// # Errors
    /// Nobody answers, or a topic is refused: nothing is tried again at the start.
    pub(crate) async fn start(
        control: Control,
        topics: Vec<String>,
        wanted: Wanted,
    ) -> Result<Self, Failure> {
        let start = wanted.start;
        let mut follower = Self {
            control,
            topics,
            wanted,
            client: None,
            seen: Seen::default(),
            begun: Instant::now(),
            handed_out: BTreeMap::new(),
        };
        let client = follower.subscribe(start).await.map_err(Trouble::into_failure)?;
        follower.client = Some(client);
        for topic in &follower.topics {
            eprintln!("subscribed to '{}'", table::printable(topic));
        }
        Ok(follower)
    }

    /// The next event. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The peer refuses what it took before, such as a topic that is gone.
    pub(crate) async fn next(&mut self) -> Result<EventView, Failure> {
        loop {
            let Some(client) = &mut self.client else {
                self.reconnect().await?;
                continue;
            };
            match client.event().await {
                Ok(event) => {
                    self.note_handed_out(&event);
                    if self.seen.is_news(&event) {
                        return Ok(event);
                    }
                }
                Err(error) if is_lost(&error) => {
                    eprintln!("peer: {error}; trying again");
                    self.client = None;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Everything that was handed out is seen: a session need not send it again.
    pub(crate) async fn printed(&mut self) {
        for (topic, (pos, told)) in &mut self.handed_out {
            let Some(client) = self.client.as_mut().filter(|_| !*told) else { continue };
            let ack = Request::Ack { topic: topic.clone(), pos: *pos };
            match client.call::<Value>(&ack).await {
                // Of a topic that was deleted there is nothing to be told.
                Ok(_) | Err(ClientError::Refused(_)) => *told = true,
                // Whoever waits for the next event finds the connection lost, and what is sent
                // again then is not shown again.
                Err(_) => self.client = None,
            }
        }
    }

    fn note_handed_out(&mut self, event: &EventView) {
        let (topic, pos) = match event {
            EventView::Message(message) => (&message.topic, message.pos),
            EventView::Gap(gap) => (&gap.topic, gap.pos),
            EventView::TopicDeleted { topic } => {
                self.handed_out.remove(topic);
                return;
            }
        };
        if self.wanted.session.is_some() && pos > 0 {
            self.handed_out.insert(topic.clone(), (pos, false));
        }
    }

    /// Tries until the peer takes the subscriptions again.
    async fn reconnect(&mut self) -> Result<(), Failure> {
        let mut pause = RETRY_MIN;
        let begun = Instant::now();
        loop {
            match self.subscribe(self.resumption()).await {
                Ok(client) => {
                    eprintln!("peer: connected again");
                    self.client = Some(client);
                    return Ok(());
                }
                Err(Trouble::Final(failure)) => return Err(failure),
                Err(Trouble::Gone(topic, failure)) if begun.elapsed() >= GONE_AFTER => {
                    eprintln!("peer: topic '{}' is gone", table::printable(&topic));
                    if !self.forget(&topic) {
                        return Err(failure);
                    }
                }
                Err(Trouble::Passing(_) | Trouble::Gone(..)) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Where streams begin of which nothing was shown: where the first subscription did, of which
    /// the past was not wanted.
    fn resumption(&self) -> Start {
        let age = self.begun.elapsed();
        match self.wanted.start {
            Start::New | Start::Last(_) => Start::Ago(age),
            Start::Ago(before) => Start::Ago(before + age),
            start => start,
        }
    }

    async fn subscribe(&mut self, start: Start) -> Result<Client, Trouble> {
        let mut client = self.control.open().await.map_err(Trouble::Final)??;
        if let Some(name) = &self.wanted.session {
            let received = self.handed_out.iter().map(|(topic, (pos, _))| (topic.clone(), *pos));
            let connect = Request::Connect { name: name.clone(), received: received.collect() };
            let connected: ConnectedView = client.call(&connect).await?;
            if !connected.restored {
                // Places are those of the session, which is a new one.
                self.handed_out.clear();
            }
        }
        for topic in &self.topics {
            let request = Request::Subscribe(Subscribe {
                stream: true,
                from: start,
                policy: self.wanted.policy,
                durable: self.wanted.durable,
                received: self.seen.received(topic),
                ..Subscribe::new(topic)
            });
            client.call::<Value>(&request).await.map_err(|error| match error {
                ClientError::Refused(problem) if problem.code == Code::TopicNotFound => {
                    Trouble::Gone(topic.clone(), ClientError::Refused(problem).into())
                }
                error => error.into(),
            })?;
        }
        Ok(client)
    }

    /// A topic was deleted: it is not asked for again. Returns whether any is left.
    pub(crate) fn forget(&mut self, topic: &str) -> bool {
        self.topics.retain(|followed| followed != topic);
        !self.topics.is_empty()
    }
}

/// Why subscribing failed.
enum Trouble {
    /// It may go well in a while.
    Passing(Failure),
    /// There is no such topic, perhaps not yet.
    Gone(String, Failure),
    /// It will not.
    Final(Failure),
}

impl Trouble {
    fn into_failure(self) -> Failure {
        match self {
            Self::Passing(failure) | Self::Gone(_, failure) | Self::Final(failure) => failure,
        }
    }
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        let passes = match &error {
            ClientError::Refused(problem) => matches!(
                problem.code,
                // The peer may not have noticed yet that the former connection is lost.
                Code::NoQuorum | Code::Timeout | Code::Busy | Code::Leaving | Code::NameTaken
            ),
            ClientError::Unreachable { .. } => true,
            error => is_lost(error),
        };
        match passes {
            true => Self::Passing(error.into()),
            false => Self::Final(error.into()),
        }
    }
}

/// Whether the connection is gone, and a new one can be better.
fn is_lost(error: &ClientError) -> bool {
    matches!(error, ClientError::Broken(_) | ClientError::Closed)
}

impl Seen {
    /// How far each stream was shown, of one topic or of all that a filter may select: those
    /// that spoke last, as many as one request may name.
    fn received(&self, name: &str) -> Received {
        let is_filter = name.contains(['+', '#']);
        let mut streams: Vec<_> =
            self.streams.iter().filter(|(stream, _)| is_filter || stream.topic == name).collect();
        streams.sort_unstable_by_key(|(_, position)| std::cmp::Reverse(position.at));
        let mut received = Received::new();
        for (stream, position) in streams.into_iter().take(POSITIONS_MAX) {
            let Stream { topic, origin, incarnation } = stream.clone();
            let view = PositionView { origin, incarnation, seq: position.seq };
            received.entry(topic).or_default().push(view);
        }
        received
    }

    /// Whether an event says something that was not seen yet; it is seen now.
    fn is_news(&mut self, event: &EventView) -> bool {
        let (stream, seq) = match event {
            EventView::Message(message) => {
                let stream = Stream {
                    topic: message.topic.clone(),
                    origin: message.origin.clone(),
                    incarnation: message.incarnation,
                };
                (stream, message.seq)
            }
            EventView::Gap(gap) => {
                let stream = Stream {
                    topic: gap.topic.clone(),
                    origin: gap.origin.clone(),
                    incarnation: gap.incarnation,
                };
                (stream, gap.to)
            }
            EventView::TopicDeleted { .. } => return true,
        };
        let shown =
            self.retained.get(&stream.topic).is_some_and(|(of, n)| *of == stream && *n == seq);
        if matches!(event, EventView::Message(message) if message.retained) {
            if shown || self.streams.get(&stream).is_some_and(|position| seq <= position.seq) {
                return false;
            }
            if self.retained.len() < STREAMS_MAX {
                self.retained.insert(stream.topic.clone(), (stream, seq));
            }
            return true;
        }
        self.clock += 1;
        let at = self.clock;
        if let Some(position) = self.streams.get_mut(&stream) {
            let news = position.seq < seq && !shown;
            *position = Position { seq: position.seq.max(seq), at };
            return news;
        }
        if self.streams.len() >= STREAMS_MAX {
            let silent = self.streams.iter().min_by_key(|(_, position)| position.at);
            let silent = silent.map(|(stream, _)| stream.clone());
            silent.map(|stream| self.streams.remove(&stream));
        }
        self.streams.insert(stream, Position { seq, at });
        !shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(origin: &str, incarnation: u64, seq: u64) -> EventView {
        let event = serde_json::json!({
            "event": "message", "topic": "t", "origin": origin, "incarnation": incarnation,
            "origin_addr": "127.0.0.1:1", "seq": seq, "published_at": "", "message": ""
        });
        serde_json::from_value(event).expect("an event")
    }

    #[test]
    fn nothing_is_shown_twice() {
        let mut seen = Seen::default();
        assert!(seen.is_news(&event("a", 1, 1)));
        assert!(seen.is_news(&event("a", 1, 2)));
        assert!(!seen.is_news(&event("a", 1, 1)));
        assert!(!seen.is_news(&event("a", 1, 2)));
        assert!(seen.is_news(&event("a", 2, 1)), "a new life begins from 1");
        assert!(seen.is_news(&event("b", 1, 1)));
        assert!(seen.is_news(&event("a", 1, 3)));
    }

    #[test]
    fn what_was_shown_is_what_was_received() {
        let mut seen = Seen::default();
        for (origin, life, seq) in [("a", 1, 1), ("a", 1, 2), ("b", 7, 3)] {
            seen.is_news(&event(origin, life, seq));
        }
        let mut received = seen.received("t");
        received.get_mut("t").expect("shown").sort_by(|a, b| a.origin.cmp(&b.origin));
        let view = |origin: &str, incarnation, seq| PositionView {
            origin: origin.to_owned(),
            incarnation,
            seq,
        };
        assert_eq!(
            received,
            Received::from([("t".into(), vec![view("a", 1, 2), view("b", 7, 3)])])
        );
        assert_eq!(seen.received("#").len(), 1);
        assert!(seen.received("other").is_empty());
    }

    #[test]
    fn what_a_topic_retains_is_shown_once_and_is_no_position() {
        let retained = |seq| match event("a", 1, seq) {
            EventView::Message(message) => {
                EventView::Message(tidings::control::MessageView { retained: true, ..message })
            }
            other => other,
        };
        let mut seen = Seen::default();
        assert!(seen.is_news(&retained(4)));
        assert!(seen.received("t").is_empty());
        assert!(!seen.is_news(&retained(4)), "after a restart");
        assert!(!seen.is_news(&event("a", 1, 4)), "live");
        assert!(seen.is_news(&event("a", 1, 9)));
        assert!(!seen.is_news(&retained(7)), "it was shown live");
        assert!(seen.is_news(&retained(12)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut seen = Seen::default();
        for i in 0..STREAMS_MAX as u64 + 10 {
            seen.is_news(&event("first", 1, i + 1));
            seen.is_news(&event("other", i, 1));
        }
        assert_eq!(seen.streams.len(), STREAMS_MAX);
        assert_eq!(seen.received("t")["t"].len(), POSITIONS_MAX);
        assert!(!seen.is_news(&event("first", 1, 1)), "who speaks is not forgotten");
    }
}
