//! Peers contest the names of topics: they create, read and delete them at the same time.

use std::time::Duration;

use tidings_proto::peer::event::{Answer, CommandError};
use tidings_proto::{Instant, Topic};

use super::apps::{Apps, Token};
use super::contests::command;
use super::roster::Request;
use super::{Cluster, node};
use crate::check::owners::{Act, Outcome};

/// How often, of ten steps, a name is created by several, and deleted by its owner; otherwise it
/// is read.
const CREATE: u64 = 3;
const DELETE: u64 = 2;
/// Peers that read a name at the same time.
const READERS: usize = 2;

impl Cluster<'_> {
    /// The next step of a pattern of claims. All is drawn, whether it takes place or not.
    pub(super) fn claim(&mut self, number: u32) {
        let now = self.world.now();
        let claim = &self.scenario.claim[number as usize];
        if now >= Instant::from_millis(claim.until_ms) {
            return;
        }
        self.world.at(now + Duration::from_millis(claim.every_ms), Token::Claim(number));
        let what = self.draws.below(10);
        let name = u32::from(self.scenario.topics)
            + u32::try_from(self.draws.below(claim.names.into())).expect("below a u32");
        let mut peers: Vec<u32> = self.world.host.roster.peers().collect();
        self.draws.shuffle(&mut peers);
        let contenders = claim.contenders as usize;
        let owners = &self.world.host.owners;
        let (act, who) = if what < CREATE {
            (Act::Create, peers[..contenders].to_vec())
        } else if what < CREATE + DELETE {
            (Act::Delete, owners.owner(name).into_iter().collect())
        } else {
            (Act::Read, peers.into_iter().take(READERS).collect())
        };
        // One change at a time, of several peers at most: then each has one outcome.
        if act != Act::Read && owners.is_changing(name) {
            return;
        }
        for peer in who {
            self.act(peer, name, act);
        }
    }

    fn act(&mut self, peer: u32, name: u32, act: Act) {
        let there = |app: &super::apps::App| app.started.is_some() && !app.leaving;
        let apps = self.world.host.apps.get(peer as usize);
        if !apps.is_some_and(there) || !self.world.is_running(peer) {
            return;
        }
        let now = self.world.now();
        let apps = &mut self.world.host;
        let number = apps.owners.asked(name, peer, act);
        apps.contests.claimed(now, number, (name, peer), act);
        let request = apps.request(now, peer, Request::Claim(number));
        let topic: Topic = apps.roster.topic(topic_number(name)).clone();
        if act == Act::Delete {
            apps.kept.forget(name);
        }
        self.world.command(peer, node::Command::Peer(command(act, request, topic)));
    }
}

fn topic_number(name: u32) -> u16 {
    u16::try_from(name).expect("names are few")
}

impl Apps {
    /// An act on a contested name was answered.
    pub(super) fn claimed(
        &mut self,
        now: Instant,
        number: u32,
        result: Result<Answer, CommandError>,
    ) {
        self.claim_answered(now, number, &result);
        let outcome = match &result {
            // What a peer only remembers is no read of a majority.
            Ok(Answer::Topic(info)) if !info.confirmed => Outcome::Refused,
            Ok(Answer::Topic(info)) => Outcome::Found {
                generation: info.record.generation,
                host: self.roster.find(info.record.host).unwrap_or(u32::MAX),
            },
            Ok(_) => Outcome::Deleted,
            Err(CommandError::TopicNotFound(_)) => Outcome::Absent,
            Err(_) => Outcome::Refused,
        };
        let done = self.owners.answered(&mut self.verdicts, now, number, outcome);
        if let (Some((name, Act::Create)), Ok(answer)) = (done, &result) {
            self.acknowledged(topic_number(name), answer);
        }
    }
}
