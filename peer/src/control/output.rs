//! What goes out on a connection: answers in order, events between them, bounded.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::control::answer::PublishedView;
use crate::control::error::{Code, Problem};
use crate::error::Error;
use crate::publish::{PUBLISH_TIMEOUT, Published, Receipt};

/// Answers and pieces of events that wait on one connection.
const ITEMS_MAX: usize = 1_024;
/// Bytes that wait on one connection. A single longer answer is let through alone.
const BYTES_MAX: u32 = 4 << 20;
/// Written to the socket at once, when there is as much.
const WRITE_BYTES: usize = 64 << 10;

/// The connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

/// The way to a connection's socket. Waits while it is full: that is how a client that does not
/// read is slowed down.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    items: mpsc::Sender<Item>,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
enum Item {
    Bytes(Vec<u8>, OwnedSemaphorePermit),
    Receipt(Receipt, Option<Box<RawValue>>),
    Barrier(oneshot::Sender<()>),
    Flush(oneshot::Sender<()>),
}

/// The other end of an [`Output`].
#[derive(Debug)]
pub(crate) struct Items(mpsc::Receiver<Item>);

/// An output and what it feeds.
pub(crate) fn output() -> (Output, Items) {
    let (sender, receiver) = mpsc::channel(ITEMS_MAX);
    let room = Arc::new(Semaphore::new(BYTES_MAX as usize));
    (Output { items: sender, room }, Items(receiver))
}

impl Output {
    /// Queues whole lines.
    pub(crate) async fn lines(&self, lines: Vec<u8>) -> Result<(), Closed> {
        let size = u32::try_from(lines.len()).unwrap_or(BYTES_MAX).min(BYTES_MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(size).await.map_err(|_| Closed)?;
        self.items.send(Item::Bytes(lines, room)).await.map_err(|_| Closed)
    }

    /// Queues the place of a publication's answer.
    pub(crate) async fn receipt(
        &self,
        receipt: Receipt,
        id: Option<Box<RawValue>>,
    ) -> Result<(), Closed> {
        self.items.send(Item::Receipt(receipt, id)).await.map_err(|_| Closed)
    }

    /// Waits until everything queued before is handed to the socket.
    pub(crate) async fn flushed(&self) -> Result<(), Closed> {
        let (passed, waiting) = oneshot::channel();
        self.items.send(Item::Flush(passed)).await.map_err(|_| Closed)?;
        waiting.await.map_err(|_| Closed)
    }

    /// Waits until all publications queued before are answered.
    pub(crate) async fn settled(&self) -> Result<(), Closed> {
        let (passed, waiting) = oneshot::channel();
        self.items.send(Item::Barrier(passed)).await.map_err(|_| Closed)?;
        waiting.await.map_err(|_| Closed)
    }
}

impl Items {
    /// Writes everything to `socket` until all [`Output`]s are gone. Fails when the socket does,
    /// or when it takes nothing for as long as `stall`.
    pub(crate) async fn write<W>(mut self, socket: &mut W, stall: Duration) -> io::Result<()>
    where
        W: AsyncWrite + Unpin,
    {
        let mut buffer = Vec::new();
        while let Some(item) = self.0.recv().await {
            append(item, &mut buffer, socket, stall).await?;
            while buffer.len() < WRITE_BYTES {
                let Ok(item) = self.0.try_recv() else { break };
                append(item, &mut buffer, socket, stall).await?;
            }
            flush(&mut buffer, socket, stall).await?;
        }
        Ok(())
    }
}

/// Nothing that is written already waits for an answer that is not there yet.
async fn append<W>(
    item: Item,
    buffer: &mut Vec<u8>,
    socket: &mut W,
    stall: Duration,
) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    match item {
        Item::Bytes(lines, _room) => {
            buffer.extend_from_slice(&lines);
            if buffer.len() >= WRITE_BYTES {
                // Its room is given back only when it is written.
                flush(buffer, socket, stall).await?;
            }
        }
        Item::Receipt(mut receipt, id) => {
            let outcome = match poll_once(&mut receipt).await {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => {
                    flush(buffer, socket, stall).await?;
                    let waited = tokio::time::timeout(PUBLISH_TIMEOUT, receipt).await;
                    waited.unwrap_or(Err(Error::Timeout(PUBLISH_TIMEOUT)))
                }
            };
            let answer = outcome.map(PublishedView::from).map_err(Problem::from);
            buffer.extend_from_slice(&answer_line(id.as_deref(), answer));
        }
        Item::Flush(passed) => {
            flush(buffer, socket, stall).await?;
            // The connection may have ended while it waited.
            let _ = passed.send(());
        }
        Item::Barrier(passed) => {
            // The connection may have ended while it waited.
            let _ = passed.send(());
        }
    }
    Ok(())
}

async fn poll_once(receipt: &mut Receipt) -> Poll<Result<Published, Error>> {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *receipt).poll(cx))).await
}

async fn flush<W>(buffer: &mut Vec<u8>, socket: &mut W, stall: Duration) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    let mut rest = buffer.as_slice();
    while !rest.is_empty() {
        let stalled = || io::Error::new(io::ErrorKind::TimedOut, "the client does not read");
        let written = tokio::time::timeout(stall, socket.write(rest)).await;
        match written.map_err(|_| stalled())?? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            n => rest = &rest[n..],
        }
    }
    buffer.clear();
    Ok(())
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    #[serde(flatten)]
    body: T,
}

/// One answer, with its line end.
pub(crate) fn answer_line<T: Serialize>(
    id: Option<&RawValue>,
    answer: Result<T, Problem>,
) -> Vec<u8> {
    let written = match answer {
        Ok(body) => serde_json::to_vec(&Envelope { status: "ok", id, body }),
        Err(body) => serde_json::to_vec(&Envelope { status: "error", id, body }),
    };
    with_line_end(written)
}

/// One event, with its line end.
pub(crate) fn event_line<T: Serialize>(event: &T) -> Vec<u8> {
    with_line_end(serde_json::to_vec(event))
}

fn with_line_end(written: serde_json::Result<Vec<u8>>) -> Vec<u8> {
    // The views contain nothing that JSON cannot say; if one ever does, the client is told.
    let mut line = written.unwrap_or_else(|error| {
        tracing::error!(%error, "answer_not_written");
        let code = serde_json::to_string(&Code::Internal).unwrap_or_default();
        format!(r#"{{"status":"error","code":{code},"message":"internal error"}}"#).into_bytes()
    });
    line.push(b'\n');
    line
}
