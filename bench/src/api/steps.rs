//! The commands, in an order in which each finds what it needs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hdrhistogram::Histogram;
use serde_json::Value;
use tidings::control::{Client, ClientError, Keep, Publish, Pull, Request, Subscribe};

use crate::api::cluster::histogram;

/// A message is pulled in this time, or it is an error.
const PULL_WAIT_MS: u64 = 5_000;
/// Errors after which a client gives a step up: the figures would mean nothing.
const ERRORS_MAX: u64 = 100;

/// A command of the control port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    CreateTopic,
    Lookup,
    Subscribe,
    Publish,
    Pull,
    DeleteTopic,
}

impl Step {
    /// In order.
    pub(crate) const ALL: [Self; 6] = [
        Self::CreateTopic,
        Self::Lookup,
        Self::Subscribe,
        Self::Publish,
        Self::Pull,
        Self::DeleteTopic,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CreateTopic => "create_topic",
            Self::Lookup => "topic_info",
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Pull => "pull",
            Self::DeleteTopic => "delete_topic",
        }
    }

    /// How often it is done: for each topic, or as often as was asked.
    pub(crate) fn count(self, topics: usize, ops: usize) -> usize {
        match self {
            Self::CreateTopic => topics,
            Self::Subscribe | Self::DeleteTopic => ops.min(topics),
            Self::Lookup | Self::Publish | Self::Pull => ops,
        }
    }
}

/// One client's share of a step: `first`, `first + stride` and so on below `count`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) step: Step,
    /// The peer that the client is connected to.
    pub(crate) peer: usize,
    pub(crate) first: usize,
    pub(crate) stride: usize,
    pub(crate) count: usize,
    pub(crate) topics: usize,
    pub(crate) payload: usize,
}

/// How a client did.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) latencies: Histogram<u64>,
    pub(crate) errors: u64,
    pub(crate) error: Option<String>,
}

impl Work {
    /// Does it, one request after the other, and counts what was `answered`. Fails when the
    /// connection breaks.
    pub(crate) async fn run(
        self,
        mut client: Client,
        answered: &AtomicU64,
    ) -> anyhow::Result<(Client, Part)> {
        let mut part = Part { latencies: histogram()?, errors: 0, error: None };
        for number in (self.first..self.count).step_by(self.stride) {
            let request = self.request(number);
            let begin = Instant::now();
            let answer = client.call::<Value>(&request).await;
            let took = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let problem = match answer {
                Ok(answer) => self.problem(&answer),
                Err(ClientError::Refused(problem)) => Some(problem.message),
                Err(error) => return Err(error.into()),
            };
            match problem {
                None => part.latencies.saturating_record(took),
                Some(problem) => {
                    part.errors += 1;
                    part.error.get_or_insert(problem);
                }
            }
            answered.fetch_add(1, Ordering::Relaxed);
            if part.errors >= ERRORS_MAX {
                break;
            }
        }
        Ok((client, part))
    }

    /// The request of that number. A client creates and deletes its own topics, subscribes to
    /// them, and publishes and pulls there: every peer subscribes to topics that it hosts, so
    /// that a message is there when its publication is answered. Lookups go to all topics.
    fn request(&self, number: usize) -> Request {
        // With more requests than topics a client begins again with its own first topic.
        let whole_rounds = self.topics / self.stride * self.stride;
        let topic = format!("bench/{}", number % whole_rounds);
        match self.step {
            Step::CreateTopic => {
                let topic = format!("bench/{number}");
                Request::CreateTopic { topic, exist_ok: false, policy: Keep::default() }
            }
            Step::DeleteTopic => Request::DeleteTopic { topic: format!("bench/{number}") },
            Step::Lookup => {
                // A prime stride: neighbouring requests ask for topics of different peers.
                let other = number.wrapping_mul(7_919) % self.topics;
                Request::TopicInfo { topic: format!("bench/{other}") }
            }
            Step::Subscribe => Request::Subscribe(Subscribe::new(topic)),
            Step::Publish => {
                let text = vec![b'a' + (self.peer % 26) as u8; self.payload];
                Request::Publish(Publish::new(topic, text))
            }
            Step::Pull => Request::Pull(Pull { topic: Some(topic), max: 1, wait_ms: PULL_WAIT_MS }),
        }
    }

    /// What is wrong with an answer that is no refusal.
    fn problem(&self, answer: &Value) -> Option<String> {
        let pulled = answer["messages"].as_array().is_some_and(|messages| !messages.is_empty());
        (self.step == Step::Pull && !pulled).then(|| "nothing was pulled".to_owned())
    }
}
