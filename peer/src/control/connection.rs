//! One client: reads requests, does them in order, queues the answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use tidings_proto::Topic;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio_util::sync::CancellationToken;

use crate::control::answer::Done;
use crate::control::error::{Code, Problem};
use crate::control::execute::{self, Addresses, Question, execute};
use crate::control::lines::{Line, Lines};
use crate::control::output::{Closed, Items, Output, answer_line, output};
use crate::control::request::{self, PUBLISH_WAIT_MS_MAX, Publish, Request, Start};
use crate::control::session::{Session, not_subscribed};
use crate::control::streams::Streams;
use crate::error::Error;
use crate::outgoing::Outgoing;
use crate::peer::Peer;

/// After a line that is too long, as many bytes are read and forgotten at most, for as long, so
/// that the client gets the error instead of a reset.
const DISCARD_BYTES_MAX: usize = 16 << 20;
const DISCARD_TIME_MAX: Duration = Duration::from_secs(2);

/// What all connections of a control port share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) peer: Peer,
    pub(crate) session: Session,
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
        stop: shared.stop.clone(),
        shared,
        output,
        unsettled: false,
    };
    let reading = connection.run(Lines::new(reader, line_max), gone);
    // One task for both: the writer goes on until everything that was asked is answered.
    let ((), written) = tokio::join!(reading, writing);
    if let Err(error) = written {
        tracing::info!(%remote, %error, "control_connection_lost");
    }
}

/// Resolves when the connection is broken, not when the client has merely ended its input.
async fn reset(reader: &OwnedReadHalf) {
    match reader.ready(Interest::ERROR).await {
        Ok(ready) if ready.is_error() => {}
        // Cannot be told apart from a connection that goes on.
        _ => std::future::pending().await,
    }
}

struct Connection {
    shared: Arc<Shared>,
    streams: Streams,
    output: Output,
    stop: CancellationToken,
    /// Publications may be under way that later requests must not overtake.
    unsettled: bool,
}

impl Connection {
    /// Ends when the client does, when nothing can be written any more, or when the port stops.
    async fn run(mut self, mut lines: Lines<OwnedReadHalf>, gone: CancellationToken) {
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = gone.cancelled() => {}
            // A closed output shows in `gone` as well; the client has nothing left to be told.
            _ = self.serve_lines(&mut lines) => {}
        }
    }

    async fn serve_lines(&mut self, lines: &mut Lines<OwnedReadHalf>) -> Result<(), Closed> {
        loop {
            // A read error is a client that is gone: what it asked before is done all the same.
            match lines.next().await.unwrap_or(Line::End) {
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
                    return Ok(());
                }
            }
        }
    }

    async fn request(&mut self, line: &[u8]) -> Result<(), Closed> {
        let parsed = request::parse(line);
        let id = parsed.id.as_deref();
        let question = match parsed.request {
            Err(problem) => return self.answer::<Done>(id, Err(problem)).await,
            Ok(Request::Publish(publish)) => return self.publish(parsed.id, publish).await,
            Ok(Request::Subscribe { topic, stream, from }) => {
                self.settle().await?;
                return self.subscribe(id, &topic, stream, from).await;
            }
            Ok(Request::Unsubscribe { topic }) => {
                self.settle().await?;
                let ended = self.unsubscribe(&topic).await;
                return self.answer(id, ended).await;
            }
            Ok(Request::CreateTopic { topic, exist_ok }) => {
                Question::CreateTopic { topic, exist_ok }
            }
            Ok(Request::DeleteTopic { topic }) => Question::DeleteTopic { topic },
            Ok(Request::ListTopics(list)) => Question::ListTopics(list),
            Ok(Request::TopicInfo { topic }) => Question::TopicInfo { topic },
            Ok(Request::Request(ask)) => Question::Request(ask),
            Ok(Request::Pull(pull)) => Question::Pull(pull),
            Ok(Request::Peers(list)) => Question::Peers(list),
            Ok(Request::Seeds) => Question::Seeds,
            Ok(Request::Status) => Question::Status,
            Ok(Request::Ping) => Question::Ping,
            Ok(Request::Help) => Question::Help,
        };
        self.settle().await?;
        let Shared { peer, session, addresses, .. } = &*self.shared;
        let answer = execute(peer, session, *addresses, question).await;
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

    async fn subscribe(
        &mut self,
        id: Option<&RawValue>,
        topic: &str,
        stream: bool,
        start: Start,
    ) -> Result<(), Closed> {
        let subscribed = Subscribed { topic, stream, from: start };
        if !stream {
            let (peer, session) = (&self.shared.peer, &self.shared.session);
            let kept = session.subscribe(peer, topic, execute::from(start)).await;
            return self.answer(id, kept.map(|()| subscribed)).await;
        }
        if self.streams.has(topic) {
            return self.answer(id, Ok(subscribed)).await;
        }
        match self.open_stream(topic, start).await {
            Ok(subscription) => {
                // The answer comes before the first event.
                self.answer(id, Ok(subscribed)).await?;
                self.streams.start(subscription, self.output.clone());
                Ok(())
            }
            Err(problem) => self.answer::<Done>(id, Err(problem)).await,
        }
    }

    async fn open_stream(
        &mut self,
        topic: &str,
        start: Start,
    ) -> Result<crate::Subscription, Problem> {
        self.streams.check_room()?;
        Ok(self.shared.peer.subscribe_from(topic, execute::from(start)).await?)
    }

    /// Ends this connection's stream of the topic; when it has none, the session's subscription.
    async fn unsubscribe(&mut self, topic: &str) -> Result<Done, Problem> {
        let name = Topic::new(topic).map_err(Error::from)?;
        let streamed = self.streams.end(topic).await;
        let ended = streamed.or_else(|| self.shared.session.remove(topic));
        let Some(subscription) = ended else { return Err(not_subscribed(Some(&name))) };
        subscription.unsubscribe().await?;
        Ok(Done {})
    }

    /// Waits for the publications of this connection, which other requests could overtake.
    async fn settle(&mut self) -> Result<(), Closed> {
        if std::mem::take(&mut self.unsettled) {
            self.output.settled().await?;
        }
        Ok(())
    }

    async fn answer<T: Serialize>(
        &self,
        id: Option<&RawValue>,
        answer: Result<T, Problem>,
    ) -> Result<(), Closed> {
        self.output.lines(answer_line(id, answer)).await
    }
}

/// The answer to `subscribe`.
#[derive(Debug, Serialize)]
struct Subscribed<'a> {
    topic: &'a str,
    stream: bool,
    from: Start,
}
