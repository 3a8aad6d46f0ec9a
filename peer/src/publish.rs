//! Publishing: room, the machine's command, the receipt.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tidings_proto::peer::event::{Answer, Command, CommandError};
use tidings_proto::wire::batch::MESSAGE_BYTES_MAX;
use tidings_proto::{Peer as Machine, Topic};
use tidings_runtime::{Handle, TryCommandError};

use crate::error::Error;
use crate::outgoing::Outgoing;
use crate::pending::{Extra, Pending, Ticket};
use crate::window::Window;

/// A publication waits this long for room on congested links. A neighbour that does not read is
/// disconnected long before that.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_secs(30);

/// Publications of a task before others have their turn: about four batches of 1 KiB messages, or
/// one of small ones. With all that fits, four times as many, the median latency of an overlay
/// under full load was four times as long.
const TURN: usize = 256;

/// A publication that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its sequence number in this peer's stream of the topic.
    pub seq: u64,
    /// The sequence number of the first message of its batch.
    pub batch: u64,
    /// On how many links it went out. 0 is a result: nobody listens yet.
    pub reached: u32,
}

/// Where a handed-over publication stands: a future that resolves when it is on its way. Dropping
/// it does not take the publication back.
#[derive(Debug)]
#[must_use = "a refused publication is reported here only"]
pub struct Receipt {
    ticket: Ticket,
}

impl Future for Receipt {
    type Output = Result<Published, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.ticket.answer).poll(cx).map(|answered| match answered {
            Ok(Ok(Answer::Published { seq, batch, reached })) => {
                Ok(Published { seq, batch, reached })
            }
            Ok(Ok(_)) => Err(Error::Internal),
            Ok(Err(refused)) => Err(Error::Refused(refused)),
            Err(_) => Err(Error::Stopped),
        })
    }
}

/// The publishing half of a peer.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    pending: Arc<Pending>,
    handle: Handle<Machine>,
    window: Window,
    /// Publications handed over so far.
    taken: Arc<AtomicUsize>,
}

impl Publisher {
    pub(crate) fn new(pending: Arc<Pending>, handle: Handle<Machine>) -> Self {
        Self { pending, handle, window: Window::new(), taken: Arc::default() }
    }

    pub(crate) async fn publish(&self, topic: &str, message: Outgoing) -> Result<Published, Error> {
        let taken = self.until_taken(topic, message);
        let published = tokio::time::timeout(PUBLISH_TIMEOUT, taken).await;
        published.unwrap_or(Err(Error::Timeout(PUBLISH_TIMEOUT)))
    }

    /// Tries again while the machine is busy.
    async fn until_taken(&self, topic: &str, message: Outgoing) -> Result<Published, Error> {
        loop {
            match self.enqueue(topic, message.clone()).await?.await {
                Err(Error::Refused(CommandError::Busy { retry_ms, .. })) => {
                    tokio::time::sleep(Duration::from_millis(u64::from(retry_ms.max(1)))).await;
                }
                result => return result,
            }
        }
    }

    pub(crate) async fn enqueue(&self, topic: &str, message: Outgoing) -> Result<Receipt, Error> {
        let topic = check(topic, &message)?;
        // Where there is room nothing is awaited: a task that publishes much at once is not sent
        // to the end of the line for each message, and what it publishes is signed together. But
        // it does not fill all queues on the way before others had their turn.
        if self.taken.fetch_add(1, Ordering::Relaxed) % TURN == TURN - 1 {
            tokio::task::yield_now().await;
        }
        let room = match self.window.try_enter(message.len()) {
            Ok(room) => room,
            Err(_) => self.window.enter(message.len()).await.map_err(|_| Error::Stopped)?,
        };
        let mut ticket = self.pending.ticket(Extra::Room(room))?;
        let command = publish_command(&ticket, topic, message);
        self.handle.command(command).await.map_err(|_| Error::Stopped)?;
        ticket.sent = true;
        Ok(Receipt { ticket })
    }

    pub(crate) fn try_enqueue(&self, topic: &str, message: Outgoing) -> Result<Receipt, Error> {
        let topic = check(topic, &message)?;
        let busy = Error::Busy("publications");
        let room = self.window.try_enter(message.len()).map_err(|_| busy.clone())?;
        let mut ticket = self.pending.ticket(Extra::Room(room))?;
        let command = publish_command(&ticket, topic, message);
        self.handle.try_command(command).map_err(|error| match error {
            TryCommandError::Full => busy,
            TryCommandError::Stopped => Error::Stopped,
        })?;
        ticket.sent = true;
        Ok(Receipt { ticket })
    }

    /// Waits until everything handed over so far is on its way.
    pub(crate) async fn drained(&self) {
        self.window.drained().await;
    }
}

/// Refuses what the machine would refuse, before it takes room.
fn check(topic: &str, message: &Outgoing) -> Result<Topic, Error> {
    let topic = Topic::new(topic)?;
    let size = message.body.len();
    if size > MESSAGE_BYTES_MAX {
        let refused = CommandError::TooLarge { size, limit: MESSAGE_BYTES_MAX };
        return Err(Error::Refused(refused));
    }
    Ok(topic)
}

fn publish_command(ticket: &Ticket, topic: Topic, message: Outgoing) -> Command {
    Command::Publish { request: ticket.request, topic, message: message.into() }
}
