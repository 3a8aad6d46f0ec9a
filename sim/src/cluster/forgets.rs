//! An operator has peers forgotten without knowing how it is with them: the seeds must know.

use std::time::Duration;

use tidings_proto::RequestId;
use tidings_proto::seed::event::Command;
use tidings_proto::wire::frame::{AdminAnswer, AdminCommand};

use super::apps::Token;
use super::tally::Tally;
use super::{Cluster, node};
use crate::network::address;

impl Cluster<'_> {
    /// A random seed is asked to forget a random peer.
    pub(super) fn forget(&mut self) {
        let Some(every_ms) = self.scenario.forget_every_ms else { return };
        let now = self.world.now();
        self.world.at(now + Duration::from_millis(every_ms), Token::Forget);
        let seeds: Vec<u32> = self.world.host.roster.seeds().collect();
        let peers: Vec<u32> = self.world.host.roster.peers().collect();
        let seed = seeds[self.draws.index(seeds.len())];
        let peer = peers[self.draws.index(peers.len())];
        if self.world.is_running(seed) {
            let command = AdminCommand::Forget(address(peer).to_string());
            let command = Command::Admin { request: RequestId(1), command };
            self.world.command(seed, node::Command::Seed(command));
        }
    }
}

impl Tally {
    /// What became of a wish to forget a peer.
    pub(super) fn forgets(&mut self, answer: &AdminAnswer) {
        match answer {
            AdminAnswer::Forgotten(_) => self.forgotten += 1,
            AdminAnswer::Refused(_) => self.not_forgotten += 1,
            AdminAnswer::Set(_) | AdminAnswer::NoQuorum => {}
        }
    }
}
