//! News of topics that spread by gossip.

use super::rig::Rig;
use crate::id::Topic;
use crate::peer::event::Command;
use crate::wire::record::TopicPolicy;

#[test]
fn news_of_a_peer_that_makes_many_gather() {
    let mut rig = Rig::new(3, |_| ());
    let before = rig.peers[1].stats.batches_received;
    let topics: Vec<_> = (0..300).map(|n| Topic::new(&format!("t/{n}")).expect("legal")).collect();
    for topic in &topics {
        let (topic, policy) = (topic.clone(), TopicPolicy::default());
        let create = |request| Command::CreateTopic { request, topic, exist_ok: false, policy };
        rig.ask(0, create).expect("created");
    }
    let known = |rig: &Rig, n: usize| {
        let live = |topic: &&Topic| rig.peers[n].topics.directory.live(topic).is_some();
        topics.iter().filter(live).count()
    };
    rig.run(1_000);
    assert_eq!((known(&rig, 1), known(&rig, 2)), (300, 300));
    let batches = rig.peers[1].stats.batches_received - before;
    assert!(batches <= 300 / 100 + 8, "{batches} batches");
}

#[test]
fn the_first_news_go_out_at_once_and_the_last_before_a_peer_leaves() {
    let mut rig = Rig::new(3, |_| ());
    for name in ["a", "b"] {
        let (topic, policy) = (Topic::new(name).expect("legal"), TopicPolicy::default());
        let create = |request| Command::CreateTopic { request, topic, exist_ok: false, policy };
        rig.ask(0, create).expect("created");
    }
    let known = |rig: &Rig, name: &str| {
        let topic = Topic::new(name).expect("legal");
        rig.peers[1].topics.directory.live(&topic).is_some()
    };
    rig.run(100);
    assert!(known(&rig, "a") && !known(&rig, "b"));
    rig.ask(0, |request| Command::Leave { request }).expect("left");
    rig.run(100);
    assert!(known(&rig, "b"));
}
