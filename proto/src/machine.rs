//! The contract between a node's protocol and the world.
//!
//! 1. Construct a machine from its configuration.
//! 2. Hand it everything that happens: `handle(now, input)`. `now` never goes back.
//! 3. After each input, or after several that are ready together, take `poll_output` until it
//!    returns `None`, and do what it says, in order.
//! 4. Call `handle(now, Input::Tick)` when `next_deadline` is reached. Ask for the deadline
//!    after each draining: it moves.
//!
//! The machine does no I/O, reads no clock and draws no randomness but from its seed, so the
//! same inputs at the same times give the same outputs, under tokio and in the simulator.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::id::{DialId, LinkId, NodeId};
use crate::time::Instant;
use crate::wire::batch::Batch;
use crate::wire::frame::{Frame, Goodbye};

/// The most batches named in one [`Input::Shed`]. What is beyond is found by comparing heads.
pub const SHED_BATCHES_MAX: usize = 1_024;

/// A node's protocol.
pub trait Machine {
    /// What the application may ask.
    type Command;
    /// What the application and the log are told.
    type Event;
    /// What must survive a restart.
    type Durable;

    /// Takes in what happened.
    fn handle(&mut self, now: Instant, input: Input<Self::Command>);

    /// The next thing to do, if any. Take all before waiting.
    fn poll_output(&mut self) -> Option<Output<Self::Event, Self::Durable>>;

    /// Whether commands that make traffic are to be handed over now, or are to wait where they
    /// come from, which slows down those who send them.
    fn takes_traffic(&self) -> bool {
        true
    }

    /// When to call with [`Input::Tick`] at the latest.
    fn next_deadline(&self) -> Option<Instant>;
}

/// What can happen to a node.
#[derive(Clone, Debug)]
pub enum Input<C> {
    /// A connection stands and its handshake proved who is at the other end. `dialed` is the
    /// dial it came from, `None` for an accepted one.
    LinkUp {
        /// The driver's number for it.
        link: LinkId,
        /// Who is at the other end.
        node: NodeId,
        /// The other end's address, as seen here.
        remote: SocketAddr,
        /// The dial that it answers.
        dialed: Option<DialId>,
    },
    /// A connection is gone, unless the machine closed it itself.
    LinkDown {
        /// Which.
        link: LinkId,
        /// Why.
        cause: LinkDown,
    },
    /// A dial did not become a link.
    DialFailed {
        /// Which.
        dial: DialId,
        /// Why, for the log.
        cause: DialFailure,
    },
    /// A frame came.
    Received {
        /// On which link.
        link: LinkId,
        /// The frame.
        frame: Frame,
    },
    /// The link's queue had no room for frames of this class; they were shed. At most one such
    /// input per link and draining.
    Shed {
        /// Which link.
        link: LinkId,
        /// The class that was shed.
        class: Class,
        /// How many frames.
        frames: u32,
        /// The new batches among them, at most [`SHED_BATCHES_MAX`]; answers to pulls are not
        /// listed.
        batches: Vec<Arc<Batch>>,
    },
    /// The application asks for something.
    Command(C),
    /// Everything persisted up to this token is on disk.
    Persisted(u64),
    /// A deadline is reached.
    Tick,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkDown {
    /// The other end closed it, or the network did.
    Closed,
    /// It brought bytes that are no frame; the text says what was wrong.
    Malformed(&'static str),
}

/// Why a dial failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialFailure {
    /// Nobody listens there.
    Refused,
    /// No answer in time.
    Timeout,
    /// The connection stood, but the handshake failed.
    Handshake,
    /// Anything else.
    Other,
}

impl DialFailure {
    /// For logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Handshake => "handshake failed",
            Self::Other => "unreachable",
        }
    }
}

/// What a node wants done.
#[derive(Clone, Debug)]
pub enum Output<E, D> {
    /// Connect; answer with `LinkUp` or `DialFailed`.
    Dial {
        /// The machine's number for it.
        dial: DialId,
        /// Where to.
        address: SocketAddr,
        /// Give up after this many milliseconds, handshake included.
        timeout_ms: u32,
    },
    /// Queue a frame. To a link that is gone: forget it.
    Send {
        /// On which link.
        link: LinkId,
        /// Its place in the queue.
        class: Class,
        /// The frame.
        frame: Frame,
    },
    /// Send the reason, if any, after what is queued in its class, and close. No `LinkDown`
    /// follows.
    Close {
        /// Which link.
        link: LinkId,
        /// What to tell the other end; `None` closes at once.
        goodbye: Option<Goodbye>,
    },
    /// Write, and answer with `Persisted(token)`.
    Persist {
        /// Rises.
        token: u64,
        /// What.
        record: D,
    },
    /// Tell the application or the log.
    Event(E),
}

/// The place of a frame in a link's queue: a lower class goes first and is shed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Liveness, membership, tables. Never shed: overflow closes the link.
    Control,
    /// The node's own publications.
    Own,
    /// Answers to pulls.
    Repair,
    /// Other nodes' publications.
    Forward,
    /// Announcements: the first to go.
    Announce,
}

impl Class {
    /// All classes, the most urgent first.
    pub const ALL: [Self; 5] =
        [Self::Control, Self::Own, Self::Repair, Self::Forward, Self::Announce];

    /// Its name in metrics and views.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Own => "own",
            Self::Repair => "repair",
            Self::Forward => "forward",
            Self::Announce => "announce",
        }
    }
}
