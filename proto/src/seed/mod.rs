//! The role that lets peers meet.

pub mod event;
pub mod status;

use crate::config::SeedConfig;
use crate::crypto::Signer;
use crate::machine::{Input, Machine, Output};
use crate::time::Instant;
use event::{Command, Durable, Event};
use status::{Page, PeerView, SeedStatus, TopicView};

/// A seed's protocol.
#[derive(Debug)]
pub struct Seed {
    config: SeedConfig,
    signer: Signer,
}

impl Seed {
    /// A seed that has just started.
    pub fn new(config: SeedConfig, signer: Signer, _now: Instant) -> Self {
        Self { config, signer }
    }

    /// What it shows of itself.
    pub fn status(&self) -> SeedStatus {
        unreachable!("{:?} {:?}", self.config, self.signer)
    }

    /// Peers whose name, address or id contains `filter`, ordered by address.
    pub fn peers(
        &self,
        _now: Instant,
        _filter: &str,
        _offset: usize,
        _limit: usize,
    ) -> Page<PeerView> {
        unreachable!()
    }

    /// Topics that match the MQTT filter (empty: all), ordered by name.
    pub fn topics(&self, _filter: &str, _offset: usize, _limit: usize) -> Page<TopicView> {
        unreachable!()
    }
}

impl Machine for Seed {
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
