//! One client: reads requests, does them in order, queues the answers.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use socket2::SockRef;
use tidings_proto::Topic;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio_util::sync::CancellationToken;

use crate::control::answer::Done;
use crate::control::error::{Code, Problem};
use crate::control::execute::{Addresses, Question, execute};
use crate::control::filters::{FilterStreams, is_filter};
use crate::control::lines::{Line, Lines};
use crate::control::named::NamedSession;
use crate::control::output::{Closed, Items, Output, answer_line, output};
use crate::control::request::{
    self, PUBLISH_WAIT_MS_MAX, Publish, Request, Start, Subscribe, parse_received,
};
use crate::control::streams::Streams;
use crate::error::Error;
use crate::outgoing::Outgoing;
use crate::peer::Peer;
use crate::session::Session;
use crate::subscribe::{Position, SubscribeOptions};

/// After a line that is too long, as many bytes are read and forgotten at most, for as long, so
/// that the client gets the error instead of a reset.
const DISCARD_BYTES_MAX: usize = 16 << 20;
const DISCARD_TIME_MAX: Duration = Duration::from_secs(2);

/// A client that was killed resets the connection when it gets what it did not read; on the same
/// host that is at once.
const RESET_WITHIN: Duration = Duration::from_millis(30);

/// What all connections of a control port share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) peer: Peer,
    pub(crate) addresses: Addresses,
    pub(crate) line_max: usize,
    pub(crate) subscriptions_max: usize,
    /// A client that takes nothing for so long is disconnected.
    pub(crate) stall: Duration,
    pub(crate) stop: CancellationToken,
}

/// Serves a client until it is done, gone, or the port stops.
pub(crate) async fn serve(shared: Arc<Shared>, stream: TcpStream, remote: SocketAddr) {
    let (reader, mut writer) = stream.into_split();
    let (output, items) = output();
    let line_max = shared.line_max;
    let stall = shared.stall;
    let gone = CancellationToken::new();
    let writing = {
        let gone = gone.clone();
        async move {
            let written = Items::write(items, &mut writer, stall).await;
            gone.cancel();
            written
        }
    };
    let connection = Connection {
        streams: Streams::new(shared.subscriptions_max),
        filters: FilterStreams::default(),
        stop: shared.stop.clone(),
        shared,
        output,
        unsettled: false,
        named: None,
    };
    let mut lines = Lines::new(reader, line_max);
    let reading = connection.run(&mut lines, gone);
    // One task for both: the writer goes on until everything that was asked is answered.
    let (ended, written) = tokio::join!(reading, writing);
    if let Err(error) = &written {
        tracing::info!(%remote, %error, "control_connection_lost");
    }
    if let Some(session) = ended.session {
        // Whoever reads what was written last resets nothing.
        let broken = tokio::time::timeout(RESET_WITHIN, reset(lines.reader())).await.is_ok();
        if ended.clean && written.is_ok() && !broken {
            session.confirm_all();
        }
    }
}

/// How a connection ended.
struct Ended {
    /// The session that it had, which is lost when this is dropped.
    session: Option<Arc<Session>>,
    /// The client has ended its input in an orderly way.
    clean: bool,
}

/// Resolves when the connection is broken, not when the client has merely ended its input.
async fn reset(reader: &OwnedReadHalf) {
    match reader.ready(Interest::ERROR).await {
        Ok(ready) if ready.is_error() => {}
        // Cannot be told apart from a connection that goes on.
        _ => std::future::pending().await,
    }
}

pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    pub(crate) streams: Streams,
    pub(crate) filters: FilterStreams,
    pub(crate) output: Output,
    stop: CancellationToken,
    /// Publications may be under way that later requests must not overtake.
    unsettled: bool,
    pub(crate) named: Option<NamedSession>,
}

impl Connection {
    /// Ends when the client does, when nothing can be written any more, or when the port stops.
    async fn run(mut self, lines: &mut Lines<OwnedReadHalf>, gone: CancellationToken) -> Ended {
        let stop = self.stop.clone();
        let clean = tokio::select! {
            biased;
            () = stop.cancelled() => false,
            () = gone.cancelled() => false,
            // A closed output shows in `gone` as well; the client has nothing left to be told.
            served = self.serve_lines(lines) => served.is_ok(),
        };
        let session = match self.named.take() {
            Some(named) => Some(named.stop_all().await),
            None => None,
        };
        Ended { session, clean }
    }

    async fn serve_lines(&mut self, lines: &mut Lines<OwnedReadHalf>) -> Result<(), Closed> {
        loop {
            let ahead = lines.is_ahead() || self.asks_ahead(lines).await?;
            // A read error is a client that is gone: what it asked before is done all the same.
            let line = lines.next().await.map_err(|_| Closed)?;
            if !ahead && let Some(named) = &mut self.named {
                // It asks, or ends, after what it pulled was sent.
                named.confirm_pulled();
            }
            match line {
                Line::End => return Ok(()),
                Line::Complete(line) if line.trim_ascii().is_empty() => {}
                Line::Complete(line) => tokio::select! {
                    biased;
                    done = self.request(&line) => done?,
                    // A client that was reset while it waited must not take messages.
                    () = reset(lines.reader()) => return Err(Closed),
                },
                Line::TooLong => {
                    let limit = self.shared.line_max;
                    let message = format!("a line has at most {limit} bytes; closing");
                    let problem = Problem::new(Code::TooLarge, message);
                    self.answer::<Done>(None, Err(problem)).await?;
                    let discarding = lines.discard(DISCARD_BYTES_MAX);
                    // Whatever happens here, the connection ends now.
                    let _ = tokio::time::timeout(DISCARD_TIME_MAX, discarding).await;
                    // The client has not ended its input: nothing says what it has read.
                    return Err(Closed);
                }
            }
        }
    }

    /// Whether the client has asked for something else before the answer to its last pull was
    /// sent. Without such a pull nobody wants to know.
    async fn asks_ahead(&self, lines: &Lines<OwnedReadHalf>) -> Result<bool, Closed> {
        if !self.named.as_ref().is_some_and(NamedSession::has_pulled) {
            return Ok(false);
        }
        self.output.flushed().await?;
        // The socket itself is asked: the runtime may not have noticed yet what has come.
        let socket = SockRef::from(lines.reader().as_ref());
        match socket.peek(&mut [MaybeUninit::uninit()]) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            // Told once: who reads after this would take it for an orderly end.
            Err(_) => Err(Closed),
        }
    }

    async fn request(&mut self, line: &[u8]) -> Result<(), Closed> {
        let parsed = request::parse(line);
        let id = parsed.id.as_deref();
        let question = match parsed.request {
            Err(problem) => return self.answer::<Done>(id, Err(problem)).await,
            Ok(Request::Publish(publish)) => return self.publish(parsed.id, publish).await,
            Ok(Request::Subscribe(subscribe)) => {
                self.settle().await?;
                return self.subscribe(id, &subscribe).await;
            }
            Ok(Request::Connect { name, received }) => {
                self.settle().await?;
                return self.connect(id, &name, &received).await;
            }
            Ok(Request::Disconnect) => {
                self.settle().await?;
                let ended = self.disconnect().await;
                return self.answer(id, ended).await;
            }
            Ok(Request::Ack { topic, pos }) => {
                let confirmed = self.acknowledge(&topic, pos);
                return self.answer(id, confirmed).await;
            }
            Ok(Request::Unsubscribe { topic }) => {
                self.settle().await?;
                let ended = self.unsubscribe(&topic).await;
                return self.answer(id, ended).await;
            }
            Ok(Request::CreateTopic { topic, exist_ok, policy }) => {
                Question::CreateTopic { topic, exist_ok, policy: policy.0 }
            }
            Ok(Request::Sessions { offset, limit }) => Question::Sessions { offset, limit },
            Ok(Request::DeleteTopic { topic }) => Question::DeleteTopic { topic },
            Ok(Request::ListTopics(list)) => Question::ListTopics(list),
            Ok(Request::TopicInfo { topic }) => Question::TopicInfo { topic },
            Ok(Request::Register { name, exist_ok }) => Question::Register { name, exist_ok },
            Ok(Request::Unregister { name }) => Question::Unregister { name },
            Ok(Request::Names(list)) => Question::Names(list),
            Ok(Request::NameInfo { name }) => Question::NameInfo { name },
            Ok(Request::Request(ask)) => Question::Request(ask),
            Ok(Request::Pull(pull)) => {
                if let Some(named) = &mut self.named {
                    named.note_pull();
                }
                Question::Pull(pull)
            }
            Ok(Request::Peers(list)) => Question::Peers(list),
            Ok(Request::Forget { peer }) => Question::Forget { peer },
            Ok(Request::Seeds) => Question::Seeds,
            Ok(Request::Status) => Question::Status,
            Ok(Request::Ping) => Question::Ping,
            Ok(Request::Help) => Question::Help,
        };
        self.settle().await?;
        let Shared { peer, addresses, .. } = &*self.shared;
        let answer = execute(peer, &self.session(), *addresses, question).await;
        self.answer(id, answer).await
    }

    /// Hands the message over and goes on with the next request: messages that come together go
    /// out together.
    async fn publish(&mut self, id: Option<Box<RawValue>>, publish: Publish) -> Result<(), Closed> {
        let peer = &self.shared.peer;
        let topic = &publish.topic;
        let message = Outgoing::new(publish.body.0).with_headers(publish.headers);
        let handed_over = match publish.wait_ms.unwrap_or(PUBLISH_WAIT_MS_MAX) {
            0 => peer.try_publish(topic, message),
            wait_ms => {
                let wait = Duration::from_millis(wait_ms);
                let waited = tokio::time::timeout(wait, peer.enqueue(topic, message)).await;
                // It still waited for room: nothing was done.
                waited.unwrap_or(Err(Error::Busy("publications")))
            }
        };
        match handed_over {
            Ok(receipt) => {
                self.unsettled = true;
                self.output.receipt(receipt, id).await
            }
            Err(error) => self.answer::<Done>(id.as_deref(), Err(error.into())).await,
        }
    }

    /// The session of this connection: a named one, or that of the peer.
    pub(crate) fn session(&self) -> Arc<Session> {
        match &self.named {
            Some(named) => Arc::clone(named.session()),
            None => Arc::new(self.shared.peer.session()),
        }
    }

    async fn subscribe(
        &mut self,
        id: Option<&RawValue>,
        subscribe: &Subscribe,
    ) -> Result<(), Closed> {
        // What begins to be streamed is so after the answer.
        let gate = self.named.as_ref().map(NamedSession::gate);
        let _closed = match &gate {
            Some(gate) => Some(gate.lock().await),
            None => None,
        };
        let Subscribe { topic, stream, from, policy, durable, received } = subscribe;
        let subscribed = Subscribed { topic, stream: *stream, from: *from };
        let from = from.from(self.shared.peer.wall_us());
        let options = SubscribeOptions { from, policy: policy.0, durable: *durable };
        // They were parsed before.
        let mut received = parse_received(received).unwrap_or_default();
        if is_filter(topic) {
            let answer = serde_json::to_value(subscribed);
            let answer = answer.map_err(|e| Problem::new(Code::Internal, e.to_string()));
            return self.subscribe_filter(id, topic, (options, received), (*stream, answer)).await;
        }
        let received = Topic::new(topic).ok().and_then(|topic| received.remove(&topic));
        let received = received.unwrap_or_default();
        if *stream && self.named.is_none() {
            if self.streams.claim(topic) {
                return self.answer(id, Ok(subscribed)).await;
            }
            return match self.open_stream(topic, options, &received).await {
                Ok(subscription) => {
                    // The answer comes before the first event.
                    self.answer(id, Ok(subscribed)).await?;
                    self.streams.start(subscription, self.output.clone());
                    Ok(())
                }
                Err(problem) => self.answer::<Done>(id, Err(problem)).await,
            };
        }
        let done = self.session().subscribe_as(topic, options, &received, *stream).await;
        let streamed = done.is_ok().then(|| Topic::new(topic).ok()).flatten();
        self.answer(id, done.map(|()| subscribed).map_err(Problem::from)).await?;
        if let (Some(named), Some(topic)) = (&mut self.named, streamed) {
            match stream {
                true => named.start(topic, self.output.clone()),
                false => named.stop(&topic).await,
            }
        }
        Ok(())
    }

    async fn open_stream(
        &mut self,
        topic: &str,
        options: SubscribeOptions,
        received: &[Position],
    ) -> Result<crate::Subscription, Problem> {
        self.streams.check_room()?;
        Ok(self.shared.peer.subscribe_after(topic, received, options).await?)
    }

    /// Ends this connection's stream of the topic; when it has none, the session's subscription.
    async fn unsubscribe(&mut self, topic: &str) -> Result<Done, Problem> {
        if is_filter(topic) {
            return self.unsubscribe_filter(topic).await;
        }
        let name = Topic::new(topic).map_err(Error::from)?;
        if let Some(subscription) = self.streams.end(topic).await {
            subscription.unsubscribe().await?;
            return Ok(Done {});
        }
        if let Some(named) = &mut self.named {
            named.stop(&name).await;
        }
        self.session().unsubscribe(topic).await?;
        Ok(Done {})
    }

    async fn connect(
        &mut self,
        id: Option<&RawValue>,
        name: &str,
        received: &BTreeMap<String, u64>,
    ) -> Result<(), Closed> {
        if let Some(named) = &self.named {
            let connected = named.session().name().unwrap_or_default();
            let message = format!("connected as '{connected}' already; disconnect first");
            let problem = Problem::new(Code::NotConnected, message);
            return self.answer::<Done>(id, Err(problem)).await;
        }
        match NamedSession::connect(&self.shared.peer, name, received).await {
            Ok((named, view)) => {
                // The answer comes before what was missed.
                self.answer(id, Ok(view)).await?;
                self.named.insert(named).start_streams(&self.output);
                Ok(())
            }
            Err(error) => self.answer::<Done>(id, Err(error.into())).await,
        }
    }

    async fn disconnect(&mut self) -> Result<Done, Problem> {
        match self.named.take() {
            Some(named) => {
                named.disconnect().await;
                Ok(Done {})
            }
            None => Err(not_connected()),
        }
    }

    fn acknowledge(&self, topic: &str, pos: u64) -> Result<Done, Problem> {
        let named = self.named.as_ref().ok_or_else(not_connected)?;
        named.session().confirm_to(topic, pos)?;
        Ok(Done {})
    }

    /// Waits for the publications of this connection, which other requests could overtake.
    async fn settle(&mut self) -> Result<(), Closed> {
        if std::mem::take(&mut self.unsettled) {
            self.output.settled().await?;
        }
        Ok(())
    }

    pub(crate) async fn answer<T: Serialize>(
        &self,
        id: Option<&RawValue>,
        answer: Result<T, Problem>,
    ) -> Result<(), Closed> {
        self.output.lines(answer_line(id, answer)).await
    }
}

fn not_connected() -> Problem {
    let message = "this connection has no session of its own; 'connect' begins one";
    Problem::new(Code::NotConnected, message)
}

/// The answer to `subscribe`.
#[derive(Debug, Serialize)]
struct Subscribed<'a> {
    topic: &'a str,
    stream: bool,
    from: Start,
}
