//! An operator adds seeds and removes them, and does not give up.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use tidings_proto::seed::event::Command;
use tidings_proto::seed::status::SeedStatus;
use tidings_proto::wire::frame::AdminCommand;
use tidings_proto::wire::record::SeedPlace;
use tidings_proto::{Instant, RequestId};

use super::apps::Token;
use super::{Cluster, node};
use crate::check::changes::{self, Said};
use crate::network::{address, index_of};

/// An operator looks again after this.
const AGAIN: Duration = Duration::from_millis(500);

impl Cluster<'_> {
    /// The next change of the plan that has not come about is asked for.
    pub(super) fn change_seeds(&mut self) {
        let now = self.world.now();
        let plan = &self.scenario.change;
        let Some(change) = plan.get(self.changes_done) else { return };
        if now < Instant::from_millis(change.at_ms) {
            return self.world.at(Instant::from_millis(change.at_ms), Token::Change);
        }
        let (node, add) = (change.seed, change.add);
        self.world.at(now + AGAIN, Token::Change);
        let views = self.seed_views();
        let Some((_, newest)) = newest(&views) else {
            return;
        };
        if !newest.changing && members(newest).contains(&node) == add {
            self.changes_done += 1;
            return;
        }
        if newest.changing {
            return;
        }
        let address = address(node);
        let command = match add {
            true => AdminCommand::AddSeed(SeedPlace { address, http: None }),
            false => AdminCommand::RemoveSeed(address),
        };
        let able: Vec<u32> = views
            .iter()
            .filter(|(seed, status)| status.member && self.world.is_running(*seed))
            .map(|(seed, _)| *seed)
            .collect();
        if !able.is_empty() {
            let asked = able[self.draws.index(able.len())];
            let request = RequestId(0);
            let command = Command::Admin { request, command };
            self.world.command(asked, node::Command::Seed(command));
        }
    }

    fn seed_views(&self) -> Vec<(u32, SeedStatus)> {
        let seeds = self.world.host.roster.seeds();
        let status = |seed| Some((seed, self.world.machine(seed)?.seed()?.status()));
        seeds.filter_map(status).collect()
    }

    /// The seeds that are in the set, as far as any that runs knows; all where nothing changes.
    pub(super) fn members(&self) -> BTreeSet<u32> {
        let seeds = self.world.host.roster.seeds();
        if self.scenario.change.is_empty() {
            return seeds.collect();
        }
        let views = self.seed_views();
        let newest = newest(&views).map(|(_, status)| members(status));
        // Nobody who runs has heard of more than the configuration: those that were.
        newest.unwrap_or_else(|| seeds.collect())
    }

    /// In the end, the set is what the plan made of it.
    pub(super) fn judge_seed_set(&mut self) {
        let plan = &self.scenario.change;
        if plan.is_empty() {
            return;
        }
        let mut expected: BTreeSet<u32> = self.world.host.roster.first_seeds().collect();
        for change in plan {
            match change.add {
                true => expected.insert(change.seed),
                false => expected.remove(&change.seed),
            };
        }
        let said = self.seed_views().into_iter().map(|(seed, status)| Said {
            seed,
            version: status.set_version,
            member: status.member,
            changing: status.changing,
            seeds: members(&status),
        });
        let said: Vec<Said> = said.collect();
        let now = self.world.now();
        changes::judge(&mut self.world.host.verdicts, now, &said, &expected);
    }

    /// Whether a seed is in the set, and loses something with its disk. One that was removed may
    /// not come back without its disk and with the old configuration: it would know of nothing
    /// but a cluster that is no more.
    pub(super) fn may_lose_disk(&self, node: u32) -> bool {
        !self.world.host.roster.is_seed(node) || self.members().contains(&node)
    }
}

/// What the one says that has heard of most decisions.
fn newest(views: &[(u32, SeedStatus)]) -> Option<&(u32, SeedStatus)> {
    views.iter().max_by_key(|(seed, status)| (status.set_version, Reverse(*seed)))
}

fn members(status: &SeedStatus) -> BTreeSet<u32> {
    status.seeds.iter().filter_map(|seed| index_of(seed.address)).collect()
}
