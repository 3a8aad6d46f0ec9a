//! The other end of the control port, for programs in Rust and for the commands of `peer`.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::control::answer::EventView;
use crate::control::error::Problem;
use crate::control::request::Request;

/// A peer on this host answers a connection at once, or it is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest line that is read: the longest answer to `pull`, base64 included, with room.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// The longest line that a peer reads (design §9).
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Events that wait here while an answer is awaited; more are a protocol error.
const EVENTS_MAX: usize = 65_536;

/// Why a request failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody answers at the address.
    #[error(
        "no peer answers at {address}: {source}; is one running, and is this its control address?"
    )]
    Unreachable {
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to the peer broke: {0}")]
    Broken(#[from] io::Error),
    /// The peer closed the connection, for instance because it stops.
    #[error("the peer closed the connection")]
    Closed,
    /// The other end does not speak this protocol.
    #[error("the answer is not one of a peer: {0}")]
    Protocol(String),
    /// The request does not fit into a line.
    #[error(
        "a message of {size} bytes makes a line of {line} bytes, and a line has at most {limit}"
    )]
    TooLarge {
        /// Bytes of the message, 0 for another request.
        size: usize,
        /// Bytes of the line.
        line: usize,
        /// The limit.
        limit: usize,
    },
    /// The peer refused.
    #[error("{}", .0.message)]
    Refused(Problem),
}

/// A connection to a control port.
#[derive(Debug)]
pub struct Client {
    sender: Sender,
    receiver: Receiver,
    events: VecDeque<EventView>,
}

/// The half that asks.
#[derive(Debug)]
pub struct Sender {
    writer: OwnedWriteHalf,
    buffer: Vec<u8>,
}

/// The half that hears answers and events.
#[derive(Debug)]
pub struct Receiver {
    reader: BufReader<OwnedReadHalf>,
    line: Vec<u8>,
}

/// What a peer says.
#[derive(Debug)]
pub enum Incoming {
    /// The answer to the oldest request that has none yet.
    Answer(Result<Value, Problem>),
    /// An event of a streaming subscription.
    Event(EventView),
}

impl Client {
    /// Connects to `address`, a host or an IP address with a port.
    ///
    /// # Errors
    /// Nobody answers there.
    pub async fn connect(address: &str) -> Result<Self, ClientError> {
        let unreachable = |source| ClientError::Unreachable { address: address.to_owned(), source };
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        let stream = connecting
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(unreachable)?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        Ok(Self {
            sender: Sender { writer, buffer: Vec::new() },
            receiver: Receiver {
                reader: BufReader::with_capacity(64 << 10, reader),
                line: Vec::new(),
            },
            events: VecDeque::new(),
        })
    }

    /// Asks, and waits for the answer. Not to be dropped half-way: the next call would get this
    /// one's answer.
    ///
    /// # Errors
    /// The peer refused, or the connection broke.
    pub async fn call<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError> {
        self.sender.queue(request)?;
        self.sender.flush().await?;
        loop {
            match self.receiver.next().await? {
                Incoming::Answer(answer) => {
                    let value = answer.map_err(ClientError::Refused)?;
                    return serde_json::from_value(value)
                        .map_err(|error| ClientError::Protocol(error.to_string()));
                }
                Incoming::Event(event) if self.events.len() < EVENTS_MAX => {
                    self.events.push_back(event);
                }
                Incoming::Event(_) => {
                    return Err(ClientError::Protocol("events, but no answer".to_owned()));
                }
            }
        }
    }

    /// The next event of the streaming subscriptions. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn event(&mut self) -> Result<EventView, ClientError> {
        if let Some(event) = self.events.pop_front() {
            return Ok(event);
        }
        match self.receiver.next().await? {
            Incoming::Event(event) => Ok(event),
            Incoming::Answer(_) => Err(ClientError::Protocol("an answer nobody asked for".into())),
        }
    }

    /// The two halves, for many requests on their way at once. Read while writing: a peer whose
    /// answers are not read stops reading.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }
}

impl Sender {
    /// Queues a request; [`Self::flush`] sends what is queued.
    ///
    /// # Errors
    /// The request does not fit into a line. Nothing is queued then.
    pub fn queue(&mut self, request: &Request) -> Result<(), ClientError> {
        let size = match request {
            Request::Publish(publish) => publish.body.0.len(),
            Request::Request(ask) => ask.body.0.len(),
            _ => 0,
        };
        self.queue_line(request, size)
    }

    /// Queues a request as it is, for those that this version has no type for.
    ///
    /// # Errors
    /// The request does not fit into a line. Nothing is queued then.
    pub fn queue_json(&mut self, request: &Value) -> Result<(), ClientError> {
        let size = request.get("message").and_then(Value::as_str).map_or(0, str::len);
        self.queue_line(request, size)
    }

    fn queue_line(&mut self, request: &impl Serialize, size: usize) -> Result<(), ClientError> {
        let start = self.buffer.len();
        serde_json::to_writer(&mut self.buffer, request)
            .map_err(|error| ClientError::Protocol(error.to_string()))?;
        let line = self.buffer.len() - start;
        if line > REQUEST_BYTES_MAX {
            self.buffer.truncate(start);
            return Err(ClientError::TooLarge { size, line, limit: REQUEST_BYTES_MAX });
        }
        self.buffer.push(b'\n');
        Ok(())
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        self.writer.write_all(&self.buffer).await?;
        self.buffer.clear();
        Ok(())
    }
}

impl Receiver {
    /// What the peer says next. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The connection broke, or the other end is no peer.
    pub async fn next(&mut self) -> Result<Incoming, ClientError> {
        let room = LINE_BYTES_MAX.saturating_sub(self.line.len() as u64);
        // What was read before the future was dropped is in `line` already.
        let mut limited = (&mut self.reader).take(room);
        limited.read_until(b'\n', &mut self.line).await?;
        if self.line.last() != Some(&b'\n') {
            return Err(match self.line.len() as u64 {
                LINE_BYTES_MAX.. => ClientError::Protocol("a line without an end".to_owned()),
                _ => ClientError::Closed,
            });
        }
        let read = parse(&self.line);
        self.line.clear();
        read
    }
}

fn parse(line: &[u8]) -> Result<Incoming, ClientError> {
    let protocol = |error: serde_json::Error| ClientError::Protocol(error.to_string());
    let value: Value = serde_json::from_slice(line).map_err(protocol)?;
    if value.get("event").is_some() {
        return serde_json::from_value(value).map(Incoming::Event).map_err(protocol);
    }
    match value.get("status").and_then(Value::as_str) {
        Some("ok") => Ok(Incoming::Answer(Ok(value))),
        Some("error") => {
            let problem = serde_json::from_value(value).map_err(protocol)?;
            Ok(Incoming::Answer(Err(problem)))
        }
        _ => Err(ClientError::Protocol("neither an answer nor an event".to_owned())),
    }
}
