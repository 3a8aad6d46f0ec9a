//! Topics and names that all applications create, delete and look up without regard for each
//! other. What they saw of them must be linearizable.

use std::sync::Mutex;
use std::time::Instant;

use serde_json::{Value, json};
use tidings_sim::check::linear::{Act, History, Outcome};

use super::client::lock;

/// How many there are, half of them names: few, so that many want the same one.
const TOPICS: usize = 4;
/// How what is a name begins here.
const NAME: &str = "name ";
/// Calls that are made in all. More would take minutes to judge.
const CALLS_MAX: usize = 200_000;
/// A call on a contested topic or name is refused with one of these, or answered.
pub(super) const REFUSALS: [&str; 5] =
    ["topic_exists", "name_taken", "not_host", "topic_not_found", "name_not_found"];

/// What was seen of contested topics and names.
#[derive(Debug)]
pub(super) struct Contest {
    start: Instant,
    history: Mutex<History<String>>,
    /// Ids of the peers.
    peers: Vec<String>,
}

/// A call that is to be made.
#[derive(Debug)]
pub(super) struct Try {
    pub(super) request: Value,
    act: Act,
    topic: String,
}

impl Contest {
    pub(super) fn new(start: Instant, peers: Vec<String>) -> Self {
        Self { start, history: Mutex::default(), peers }
    }

    /// What a peer does in its turn of this number; nothing, when enough was done.
    pub(super) fn next(&self, peer: usize, turn: usize) -> Option<Try> {
        let number = (turn + peer) % TOPICS;
        let topic = match number % 2 {
            0 => format!("chaos/contested/{number}"),
            _ => format!("{NAME}contested {number}"),
        };
        let history = lock(&self.history);
        let is_mine = history.host(&topic) == u32::try_from(peer).ok();
        let act = match (turn * 3 + peer) % 5 {
            0..=2 if is_mine => Act::Delete,
            0 | 1 => Act::Create,
            2 => Act::Delete,
            _ => Act::Read,
        };
        let request = request(act, &topic);
        (history.len() < CALLS_MAX).then_some(Try { request, act, topic })
    }

    /// A peer is about to be asked; returns the number of the call.
    pub(super) fn asked(&self, peer: usize, what: &Try) -> u64 {
        let by = u32::try_from(peer).unwrap_or(u32::MAX);
        lock(&self.history).asked(self.now_us(), what.topic.clone(), by, what.act)
    }

    /// It has answered, or not.
    pub(super) fn answered(&self, call: u64, what: &Try, answer: Option<&Value>) {
        let now_us = self.now_us();
        let outcome = answer.and_then(|answer| self.outcome(what.act, answer));
        lock(&self.history).answered(now_us, call, outcome);
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// What an answer says; `None` when it leaves that open.
    fn outcome(&self, act: Act, answer: &Value) -> Option<Outcome> {
        if answer["status"] != "ok" {
            return match answer["code"].as_str()? {
                "topic_not_found" | "name_not_found" => Some(Outcome::Absent),
                // The message names the host.
                "topic_exists" | "name_taken" | "not_host" => {
                    let host = self.named(answer["message"].as_str()?)?;
                    Some(Outcome::There { generation: None, host })
                }
                _ => None,
            };
        }
        match act {
            Act::Delete => Some(Outcome::Deleted),
            Act::Create => Some(Outcome::Created { generation: answer["generation"].as_u64()? }),
            // What a peer only remembers is no read of a majority.
            Act::Read if answer["confirmed"] == true => Some(Outcome::There {
                generation: Some(answer["generation"].as_u64()?),
                host: self.named(answer["host"].as_str()?)?,
            }),
            Act::Read => None,
        }
    }

    /// The peer whose id is in a text.
    fn named(&self, text: &str) -> Option<u32> {
        let place = self.peers.iter().position(|id| text.contains(id.as_str()))?;
        u32::try_from(place).ok()
    }

    /// How many calls fit in an order that explains all of them, and on how many topics.
    ///
    /// # Errors
    /// There is none, in words.
    pub(super) fn check(&self) -> Result<(usize, usize), String> {
        let history = lock(&self.history);
        let placed = history.check().map_err(|fault| fault.to_string())?;
        Ok((placed, history.topics()))
    }
}

/// How it is asked for.
fn request(act: Act, topic: &str) -> Value {
    if let Some(name) = topic.strip_prefix(NAME) {
        let command = match act {
            Act::Create => "register",
            Act::Delete => "unregister",
            Act::Read => "name_info",
        };
        return json!({"command": command, "name": name, "exist_ok": false});
    }
    let command = match act {
        Act::Create => "create_topic",
        Act::Delete => "delete_topic",
        Act::Read => "topic_info",
    };
    json!({"command": command, "topic": topic})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(contest: &Contest, peer: usize, act: Act, answer: &Value) {
        let what = Try { request: Value::Null, act, topic: "t".into() };
        let number = contest.asked(peer, &what);
        contest.answered(number, &what, Some(answer));
        // The next one is asked later.
        let now_us = contest.now_us();
        while contest.now_us() == now_us {}
    }

    #[test]
    fn answers_of_peers_are_understood_and_those_that_contradict_are_found() {
        let contest = Contest::new(Instant::now(), vec!["aa11".into(), "bb22".into()]);
        let there = |is: bool, host: &str| {
            let generation = 1;
            json!({"status": "ok", "confirmed": is, "generation": generation, "host": host})
        };
        let refused =
            |code: &str, why: &str| json!({"status": "error", "code": code, "message": why});
        call(&contest, 1, Act::Read, &refused("topic_not_found", "Topic 't' not found"));
        call(&contest, 0, Act::Create, &there(true, "aa11"));
        call(&contest, 1, Act::Create, &refused("topic_exists", "exists, hosted by aa11"));
        call(&contest, 1, Act::Create, &refused("name_taken", "is taken by aa11"));
        call(&contest, 1, Act::Delete, &refused("not_host", "is hosted by aa11, only"));
        call(&contest, 1, Act::Read, &there(true, "aa11"));
        call(&contest, 0, Act::Delete, &json!({"status": "ok"}));
        assert_eq!(contest.check(), Ok((7, 1)));
        call(&contest, 1, Act::Read, &there(false, "aa11"));
        call(&contest, 1, Act::Read, &refused("no_quorum", "too few"));
        assert_eq!(contest.check(), Ok((7, 1)), "nothing is known");
        call(&contest, 1, Act::Read, &there(true, "aa11"));
        assert!(contest.check().is_err(), "it was deleted");
    }

    #[test]
    fn everybody_does_everything_on_every_topic() {
        let contest = Contest::new(Instant::now(), vec!["aa11".into(), "bb22".into()]);
        let mut seen = std::collections::BTreeSet::new();
        for turn in 0..100 {
            let next = contest.next(1, turn).expect("there is room");
            seen.insert((next.topic, next.act));
        }
        assert_eq!(seen.len(), TOPICS * 3);
    }
}
