//! A node of either role, as one machine.

use tidings_proto::{Input, Instant, Machine, Output, Peer, Seed, peer, seed};

/// A node's machine.
#[derive(Debug)]
pub(super) enum AnyNode {
    /// A peer.
    Peer(Box<Peer>),
    /// A seed.
    Seed(Box<Seed>),
}

/// A command to either role.
#[derive(Clone, Debug)]
pub(super) enum Command {
    /// To a peer.
    Peer(peer::event::Command),
    /// To a seed.
    Seed(seed::event::Command),
}

/// An event of either role.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Of a peer.
    Peer(peer::event::Event),
    /// Of a seed.
    Seed(seed::event::Event),
}

/// A record of either role.
#[derive(Clone, Debug)]
pub(super) enum Durable {
    /// Of a peer.
    Peer(peer::event::Durable),
    /// Of a seed.
    Seed(seed::event::Durable),
}

impl AnyNode {
    /// The seed, if it is one.
    pub(super) fn seed(&self) -> Option<&Seed> {
        match self {
            Self::Seed(seed) => Some(seed),
            Self::Peer(_) => None,
        }
    }
}

impl Machine for AnyNode {
    type Command = Command;
    type Event = Event;
    type Durable = Durable;

    fn handle(&mut self, now: Instant, input: Input<Command>) {
        match self {
            Self::Peer(peer) => {
                let input = with_command(input, |command| match command {
                    Command::Peer(command) => Some(command),
                    Command::Seed(_) => None,
                });
                if let Some(input) = input {
                    peer.handle(now, input);
                }
            }
            Self::Seed(seed) => {
                let input = with_command(input, |command| match command {
                    Command::Seed(command) => Some(command),
                    Command::Peer(_) => None,
                });
                if let Some(input) = input {
                    seed.handle(now, input);
                }
            }
        }
    }

    fn poll_output(&mut self) -> Option<Output<Event, Durable>> {
        match self {
            Self::Peer(peer) => {
                peer.poll_output().map(|output| with_event(output, Event::Peer, Durable::Peer))
            }
            Self::Seed(seed) => {
                seed.poll_output().map(|output| with_event(output, Event::Seed, Durable::Seed))
            }
        }
    }

    fn takes_traffic(&self) -> bool {
        match self {
            Self::Peer(peer) => peer.takes_traffic(),
            Self::Seed(seed) => seed.takes_traffic(),
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        match self {
            Self::Peer(peer) => peer.next_deadline(),
            Self::Seed(seed) => seed.next_deadline(),
        }
    }
}

/// The input with its command unwrapped; none when the command is for the other role.
fn with_command<C>(input: Input<Command>, of: impl Fn(Command) -> Option<C>) -> Option<Input<C>> {
    Some(match input {
        Input::LinkUp { link, node, remote, dialed } => {
            Input::LinkUp { link, node, remote, dialed }
        }
        Input::LinkDown { link, cause } => Input::LinkDown { link, cause },
        Input::DialFailed { dial, cause } => Input::DialFailed { dial, cause },
        Input::Received { link, frame } => Input::Received { link, frame },
        Input::Shed { link, class, frames, batches } => {
            Input::Shed { link, class, frames, batches }
        }
        Input::Command(command) => Input::Command(of(command)?),
        Input::Persisted(token) => Input::Persisted(token),
        Input::Tick => Input::Tick,
    })
}

fn with_event<E, D>(
    output: Output<E, D>,
    event: impl Fn(E) -> Event,
    durable: impl Fn(D) -> Durable,
) -> Output<Event, Durable> {
    match output {
        Output::Dial { dial, address, timeout_ms } => Output::Dial { dial, address, timeout_ms },
        Output::Send { link, class, frame } => Output::Send { link, class, frame },
        Output::Close { link, goodbye } => Output::Close { link, goodbye },
        Output::Persist { token, record } => Output::Persist { token, record: durable(record) },
        Output::Event(told) => Output::Event(event(told)),
    }
}
