//! Nodes that want a living peer to be taken for dead: all other peers report it, and some seeds
//! vote, and say that their votes stand, without having looked.

use std::ops::Range;
use std::time::Duration;

use tidings_proto::wire::frame::{Dead, Frame, Report};
use tidings_proto::wire::record::{DeathVote, Record, SignedRecord};
use tidings_proto::{Incarnation, Instant};

use super::Cluster;
use super::apps::Token;
use super::roster::{Disk, Roster};
use crate::network::address;

/// Liars answer this often: sooner than others stop to wait for it.
const INSIST_EVERY: Duration = Duration::from_millis(20);

/// The seeds that lie, and what they were asked.
#[derive(Debug, Default)]
pub(super) struct Lies {
    /// Seeds that lie.
    pub(super) seeds: Range<u32>,
    /// Who asked whom, and the answer.
    due: Vec<(u32, u32, Frame)>,
}

impl Lies {
    /// A frame reached a node.
    pub(super) fn asked(&mut self, node: u32, from: u32, frame: &Frame) {
        if let Frame::VoteAsked(accused, life, round) = *frame
            && self.seeds.contains(&node)
        {
            self.due.push((node, from, Frame::VoteStands(accused, life, round)));
        }
    }
}

impl Cluster<'_> {
    /// The peer that is lied about, and its life.
    fn accused(&self) -> Option<(u32, Incarnation)> {
        let accused = self.world.host.roster.peers().last()?;
        let started = self.world.host.apps[accused as usize].started?;
        let fresh = Roster::incarnation(started, &Disk::default());
        // It has raised it since, if it was declared dead.
        let raised = Incarnation(self.world.host.disks[accused as usize].incarnation);
        Some((accused, raised.max(fresh)))
    }

    /// Each liar lies once more.
    pub(super) fn lie(&mut self) {
        let Some(liars) = &self.scenario.liars else { return };
        let now = self.world.now();
        if now >= Instant::from_millis(liars.until_ms) {
            return;
        }
        self.world.at(now + Duration::from_millis(liars.every_ms), Token::Lie);
        let Some((accused, incarnation)) = self.accused() else { return };
        let roster = &self.world.host.roster;
        let Some(node) = roster.id(accused) else { return };
        let report = Report { node, incarnation, address: address(accused), withdrawn: false };
        let vote = |seed: u32| {
            let voter = roster.id(seed)?;
            let vote = Record::DeathVote(DeathVote { voter, node, incarnation });
            Some(SignedRecord::sign(vote, &roster.signer(seed)))
        };
        let lying = self.world.host.lies.seeds.clone();
        let votes: Vec<SignedRecord> = lying.clone().filter_map(vote).collect();
        let (seeds, peers) = (roster.seeds(), roster.peers());
        for liar in peers.filter(|peer| *peer != accused) {
            for seed in seeds.clone() {
                let told = self.world.say(liar, seed, &Frame::Report(report));
                self.counts.lies += u64::from(told);
            }
        }
        let quorum = seeds.len() / 2 + 1;
        for (liar, vote) in lying.zip(&votes) {
            for seed in seeds.clone().filter(|seed| *seed != liar) {
                // Who says less than a majority is a verdict is found out at once.
                let verdict = Frame::Dead(Dead { node, incarnation, votes: votes.clone() });
                let frame = Frame::Records(vec![vote.clone()]);
                let told = self.world.say(liar, seed, &frame);
                if votes.len() >= quorum {
                    self.world.say(liar, seed, &verdict);
                }
                self.counts.lies += u64::from(told);
            }
        }
    }

    /// Seeds that lied say that they mean it.
    pub(super) fn insist(&mut self) {
        let Some(liars) = &self.scenario.liars else { return };
        let now = self.world.now();
        if now < Instant::from_millis(liars.until_ms) {
            self.world.at(now + INSIST_EVERY, Token::Insist);
        }
        for (liar, asker, frame) in std::mem::take(&mut self.world.host.lies.due) {
            self.world.say(liar, asker, &frame);
        }
    }
}
