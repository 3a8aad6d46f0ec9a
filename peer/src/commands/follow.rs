//! Events of topics that go on when the peer is restarted: what was seen is not shown twice, and
//! what is still retained is not missed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidings::control::{Client, ClientError, Code, EventView, Request, Start, Subscribe};

use crate::cli::Control;
use crate::failure::Failure;
use crate::table;

/// After a lost connection the peer is tried again after this, and then ever more seldom.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// What was published so long before the connection was lost may have been on its way still.
const OVERLAP: Duration = Duration::from_secs(60);
/// Streams whose position is remembered; beyond it the one that was silent for longest is
/// forgotten, and could be shown again after a restart. As many as a topic's streams.
const STREAMS_MAX: usize = 65_536;

/// Follows topics over restarts of the peer.
#[derive(Debug)]
pub(crate) struct Follower {
    control: Control,
    topics: Vec<String>,
    client: Option<Client>,
    seen: Seen,
    start: Start,
    begun: Instant,
    /// When the connection was found lost.
    lost: Instant,
}

/// How far each stream was shown.
#[derive(Debug, Default)]
struct Seen {
    streams: HashMap<Stream, Position>,
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
        start: Start,
    ) -> Result<Self, Failure> {
        let begun = Instant::now();
        let client = subscribe(&control, &topics, start).await.map_err(Trouble::into_failure)?;
        for topic in &topics {
            eprintln!("subscribed to '{}'", table::printable(topic));
        }
        let seen = Seen::default();
        Ok(Self { control, topics, client: Some(client), seen, start, begun, lost: begun })
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
                    if self.seen.is_news(&event) {
                        return Ok(event);
                    }
                }
                Err(error) if is_lost(&error) => {
                    eprintln!("peer: {error}; trying again");
                    self.client = None;
                    self.lost = Instant::now();
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Tries until the peer takes the subscriptions again.
    async fn reconnect(&mut self) -> Result<(), Failure> {
        let mut pause = RETRY_MIN;
        loop {
            match subscribe(&self.control, &self.topics, self.resumption()).await {
                Ok(client) => {
                    eprintln!("peer: connected again");
                    self.client = Some(client);
                    return Ok(());
                }
                Err(Trouble::Passing(_)) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
                Err(Trouble::Final(failure)) => return Err(failure),
            }
        }
    }

    /// Where to begin again. What was shown is left out anyway, so this is rather too early; but
    /// not before the first subscription, of which the past was not wanted.
    fn resumption(&self) -> Start {
        let unseen = self.lost.elapsed() + OVERLAP;
        match self.start {
            Start::New => Start::Ago(unseen.min(self.begun.elapsed())),
            Start::Last(_) => Start::Ago(unseen),
            Start::Ago(age) => Start::Ago(age + self.begun.elapsed()),
            start => start,
        }
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
    /// It will not.
    Final(Failure),
}

impl Trouble {
    fn into_failure(self) -> Failure {
        match self {
            Self::Passing(failure) | Self::Final(failure) => failure,
        }
    }
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        let passes = match &error {
            ClientError::Refused(problem) => {
                matches!(problem.code, Code::NoQuorum | Code::Timeout | Code::Busy | Code::Leaving)
            }
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

async fn subscribe(control: &Control, topics: &[String], start: Start) -> Result<Client, Trouble> {
    let mut client = control.open().await.map_err(Trouble::Final)??;
    for topic in topics {
        let request = Request::Subscribe(Subscribe::new(topic).streamed().starting(start));
        client.call::<Value>(&request).await?;
    }
    Ok(client)
}

impl Seen {
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
        self.clock += 1;
        let at = self.clock;
        if let Some(position) = self.streams.get_mut(&stream) {
            let news = position.seq < seq;
            *position = Position { seq: position.seq.max(seq), at };
            return news;
        }
        if self.streams.len() >= STREAMS_MAX {
            let silent = self.streams.iter().min_by_key(|(_, position)| position.at);
            let silent = silent.map(|(stream, _)| stream.clone());
            silent.map(|stream| self.streams.remove(&stream));
        }
        self.streams.insert(stream, Position { seq, at });
        true
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
    fn what_is_remembered_is_bounded() {
        let mut seen = Seen::default();
        for i in 0..STREAMS_MAX as u64 + 10 {
            seen.is_news(&event("first", 1, i + 1));
            seen.is_news(&event("other", i, 1));
        }
        assert_eq!(seen.streams.len(), STREAMS_MAX);
        assert!(!seen.is_news(&event("first", 1, 1)), "who speaks is not forgotten");
    }
}
