//! A running node: its handle for the application, and what it is started with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use thiserror::Error;
use tidings_proto::{Instant, LinkId, Machine, NodeId};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::driver;
use crate::key::NodeKey;
use crate::tls::Encryption;
use crate::traffic::{CLASSES, Count, Traffic};

/// What the machine tells the application and the disk. Lives in the driver's task: it is called
/// synchronously and must not block.
pub trait Host<M: Machine>: Send + 'static {
    /// Something for the application or the log.
    fn event(&mut self, now: Instant, event: M::Event);

    /// Keep this over a restart. Says whether that is done; the machine is told so.
    fn persist(&mut self, token: u64, record: M::Durable) -> Kept;

    /// For a host that keeps [`Kept::Later`]: everything that it was given up to the token is kept
    /// now. Called often; the context is woken when there is something. The default never is.
    fn poll_persisted(&mut self, _context: &mut Context<'_>) -> Poll<u64> {
        Poll::Pending
    }

    /// Whether a command makes traffic on links (a publication): such commands wait in a queue
    /// of their own, and are not taken while more than half of the links that carry batches are
    /// congested. The default is that none does.
    fn makes_traffic(_command: &M::Command) -> bool
    where
        Self: Sized,
    {
        false
    }

    /// About how many bytes a command that makes traffic puts on each link. The driver takes at
    /// most 512 KiB of them before it looks at the links again.
    fn traffic_bytes(_command: &M::Command) -> usize
    where
        Self: Sized,
    {
        0
    }
}

/// Whether a record is kept over a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is, as well as the machine needs it.
    Now,
    /// It will be: [`Host::poll_persisted`] says when.
    Later,
}

/// The bounds of a node's links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkLimits {
    /// Bytes queued for one link, all classes together. Default 8 MiB (design §9).
    pub queue_bytes: usize,
    /// Connections in all, accepted and dialled. Default 16,384: a seed among three with 20,000
    /// peers.
    pub links: usize,
    /// Handshakes of accepted connections under way. Default 256: with 3 s each, a flood of
    /// silent connections costs the others a wait, not memory.
    pub handshakes: usize,
    /// An accepted connection must prove its key within this. Default 3 s (design §7.29).
    pub handshake_timeout: Duration,
}

impl Default for LinkLimits {
    fn default() -> Self {
        Self {
            queue_bytes: 8 << 20,
            links: 16_384,
            handshakes: 256,
            handshake_timeout: Duration::from_secs(3),
        }
    }
}

/// What a node is started with.
#[derive(Debug)]
pub struct NodeOptions {
    /// The node's identity.
    pub key: Arc<NodeKey>,
    /// Where it is dialled, bound already: see [`crate::listen::bind`].
    pub listener: TcpListener,
    /// The clock that the machine was constructed with.
    pub clock: Clock,
    /// The bounds of its links.
    pub limits: LinkLimits,
    /// Whether they are encrypted.
    pub encryption: Encryption,
}

/// Starts the driver's task. Must be called within a tokio runtime.
pub fn spawn<M, H>(machine: M, host: H, options: NodeOptions) -> Node<M>
where
    M: Machine + Send + 'static,
    M::Command: Send + 'static,
    M::Event: Send,
    M::Durable: Send,
    H: Host<M>,
{
    let (commands, commands_in) = mpsc::channel(COMMANDS_MAX);
    let (traffic, traffic_in) = mpsc::channel(COMMANDS_MAX);
    let (requests, requests_in) = mpsc::channel(REQUESTS_MAX);
    let stop = CancellationToken::new();
    let inbox = driver::Inbox {
        commands: commands_in,
        traffic: traffic_in,
        requests: requests_in,
        stop: stop.clone(),
    };
    let task = tokio::spawn(driver::run(machine, host, options, inbox));
    let handle = Handle { commands, traffic, requests, makes_traffic: H::makes_traffic };
    Node { handle, stop, task }
}

/// A running node. Dropping it stops the driver without waiting.
#[derive(Debug)]
pub struct Node<M: Machine> {
    /// The way to the machine.
    pub handle: Handle<M>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl<M: Machine> Node<M> {
    /// Stops the driver: what is queued in the control class of each link, goodbyes included, is
    /// sent within 500 ms, then everything is closed. Commands that wait are dropped. A node that
    /// should leave its cluster is told so by a command first.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // A driver that panicked is stopped as well.
        let _ = (&mut self.task).await;
    }

    /// Resolves when the driver ended, which it does only when stopped or broken.
    pub async fn ended(&mut self) {
        let _ = (&mut self.task).await;
    }
}

impl<M: Machine> Drop for Node<M> {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The way to a running machine. Clones go to the same one.
pub struct Handle<M: Machine> {
    commands: mpsc::Sender<M::Command>,
    traffic: mpsc::Sender<M::Command>,
    requests: mpsc::Sender<Request<M>>,
    makes_traffic: fn(&M::Command) -> bool,
}

impl<M: Machine> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self {
            commands: self.commands.clone(),
            traffic: self.traffic.clone(),
            requests: self.requests.clone(),
            makes_traffic: self.makes_traffic,
        }
    }
}

impl<M: Machine> std::fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("stopped", &self.commands.is_closed()).finish()
    }
}

impl<M: Machine> Handle<M> {
    /// Hands a command to the machine; waits while the queue is full, which is how congested
    /// links slow down a publisher. Commands that make traffic keep their order among themselves,
    /// the others too; one kind may overtake the other.
    ///
    /// # Errors
    /// The node has stopped; the command is lost.
    pub async fn command(&self, command: M::Command) -> Result<(), Stopped> {
        let lane = self.lane(&command);
        match lane.try_send(command) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(command)) => {
                lane.send(command).await.map_err(|_| Stopped)
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Stopped),
        }
    }

    /// Hands a command to the machine if there is room.
    ///
    /// # Errors
    /// The queue is full, or the node has stopped; the command is lost.
    pub fn try_command(&self, command: M::Command) -> Result<(), TryCommandError> {
        self.lane(&command).try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => TryCommandError::Full,
            mpsc::error::TrySendError::Closed(_) => TryCommandError::Stopped,
        })
    }

    /// Looks at the machine, in the driver's task: `look` must be quick.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn inspect<R, F>(&self, look: F) -> Result<R, Stopped>
    where
        R: Send + 'static,
        F: FnOnce(&M, Instant) -> R + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let look = move |machine: &M, now: Instant| {
            // The asker may have gone away in the meantime.
            let _ = answer.send(look(machine, now));
        };
        self.requests.send(Request::Inspect(Box::new(look))).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }

    /// All links, in the order in which they were opened.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn links(&self) -> Result<Vec<LinkView>, Stopped> {
        Ok(self.network().await?.links)
    }

    /// All links, and what they and those before them have carried.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn network(&self) -> Result<Network, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::Network(answer)).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }

    /// Whether the driver has ended.
    pub fn is_stopped(&self) -> bool {
        self.commands.is_closed()
    }

    fn lane(&self, command: &M::Command) -> &mpsc::Sender<M::Command> {
        if (self.makes_traffic)(command) { &self.traffic } else { &self.commands }
    }
}

/// The node has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the node has stopped")]
pub struct Stopped;

/// Why a command was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TryCommandError {
    /// As many commands as fit wait already.
    #[error("the node's queue is full")]
    Full,
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// The links of a node, as of now, and what they did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// The links that stand, in the order in which they were opened.
    pub links: Vec<LinkView>,
    /// What all links have carried and shed, those that are gone included.
    pub traffic: Traffic,
}

/// A link, as of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkView {
    /// The driver's number for it.
    pub link: LinkId,
    /// Who is at the other end.
    pub node: NodeId,
    /// The other end's address, as seen here.
    pub remote: SocketAddr,
    /// This node dialled it.
    pub outbound: bool,
    /// Bytes that wait to be sent.
    pub queued_bytes: usize,
    /// What waits to be sent, by class in the order of `Class::ALL`.
    pub queued: [Count; CLASSES],
    /// Bytes of frames received.
    pub bytes_in: u64,
    /// Bytes of frames handed to TLS.
    pub bytes_out: u64,
    /// Frames received of a kind that this version does not know.
    pub unknown_frames: u64,
    /// Frames shed since the link stands, by class in the order of `Class::ALL`.
    pub shed: [u64; CLASSES],
}

type Look<M> = Box<dyn FnOnce(&M, Instant) + Send>;

/// What a handle asks of the driver itself.
pub(crate) enum Request<M> {
    Inspect(Look<M>),
    Network(oneshot::Sender<Network>),
}

/// Commands that wait for the driver, per queue. With 256 taken a turn, four turns.
const COMMANDS_MAX: usize = 1_024;
/// Inspections that wait for the driver.
const REQUESTS_MAX: usize = 64;
