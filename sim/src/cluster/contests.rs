//! Peers create, delete and read the same few topics without regard for each other, and all that
//! they see of them is kept for the judge of linearizability.

use std::collections::BTreeMap;
use std::time::Duration;

use tidings_proto::peer::event::{Answer, Command, CommandError};
use tidings_proto::wire::record::TopicPolicy;
use tidings_proto::{Instant, RequestId, Topic};

use super::apps::{Apps, Token};
use super::roster::Request;
use super::{Cluster, node};
use crate::check::linear::{Act, History, Outcome};

/// How often, of twenty acts, a topic is created, and deleted; otherwise it is read.
const CREATE: u64 = 7;
const DELETE: u64 = 6;
/// How often, of twenty deletions, anybody asks for it, and not the host as far as it is known.
const DELETE_BY_ANYBODY: u64 = 3;

/// What was seen of contested names.
#[derive(Debug, Default)]
pub(super) struct Contests {
    /// By the number of the topic.
    pub(super) history: History<u32>,
    /// Claims under way, by their number: that of the call.
    claims: BTreeMap<u32, u64>,
}

impl Contests {
    /// A peer asks for a name that its application claims.
    pub(super) fn claimed(&mut self, now: Instant, claim: u32, (name, peer): (u32, u32), act: Act) {
        let call = self.history.asked(now.as_micros(), name, peer, act);
        self.claims.insert(claim, call);
    }
}

impl Cluster<'_> {
    /// The next step of a pattern of contests. All is drawn, whether it takes place or not.
    pub(super) fn contest(&mut self, number: u32) {
        let now = self.world.now();
        let contest = &self.scenario.contest[number as usize];
        if now >= Instant::from_millis(contest.until_ms) {
            return;
        }
        self.world.at(now + Duration::from_millis(contest.every_ms), Token::Contest(number));
        let (names, contenders) = (contest.names, contest.contenders as usize);
        let draws = &mut self.contest_draws;
        let drawn = u32::try_from(draws.below(names.into())).expect("below a u32");
        let name = u32::from(self.scenario.topics) + self.scenario.claimed_names() + drawn;
        let mut peers: Vec<u32> = self.world.host.roster.peers().collect();
        draws.shuffle(&mut peers);
        for peer in peers.into_iter().take(contenders) {
            let (what, who) = (self.contest_draws.below(20), self.contest_draws.below(20));
            let act = match what {
                0..CREATE => Act::Create,
                CREATE.. if what < CREATE + DELETE => Act::Delete,
                _ => Act::Read,
            };
            let host = self.world.host.contests.history.host(&name);
            let by_host = act == Act::Delete && who >= DELETE_BY_ANYBODY;
            self.contend(host.filter(|_| by_host).unwrap_or(peer), name, act);
        }
    }

    fn contend(&mut self, peer: u32, name: u32, act: Act) {
        let now = self.world.now();
        let apps = &mut self.world.host;
        let app = apps.apps.get(peer as usize);
        if !app.is_some_and(|app| app.started.is_some() && !app.leaving) {
            return;
        }
        if !self.world.is_running(peer) {
            return;
        }
        let apps = &mut self.world.host;
        let call = apps.contests.history.asked(now.as_micros(), name, peer, act);
        let number = u32::try_from(call).expect("a run has fewer calls");
        let request = apps.request(now, peer, Request::Contest(number));
        let topic = apps.roster.topic(u16::try_from(name).expect("names are few")).clone();
        self.world.command(peer, node::Command::Peer(command(act, request, topic)));
    }
}

/// What an application asks its peer.
pub(super) fn command(act: Act, request: RequestId, topic: Topic) -> Command {
    match act {
        Act::Create => {
            let policy = TopicPolicy::default();
            Command::CreateTopic { request, topic, exist_ok: false, policy }
        }
        Act::Delete => Command::DeleteTopic { request, topic },
        Act::Read => Command::TopicInfo { request, topic },
    }
}

impl Apps {
    /// A call on a contested name was answered.
    pub(super) fn contested(
        &mut self,
        now: Instant,
        call: u64,
        result: &Result<Answer, CommandError>,
    ) {
        let Some(act) = self.contests.history.waiting(call).map(|call| call.act) else { return };
        let find = |host| self.roster.find(host).unwrap_or(u32::MAX);
        let outcome = match result {
            // What a peer only remembers is no read of a majority.
            Ok(Answer::Topic(info)) if !info.confirmed => None,
            Ok(Answer::Topic(info)) => {
                let generation = info.record.generation;
                Some(match act {
                    Act::Create => Outcome::Created { generation },
                    Act::Delete | Act::Read => Outcome::There {
                        generation: Some(generation),
                        host: find(info.record.host),
                    },
                })
            }
            Ok(_) => Some(Outcome::Deleted),
            Err(CommandError::TopicNotFound(_)) => Some(Outcome::Absent),
            Err(CommandError::TopicExists { host, .. } | CommandError::NotHost { host, .. }) => {
                Some(Outcome::There { generation: None, host: find(*host) })
            }
            Err(_) => None,
        };
        self.contests.history.answered(now.as_micros(), call, outcome);
    }

    /// The same, of a claim.
    pub(super) fn claim_answered(
        &mut self,
        now: Instant,
        claim: u32,
        result: &Result<Answer, CommandError>,
    ) {
        if let Some(call) = self.contests.claims.remove(&claim) {
            self.contested(now, call, result);
        }
    }
}
