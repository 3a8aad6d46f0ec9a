//! An application at a peer, and what it was promised.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::contest::{Contest, REFUSALS};
use super::verdict::Failed;
use crate::control::Control;
use crate::node::Node;
use crate::wait;

/// The topic that everybody publishes to and reads.
pub(super) const COMMON: &str = "chaos/all";
/// Topics of each application that are never deleted.
const LASTING_MAX: usize = 40;
/// Further topics of each application that live at the same time.
const PASSING_MAX: usize = 8;
/// Topics of others that each application subscribes to.
const SUBSCRIBED_MAX: usize = 20;
/// Commands that put records.
const WRITES: [&str; 5] = ["create_topic", "subscribe", "delete_topic", "register", "unregister"];
/// Failures that are kept as text.
const FAILED_MAX: usize = 1_000;

/// What the seeds must know of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Promise {
    /// Whose it is: an id.
    pub(super) host: String,
    /// It was created, and not deleted.
    pub(super) live: bool,
    /// It will not be deleted, so others may count on it.
    lasting: bool,
    /// Who subscribed to it, by id.
    pub(super) subscribers: Vec<String>,
}

/// What all applications share.
#[derive(Debug)]
pub(super) struct Board {
    start: Instant,
    stopped: AtomicBool,
    /// No majority of the seeds runs: to refuse what needs one is right.
    headless: AtomicBool,
    /// How often that was done.
    pub(super) refused: AtomicU64,
    /// By topic.
    promises: Mutex<BTreeMap<String, Promise>>,
    /// Ids of the peers, and how many messages each received.
    received: Vec<AtomicU64>,
    published: AtomicU64,
    pub(super) calls: Mutex<Vec<Duration>>,
    /// How long those took that write.
    pub(super) write_times: Mutex<Vec<Duration>>,
    /// When writes were acknowledged.
    pub(super) writes: Mutex<Vec<Instant>>,
    pub(super) failed: Mutex<Vec<Failed>>,
    pub(super) contest: Contest,
}

impl Board {
    /// For the peers with these ids.
    pub(super) fn new(peers: Vec<String>) -> Self {
        let start = Instant::now();
        Self {
            start,
            stopped: AtomicBool::new(false),
            headless: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            promises: Mutex::default(),
            received: peers.iter().map(|_| AtomicU64::new(0)).collect(),
            published: AtomicU64::new(0),
            calls: Mutex::default(),
            write_times: Mutex::default(),
            writes: Mutex::default(),
            failed: Mutex::default(),
            contest: Contest::new(start, peers),
        }
    }

    pub(super) fn start(&self) -> Instant {
        self.start
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    pub(super) fn set_headless(&self, headless: bool) {
        self.headless.store(headless, Ordering::SeqCst);
    }

    pub(super) fn published(&self) -> u64 {
        self.published.load(Ordering::SeqCst)
    }

    pub(super) fn received(&self, peer: usize) -> u64 {
        self.received[peer].load(Ordering::SeqCst)
    }

    /// What was promised so far.
    pub(super) fn expected(&self) -> BTreeMap<String, Promise> {
        self.promises().clone()
    }

    fn promises(&self) -> MutexGuard<'_, BTreeMap<String, Promise>> {
        lock(&self.promises)
    }
}

/// A lock that an application that panicked cannot spoil.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One application.
#[derive(Debug)]
pub(super) struct Client {
    number: usize,
    id: String,
    address: SocketAddr,
    control: Control,
    pause: Duration,
    board: Arc<Board>,
    /// Topics that it created, ever.
    created: usize,
    passing: Vec<String>,
    subscribed: usize,
}

impl Client {
    pub(super) fn new(number: usize, peer: &Node, pause: Duration, board: Arc<Board>) -> Self {
        Self {
            number,
            id: peer.id().to_owned(),
            address: peer.control_address(),
            control: peer.control(),
            pause,
            board,
            created: 0,
            passing: Vec::new(),
            subscribed: 0,
        }
    }

    /// Works until the board says that it is over.
    pub(super) fn work(mut self) {
        while !self.board.stopped.load(Ordering::SeqCst) {
            self.turn();
        }
    }

    fn turn(&mut self) {
        let lasting = self.created.is_multiple_of(2) && self.created < 2 * LASTING_MAX;
        let topic = format!("chaos/{}/{}", self.number, self.created);
        self.created += 1;
        // The first publication to a topic waits for subscribers to be linked. Writes would wait
        // for that too, so it is not done by all at the same time.
        let publishes = (self.created + self.number).is_multiple_of(8);
        if self.create(&topic, lasting) && publishes {
            self.call(&json!({"command": "publish", "topic": topic, "message": "first"}));
        }
        self.publish();
        self.pull();
        self.meet();
        self.contend();
        if self.passing.len() > PASSING_MAX {
            self.delete();
        }
    }

    fn create(&mut self, topic: &str, lasting: bool) -> bool {
        let created = self.call(&json!({"command": "create_topic", "topic": topic}));
        if created.is_none() {
            return false;
        }
        if !lasting {
            self.passing.push(topic.to_owned());
        }
        self.promise(topic, true, lasting);
        self.wrote();
        true
    }

    fn publish(&mut self) {
        let request = json!({"command": "publish", "topic": COMMON, "message": "to all"});
        if self.call(&request).is_some() {
            self.board.published.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn pull(&mut self) {
        let request = json!({"command": "pull", "topic": COMMON, "max": 1000});
        let Some(answer) = self.call(&request) else { return };
        let messages = answer["messages"].as_array().map_or(0, Vec::len);
        self.board.received[self.number].fetch_add(messages as u64, Ordering::SeqCst);
    }

    /// Looks up a topic of somebody else's, which must be found, and subscribes to it.
    fn meet(&mut self) {
        let found = {
            let promises = self.board.promises();
            let many = promises.len().max(1);
            let mut others = promises.iter().skip((self.created * 31 + self.number) % many);
            let found = others.find(|(_, promise)| promise.lasting && promise.host != self.id);
            found.map(|(topic, promise)| (topic.clone(), promise.subscribers.contains(&self.id)))
        };
        let Some((topic, subscribed)) = found else { return };
        self.call(&json!({"command": "topic_info", "topic": topic}));
        if subscribed || self.subscribed >= SUBSCRIBED_MAX {
            return;
        }
        if self.call(&json!({"command": "subscribe", "topic": topic})).is_some() {
            self.subscribed += 1;
            if let Some(promise) = self.board.promises().get_mut(&topic) {
                promise.subscribers.push(self.id.clone());
            }
            self.wrote();
        }
    }

    /// Creates, deletes or looks up a topic or a name that others want too: to be refused is all
    /// right.
    fn contend(&mut self) {
        let board = Arc::clone(&self.board);
        let Some(next) = board.contest.next(self.number, self.created) else { return };
        self.rest();
        let call = board.contest.asked(self.number, &next);
        let answer = self.ask(&next.request, &REFUSALS);
        board.contest.answered(call, &next, answer.as_ref());
        let is_write = next.request["command"].as_str().is_some_and(|name| WRITES.contains(&name));
        if is_write && answer.is_some_and(|answer| answer["status"] == "ok") {
            self.wrote();
        }
    }

    /// Deletes the oldest topic that does not last.
    fn delete(&mut self) {
        let topic = self.passing.remove(0);
        // Until that is acknowledged, both is right.
        self.board.promises().remove(&topic);
        if self.call(&json!({"command": "delete_topic", "topic": topic})).is_some() {
            self.promise(&topic, false, false);
            self.wrote();
        }
    }

    fn promise(&self, topic: &str, live: bool, lasting: bool) {
        let promise = Promise { host: self.id.clone(), live, lasting, subscribers: Vec::new() };
        self.board.promises().insert(topic.to_owned(), promise);
    }

    fn wrote(&self) {
        lock(&self.board.writes).push(Instant::now());
    }

    /// A call that must succeed; `None` when it did not.
    fn call(&mut self, request: &Value) -> Option<Value> {
        self.rest();
        self.ask(request, &[])
    }

    fn rest(&self) {
        // Not all at the same pace, else they all write at the same moments.
        let uneven = u32::try_from((self.created * 7 + self.number * 13) % 8).unwrap_or(0);
        wait::pause(self.pause / 2 + self.pause * uneven / 8);
    }

    /// A call that must succeed, or be refused with one of these codes; `None` when it did not.
    fn ask(&mut self, request: &Value, refusals: &[&str]) -> Option<Value> {
        let is_right = |answer: &Value| {
            let code = answer["code"].as_str().unwrap_or_default();
            answer["status"] == "ok" || refusals.contains(&code)
        };
        let headless = self.board.headless.load(Ordering::SeqCst);
        let at = Instant::now();
        let asked = self.control.send(format!("{request}\n").as_bytes());
        let answer = asked.map_err(anyhow::Error::from).and_then(|()| self.control.answer());
        let took = at.elapsed();
        let why = match answer {
            Ok(answer) if is_right(&answer) => {
                lock(&self.board.calls).push(took);
                if matches!(request["command"].as_str(), Some(name) if WRITES.contains(&name)) {
                    lock(&self.board.write_times).push(took);
                }
                return Some(answer);
            }
            Ok(answer) if headless && answer["code"] == "no_quorum" => {
                self.board.refused.fetch_add(1, Ordering::SeqCst);
                return None;
            }
            Ok(answer) => answer.to_string(),
            Err(error) => {
                // An answer that comes too late must not be taken for the next one's.
                if let Ok(control) = Control::connect(self.address) {
                    self.control = control;
                }
                format!("{error:#}")
            }
        };
        let mut failed = lock(&self.board.failed);
        if failed.len() < FAILED_MAX {
            let at = at.duration_since(self.board.start);
            let (peer, request) = (self.number, request.to_string());
            failed.push(Failed { at, took, peer, request, why });
        }
        None
    }
}
