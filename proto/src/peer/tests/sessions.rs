//! One peer whose seeds are played by the test.

use std::net::SocketAddr;

use core::time::Duration;

use super::rig::address;
use crate::config::{Identity, PeerConfig};
use crate::crypto::{Scheme, Signer};
use crate::id::{DialId, Incarnation, LinkId, NodeId, RequestId};
use crate::machine::{Input, Machine as _, Output};
use crate::peer::Peer;
use crate::peer::event::{Answer, Command, CommandError, Event};
use crate::time::Instant;
use crate::wire::frame::{
    Dead, Frame, Hello, PROTOCOL_VERSION, Purpose, Registered, Role, TopicPage,
};
use crate::wire::record::{DeathVote, Record, SignedRecord};

pub(super) struct Stage {
    pub(super) now: Instant,
    peer: Peer,
    dials: Vec<(DialId, SocketAddr)>,
    pub(super) sent: Vec<(LinkId, Frame)>,
    closed: Vec<LinkId>,
    pub(super) answers: Vec<Answer>,
    pub(super) refusals: Vec<CommandError>,
    /// The keys that seeds name as those of seeds.
    named: Vec<NodeId>,
}

fn seed(n: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7_000 + u16::from(n)))
}

impl Stage {
    pub(super) fn new(seeds: u8) -> Self {
        let identity = Identity {
            cluster: "test".into(),
            name: "peer".into(),
            address: address(0),
            incarnation: Incarnation(1),
            scheme: Scheme::Checksum,
            wall_origin_us: 1_700_000_000_000_000,
            rng_seed: [0; 32],
        };
        let config = PeerConfig::new(identity, (0..seeds).map(seed).collect());
        let peer = Peer::new(config, Signer::Checksum(NodeId([1; 32])), Instant::ZERO);
        let mut stage = Self {
            now: Instant::ZERO,
            peer,
            dials: Vec::new(),
            sent: Vec::new(),
            closed: Vec::new(),
            answers: Vec::new(),
            refusals: Vec::new(),
            named: Vec::new(),
        };
        stage.input(Input::Tick);
        stage
    }

    pub(super) fn input(&mut self, input: Input<Command>) {
        self.peer.handle(self.now, input);
        while let Some(output) = self.peer.poll_output() {
            match output {
                Output::Dial { dial, address, .. } => self.dials.push((dial, address)),
                Output::Send { link, frame, .. } => self.sent.push((link, frame)),
                Output::Close { link, .. } => self.closed.push(link),
                Output::Event(Event::Answer { result: Ok(answer), .. }) => {
                    self.answers.push(answer);
                }
                Output::Event(Event::Answer { result: Err(error), .. }) => {
                    self.refusals.push(error);
                }
                Output::Event(_) | Output::Persist { .. } => {}
            }
        }
    }

    pub(super) fn run(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while let Some(at) = self.peer.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Tick);
        }
        self.now = end;
    }

    /// The oldest dial succeeds, and the seed takes the registration.
    pub(super) fn join(&mut self) -> LinkId {
        let (dial, remote) = self.dials.remove(0);
        let (link, node) = (LinkId(dial.0), NodeId([100 + remote.port() as u8; 32]));
        self.input(Input::LinkUp { link, node, remote, dialed: Some(dial) });
        let hello = Hello {
            version: PROTOCOL_VERSION,
            cluster: "test".into(),
            role: Role::Seed,
            purpose: Purpose::Session,
            incarnation: Incarnation(1),
            address: remote,
            name: String::new(),
            wanted: Vec::new(),
            urgent: false,
        };
        self.input(Input::Received { link, frame: Frame::Hello(Box::new(hello)) });
        let registered =
            Registered { lease_ms: 90_000, peers: Vec::new(), total: 1, seeds: self.named.clone() };
        self.input(Input::Received { link, frame: Frame::Registered(registered) });
        link
    }

    /// Who was asked for a list, in this order, and the question.
    fn lists(&self) -> Vec<(LinkId, RequestId)> {
        let list = |(link, frame): &(LinkId, Frame)| match frame {
            Frame::List(list) => Some((*link, list.request)),
            _ => None,
        };
        self.sent.iter().filter_map(list).collect()
    }

    fn list_topics(&mut self) {
        let (filter, request) = (String::new(), RequestId(5));
        self.input(Input::Command(Command::ListTopics { request, filter, offset: 0, limit: 9 }));
    }

    fn page(&mut self, (link, request): (LinkId, RequestId)) {
        let page = TopicPage { request, total: 0, items: Vec::new() };
        self.input(Input::Received { link, frame: Frame::TopicPage(page) });
    }
}

#[test]
fn a_silent_seed_is_asked_no_more_and_replaced_within_a_second() {
    let mut stage = Stage::new(3);
    assert_eq!(stage.dials.len(), 2, "a quorum");
    let joined = [stage.join(), stage.join()];
    stage.list_topics();
    let first = stage.lists();
    assert_eq!(first.len(), 1, "one answers for all");
    stage.run(300);
    let asked = stage.lists();
    assert_eq!(asked.len(), 2, "another one beside it, before the first is given up");
    assert!(joined.contains(&asked[1].0) && asked[0].0 != asked[1].0);
    stage.page(asked[1]);
    assert_eq!(stage.answers.len(), 1);
    stage.page(asked[0]);
    assert_eq!(stage.answers.len(), 1, "the late answer is not another one");
    // Both are silent now.
    stage.list_topics();
    stage.run(600);
    assert_eq!(stage.dials.len(), 1, "the third seed");
    let third = stage.join();
    assert!(stage.closed.is_empty(), "one of the silent ones is still needed");
    let asked = stage.lists();
    assert_eq!(asked.last().map(|(link, _)| *link), Some(third));
    stage.page(asked[asked.len() - 1]);
    assert_eq!(stage.answers.len(), 2, "within a second");
    stage.page(asked[2]);
    stage.run(600);
    assert_eq!(stage.closed.len(), 1, "the third took the place of the one that is silent");
    assert!(stage.peer.stats().requests_late >= 3);
}

#[test]
fn the_end_of_a_seed_fails_no_question() {
    let mut stage = Stage::new(3);
    stage.join();
    stage.join();
    stage.list_topics();
    let (link, _) = stage.lists()[0];
    stage.input(Input::LinkDown { link, cause: crate::machine::LinkDown::Closed });
    let asked = stage.lists();
    assert_eq!(asked.len(), 2, "the other one is asked at once");
    assert_eq!(stage.dials.len(), 1, "and a third one is dialled");
    stage.page(asked[1]);
    assert_eq!(stage.answers.len(), 1);
}

#[test]
fn a_minority_of_seeds_cannot_make_up_a_verdict() {
    let dead = |voters: &[NodeId]| {
        let (node, incarnation) = (NodeId([50; 32]), Incarnation(1));
        let vote = |voter: &NodeId| {
            let vote = Record::DeathVote(DeathVote { voter: *voter, node, incarnation });
            SignedRecord::sign(vote, &Signer::Checksum(*voter))
        };
        Frame::Dead(Dead { node, incarnation, votes: voters.iter().map(vote).collect() })
    };
    let (mut stage, stranger) = (Stage::new(3), NodeId([77; 32]));
    stage.join();
    // One of the two says that a stranger is a seed.
    stage.named = vec![stranger];
    let link = stage.join();
    let own = stage.peer.rendezvous.status().iter().find_map(|seed| seed.node).expect("joined");
    stage.input(Input::Received { link, frame: dead(&[own, stranger]) });
    assert_eq!((stage.peer.stats().verdicts_unknown, stage.closed.len()), (1, 0));
    stage.input(Input::Received { link, frame: dead(&[own]) });
    assert_eq!(stage.closed, [link], "a verdict without a majority is none");
    // With both it would be one.
    let mut stage = Stage::new(3);
    stage.named = vec![stranger];
    stage.join();
    let link = stage.join();
    stage.input(Input::Received { link, frame: dead(&[own, stranger]) });
    assert_eq!((stage.peer.stats().verdicts_unknown, stage.closed.len()), (0, 0));
}
