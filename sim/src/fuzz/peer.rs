//! A peer that is told anything.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidings_proto::config::{GossipConfig, Identity, Verify};
use tidings_proto::crypto::{Scheme, Signer};
use tidings_proto::peer::event::{Command, Event, From};
use tidings_proto::wire::batch::Message;
use tidings_proto::wire::frame::{Frame, Interest, Mode, Purpose};
use tidings_proto::wire::record::TopicPolicy;
use tidings_proto::{Incarnation, Input, Instant, Origin, Peer, PeerConfig, RequestId, Topic};

use super::driver::Driver;
use super::{Reach, Script, make};
use crate::check::{Verdicts, bounds};
use crate::network::address;

/// Next numbers of the streams that the application has heard of.
type Next = BTreeMap<(Topic, Origin), u64>;

/// What happens to a peer, as these bytes say. Its bounds hold, streams reach the application in
/// order and once, and what it sends can be read.
///
/// # Panics
/// When that is not so.
pub fn peer(bytes: &[u8]) -> Reach {
    let mut script = Script::new(bytes);
    let config = config(&mut script);
    let machine = Peer::new(config.clone(), Signer::Checksum(make::node(0)), Instant::ZERO);
    let mut driver = Driver::new(machine, Purpose::Neighbor);
    let mut next = Next::new();
    let mut delivered = 0;
    let mut requests = 0;
    if script.below(4) > 0 {
        warm(&mut driver);
    }
    while !script.is_over() {
        let mut over: Option<Topic> = None;
        let mut command = |script: &mut Script<'_>| {
            requests += 1;
            let command = command(script, RequestId(requests));
            if let Command::Unsubscribe { topic, .. } = &command {
                over = Some(topic.clone());
            }
            Some(command)
        };
        let mut event = |event: Event| delivered += told(&mut next, event, config.gossip.verify);
        driver.step(&mut script, &mut command, &mut event);
        if let Some(topic) = over {
            next.retain(|(of, _), _| *of != topic);
        }
        let mut verdicts = Verdicts::default();
        bounds::peer(&mut verdicts, driver.now, 0, &driver.machine.status(), &config);
        assert!(verdicts.total == 0, "{:?}", verdicts.kept);
    }
    Reach { delivered, ..driver.reach }
}

/// Small limits are reached; without seeds a peer goes on differently.
fn config(script: &mut Script<'_>) -> PeerConfig {
    let seeds = if script.below(2) == 0 { 0 } else { 3 };
    let identity = Identity {
        cluster: "sim".into(),
        name: String::new(),
        address: address(0),
        incarnation: Incarnation(1),
        scheme: Scheme::Checksum,
        wall_origin_us: make::WALL_US,
        rng_seed: [script.byte(); 32],
    };
    let trusting = identity.rng_seed[0] % 4 == 3;
    let all = make::SEEDS.take(seeds).map(|seed| address(seed.into()));
    let mut config = PeerConfig::new(identity, all.collect());
    if trusting {
        config.gossip = GossipConfig { verify: Verify::Links, verify_share: 50 };
    }
    config.views.links_max = 4;
    config.views.passive_max = 3;
    config.topics_max = 3;
    config.streams_max = 4;
    config.retention.bytes_max = 1_000;
    config
}

/// The application wants a topic, and there are two neighbours that want it too.
fn warm(driver: &mut Driver<Peer>) {
    let (request, topic) = (RequestId(0), make::first_topic());
    let policy = TopicPolicy::default();
    let create = Command::CreateTopic { request, topic: topic.clone(), exist_ok: true, policy };
    let subscribe = Command::Subscribe { request, topic: topic.clone(), from: From::All };
    for command in [create, subscribe] {
        driver.tell(Input::Command(command), &mut |_| {});
    }
    for who in 1..3 {
        let mut usual = Script::new(&[1; 8]);
        let link = driver.connect(&mut usual, who, None, &mut |_| {});
        let interest = Interest { topic: topic.clone(), mode: Mode::Subscribes };
        let frame = Frame::Interests(vec![interest]);
        driver.tell(Input::Received { link, frame }, &mut |_| {});
    }
}

fn command(script: &mut Script<'_>, request: RequestId) -> Command {
    let topic = make::topic(script);
    match script.below(9) {
        0 => {
            let policy = TopicPolicy::default();
            Command::CreateTopic { request, topic, exist_ok: script.below(2) == 0, policy }
        }
        1 => Command::DeleteTopic { request, topic },
        2 => Command::TopicInfo { request, topic },
        3 | 4 => {
            let from = if script.below(2) == 0 { From::New } else { From::All };
            Command::Subscribe { request, topic, from }
        }
        5 => Command::Unsubscribe { request, topic },
        6 | 7 => Command::ListPeers { request, filter: String::new(), offset: 0, limit: 9 },
        _ => {
            let length = script.below(32);
            let body: Bytes = script.bytes(length);
            Command::Publish { request, topic, message: Message::new(body) }
        }
    }
}

/// Checks what the application is told; returns how many messages it got.
fn told(next: &mut Next, event: Event, verify: Verify) -> u64 {
    let (topic, origin, from, to) = match &event {
        Event::Deliver { batch, from_seq } => {
            let header = batch.header();
            // Who trusts its neighbours is deceived by those that forge.
            let genuine = verify == Verify::Links || batch.verify(Scheme::Checksum);
            assert!(genuine, "a forgery is delivered");
            assert!((header.first_seq..=header.last_seq()).contains(from_seq), "{event:?}");
            (header.topic.clone(), header.origin, *from_seq, header.last_seq())
        }
        Event::Gap { topic, origin, from, to } => (topic.clone(), *origin, *from, *to),
        Event::TopicDeleted { topic } => {
            next.retain(|(of, _), _| of != topic);
            return 0;
        }
        _ => return 0,
    };
    assert!(from <= to, "{event:?}");
    if let Some(expected) = next.insert((topic, origin), to.saturating_add(1)) {
        assert_eq!(from, expected, "{event:?}");
    }
    if matches!(event, Event::Deliver { .. }) { to - from + 1 } else { 0 }
}
