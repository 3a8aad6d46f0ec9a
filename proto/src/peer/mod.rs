//! The role that carries messages.

pub mod event;
pub mod status;

use crate::config::PeerConfig;
use crate::crypto::Signer;
use crate::machine::{Input, Machine, Output};
use crate::time::Instant;
use event::{Command, Durable, Event};
use status::PeerStatus;

/// A peer's protocol.
#[derive(Debug)]
pub struct Peer {
    config: PeerConfig,
    signer: Signer,
}

impl Peer {
    /// A peer that has just started.
    pub fn new(config: PeerConfig, signer: Signer, _now: Instant) -> Self {
        Self { config, signer }
    }

    /// What it shows of itself.
    pub fn status(&self) -> PeerStatus {
        unreachable!("{:?} {:?}", self.config, self.signer)
    }
}

impl Machine for Peer {
    type Command = Command;
    type Event = Event;
    type Durable = Durable;

    fn handle(&mut self, _now: Instant, _input: Input<Command>) {}

    fn poll_output(&mut self) -> Option<Output<Event, Durable>> {
        None
    }

    fn next_deadline(&self) -> Option<Instant> {
        None
    }
}
