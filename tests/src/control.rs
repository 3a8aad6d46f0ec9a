//! An application at a peer's control port: JSON lines over TCP.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// Longer than any answer takes that is not asked to wait.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Longer than an event is late on a machine that is busy: a peer waits 30 s for what is missing
/// before it says so.
const EVENT_TIMEOUT: Duration = Duration::from_secs(90);

/// A connection to a control port.
#[derive(Debug)]
pub struct Control {
    stream: BufReader<TcpStream>,
    events: VecDeque<Value>,
}

impl Control {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self { stream: BufReader::with_capacity(64 << 10, stream), events: VecDeque::new() })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The other end closed, or does not read.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// The next line, `None` when the other end closed.
    ///
    /// # Errors
    /// Nothing for 15 s, a broken connection, or a line that is not JSON.
    pub fn line(&mut self) -> Result<Option<Value>> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Ok(_) => serde_json::from_str(&line).with_context(|| format!("not JSON: {line}")),
            Err(error) => Err(error.into()),
        }
    }

    /// The next answer; events that come before it are kept for [`Control::event`].
    ///
    /// # Errors
    /// As [`Control::line`], or the other end closed.
    pub fn answer(&mut self) -> Result<Value> {
        loop {
            let line = self.line()?.context("the control port closed the connection")?;
            if line.get("event").is_none() {
                return Ok(line);
            }
            self.events.push_back(line);
        }
    }

    /// The next event of a stream.
    ///
    /// # Errors
    /// Nothing for 90 s, otherwise as [`Control::line`], or the other end closed.
    pub fn event(&mut self) -> Result<Value> {
        if let Some(event) = self.events.pop_front() {
            return Ok(event);
        }
        let waits = self.stream.buffer().is_empty();
        if waits {
            self.stream.get_ref().set_read_timeout(Some(EVENT_TIMEOUT))?;
        }
        let line = self.line()?;
        if waits {
            self.stream.get_ref().set_read_timeout(Some(TIMEOUT))?;
        }
        line.context("the control port closed the connection")
    }

    /// Sends a request and returns its answer, whatever it says.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    pub fn ask(&mut self, request: &Value) -> Value {
        let asked = self.send(format!("{request}\n").as_bytes());
        let answer = asked.map_err(Into::into).and_then(|()| self.answer());
        answer.unwrap_or_else(|error| panic!("no answer to {request}: {error:#}"))
    }

    /// Sends a request that must succeed, and returns its answer.
    ///
    /// # Panics
    /// When it does not succeed.
    #[track_caller]
    pub fn ok(&mut self, request: &Value) -> Value {
        let answer = self.ask(request);
        assert_eq!(answer["status"], "ok", "{request} was answered {answer}");
        answer
    }

    /// Sends a request that must be refused, and returns the code and the message.
    ///
    /// # Panics
    /// When it succeeds, or the refusal has no code or no message.
    #[track_caller]
    pub fn refused(&mut self, request: &Value) -> (String, String) {
        refusal(&self.ask(request))
    }

    /// Creates a topic.
    #[track_caller]
    pub fn create(&mut self, topic: &str) {
        self.ok(&json!({"command": "create_topic", "topic": topic}));
    }

    /// Subscribes the peer's own session from now on.
    #[track_caller]
    pub fn subscribe(&mut self, topic: &str) {
        self.ok(&json!({"command": "subscribe", "topic": topic}));
    }

    /// Publishes a text.
    #[track_caller]
    pub fn publish(&mut self, topic: &str, message: &str) -> Value {
        self.ok(&json!({"command": "publish", "topic": topic, "message": message}))
    }

    /// Pulls what is there, waiting up to `wait_ms` for the first message.
    #[track_caller]
    pub fn pull(&mut self, topic: &str, wait_ms: u64) -> Vec<Value> {
        let answer = self.ok(&json!({
            "command": "pull", "topic": topic, "max": 1000, "wait_ms": wait_ms
        }));
        answer["messages"].as_array().expect("pull answers with messages").clone()
    }

    /// Pulls until there are `count` messages.
    ///
    /// # Panics
    /// When there are fewer after `limit`, or more.
    #[track_caller]
    pub fn pull_all(&mut self, topic: &str, count: usize, limit: Duration) -> Vec<Value> {
        let mut all = Vec::new();
        let start = std::time::Instant::now();
        while all.len() < count && start.elapsed() < limit {
            all.extend(self.pull(topic, 500));
        }
        assert_eq!(all.len(), count, "messages of {topic} after {:?}", start.elapsed());
        all
    }
}

/// The code and the message of an answer that says no.
///
/// # Panics
/// When it says something else.
#[track_caller]
pub fn refusal(answer: &Value) -> (String, String) {
    assert_eq!(answer["status"], "error", "expected a refusal: {answer}");
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    let (code, message) = (text("code"), text("message"));
    assert!(!code.is_empty() && !message.is_empty(), "code and message are missing: {answer}");
    (code, message)
}

/// The texts of pulled messages or of message events.
pub fn texts(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["message"].as_str().unwrap_or("<no text>")).collect()
}
