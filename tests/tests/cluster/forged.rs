//! A liar cannot evict a peer that answers, nor speak in its name.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tidings_proto::crypto::Signer;
use tidings_proto::wire::batch::{Batch, BatchHeader, Message};
use tidings_proto::wire::frame::{
    BatchFrame, Cause, Dead, Frame, Interest, Mode, Purpose, Register, Report,
};
use tidings_proto::wire::record::{DeathVote, Record, SignedRecord};
use tidings_proto::{Incarnation, NodeId, Origin, Topic};
use tidings_tests::cluster::{Cluster, listing};
use tidings_tests::node::Node;
use tidings_tests::stranger::Stranger;
use tidings_tests::wait::{self, SOON};

fn now_us() -> i64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_micros()).unwrap()
}

fn identity(cluster: &Cluster, peer: usize) -> (NodeId, Incarnation) {
    let id = cluster.peers[peer].id();
    let item = listing(&cluster.seeds[0], id).unwrap();
    (id.parse().unwrap(), Incarnation(item["incarnation"].as_u64().unwrap()))
}

fn registered(seed: &Node, secret: u8) -> Stranger {
    let mut stranger = Stranger::introduced(seed.listen(), [secret; 32], Purpose::Session).unwrap();
    let record = stranger.record();
    stranger.send(&Frame::Register(Box::new(Register { record }))).unwrap();
    stranger
        .receive_until(SOON, |frame| matches!(frame, Frame::Registered(_)).then_some(()))
        .unwrap();
    stranger
}

#[test]
fn a_forged_report_evicts_nobody() {
    let cluster = Cluster::start(3, 3);
    let mut controls = cluster.topic("Sports");
    cluster.wait_all_listed();
    let (node, incarnation) = identity(&cluster, 1);
    let address = cluster.peers[1].listen();

    let mut liars: Vec<_> = cluster.seeds.iter().map(|seed| registered(seed, 77)).collect();
    for liar in &mut liars {
        let report = Report { node, incarnation, address, withdrawn: false };
        liar.send(&Frame::Report(report)).unwrap();
        // Where nobody listens: a seed must probe where the accused registered, not where a
        // liar says.
        let elsewhere = liar.address();
        liar.send(&Frame::Report(Report { address: elsewhere, ..report })).unwrap();
    }
    let listed = || {
        cluster.seeds.iter().all(|seed| {
            let item = listing(seed, cluster.peers[1].id());
            item.is_some_and(|item| {
                item["state"] != "dead" && item["incarnation"].as_u64() == Some(incarnation.0)
            })
        })
    };
    // A seed decides 2 s after a report.
    wait::stays("the accused is listed", Duration::from_secs(5), listed);
    controls[0].publish("Sports", "alive");
    controls[1].pull_all("Sports", 1, SOON);
}

#[test]
fn invented_votes_kill_nobody() {
    let cluster = Cluster::start(3, 3);
    let mut controls = cluster.topic("Sports");
    cluster.wait_all_listed();
    let (node, incarnation) = identity(&cluster, 1);
    let vote = |secret: u8| {
        let signer = Signer::ed25519(&[secret; 32]);
        let vote = DeathVote { voter: signer.node(), node, incarnation };
        SignedRecord::sign(Record::DeathVote(vote), &signer)
    };
    let dead = Dead { node, incarnation, votes: (1..=3).map(vote).collect() };
    let mut liars = Vec::new();
    for (i, peer) in cluster.peers.iter().enumerate() {
        let secret = [100 + i as u8; 32];
        let mut liar = Stranger::introduced(peer.listen(), secret, Purpose::Neighbor).unwrap();
        liar.send(&Frame::Accept).unwrap();
        // The peer may close on it at once.
        let _ = liar.send(&Frame::Dead(dead.clone()));
        liars.push(liar);
    }
    for seed in &cluster.seeds {
        let mut liar = registered(seed, 99);
        let _ = liar.send(&Frame::Dead(dead.clone()));
        let _ = liar.send(&Frame::Records(dead.votes.clone()));
        liars.push(liar);
    }
    wait::stays("the accused is listed", Duration::from_secs(3), || {
        cluster.seeds.iter().all(|seed| {
            listing(seed, cluster.peers[1].id()).is_some_and(|item| item["state"] != "dead")
        })
    });
    for i in 0..3 {
        controls[i].publish("Sports", "alive");
        for control in &mut controls {
            control.pull_all("Sports", 1, SOON);
        }
    }
}

#[test]
fn a_batch_in_anothers_name_is_not_delivered_and_ends_the_link() {
    let cluster = Cluster::start(3, 2);
    let mut controls = cluster.topic("Sports");
    cluster.wait_all_listed();
    let (node, incarnation) = identity(&cluster, 1);
    let peer = &cluster.peers[0];
    let mut liar = Stranger::introduced(peer.listen(), [55; 32], Purpose::Neighbor).unwrap();
    let topic = Topic::new("Sports").unwrap();
    liar.send(&Frame::Accept).unwrap();
    let interest = Interest { topic: topic.clone(), mode: Mode::Subscribes };
    liar.send(&Frame::Interests(vec![interest])).unwrap();
    let header = BatchHeader {
        topic,
        origin: Origin { node, incarnation },
        address: cluster.peers[1].listen(),
        generation: 1,
        first_seq: 1,
        published_at_us: now_us(),
        count: 1,
    };
    let messages = [Message::new(Bytes::from_static(b"forged"))];
    let batch = Batch::sign(header, &messages, liar.signer());
    let frame = BatchFrame { cause: Cause::Push, hop: 1, tree: 0, age_ms: 0, batch };
    liar.send(&Frame::Batch(frame)).unwrap();
    assert!(liar.is_dropped(), "a forger is disconnected");

    controls[1].publish("Sports", "genuine");
    let messages = controls[0].pull_all("Sports", 1, SOON);
    assert_eq!(messages[0]["message"], "genuine");
}
