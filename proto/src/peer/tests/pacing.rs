//! Publishers that wait for those who receive.

use super::rig::{Rig, topic};
use crate::id::{Incarnation, NodeId, Origin, RequestId};
use crate::machine::{Input, Machine as _};
use crate::peer::event::{Answer, Command, CommandError, From};
use crate::peer::trees::short;
use crate::wire::batch::Message;
use crate::wire::frame::{Frame, Reached};

/// As large as a full batch.
pub(super) const BODY: usize = 60 << 10;

/// Publishes as fast as the publisher takes it, for 2 s. Returns how many it took.
fn publish_for_a_while(rig: &mut Rig) -> u64 {
    let mut handed = 0;
    for _ in 0..200 {
        handed += publish_all(rig, handed, 1_000);
        rig.run(10);
    }
    handed
}

/// A publisher, and subscribers that have received something.
pub(super) fn rig(subscribers: usize) -> Rig {
    let mut rig = Rig::new(subscribers + 1, |_| {});
    rig.create(0).expect("created");
    rig.run(100);
    (1..=subscribers).for_each(|n| rig.subscribe(n, From::New));
    rig.run(1_000);
    rig.publish(0, "first").expect("published");
    rig.run(100);
    rig
}

/// Hands the publisher one message after the other while it takes any, at most `most`. Returns how
/// many.
pub(super) fn publish_all(rig: &mut Rig, from: u64, most: u64) -> u64 {
    let mut handed = 0;
    while handed < most && rig.peers[0].takes_traffic() {
        let request = RequestId(1_000_000 + from + handed);
        let message = Message::new(vec![b'x'; BODY]);
        rig.feed(0, Input::Command(Command::Publish { request, topic: topic(), message }));
        handed += 1;
    }
    handed
}

pub(super) fn answered(rig: &Rig) -> usize {
    rig.answers.keys().filter(|request| request.0 >= 1_000_000).count()
}

#[test]
fn a_publisher_goes_on_as_those_who_receive_do() {
    let mut rig = rig(4);
    let mut handed = publish_all(&mut rig, 0, 1_000);
    assert!((9..12).contains(&handed), "{handed}: a window and a full queue");
    assert!((4..8).contains(&answered(&rig)), "a window went out");
    assert_eq!(rig.peers[0].stats().windows_full, 1);
    for _ in 0..200 {
        rig.run(10);
        handed += publish_all(&mut rig, handed, 1_000);
    }
    rig.run(3_000);
    // A round takes 20 to 40 ms here, and the window grows.
    assert!(handed > 500, "{handed}");
    assert_eq!(answered(&rig), handed as usize);
    for n in 1..=4 {
        assert_eq!(rig.delivered[n].len(), handed as usize + 1);
        assert!(rig.peers[n].stats().batches_duplicate < 10, "those of the first message");
    }
    assert_eq!(rig.peers[0].stats().windows_stuck, 0);
}

#[test]
fn a_minority_that_does_not_keep_up_holds_up_nobody() {
    let mut rig = rig(5);
    rig.stopped.insert(5);
    let handed = publish_for_a_while(&mut rig);
    assert!(handed > 500, "{handed}");
    assert_eq!(rig.peers[0].stats().windows_stuck, 0);
}

#[test]
fn a_tree_that_was_shared_takes_nobodys_say() {
    // Two peers whose trees begin as copies of the same one, in which one is the other's parent.
    let bucket = |n: u8, life| {
        short(&Origin { node: NodeId([n + 1; 32]), incarnation: Incarnation(life) }) % 32
    };
    let life = (1..).find(|life| bucket(0, *life) == bucket(1, *life)).expect("one of 32 or so");
    let mut rig = Rig::new(2, |config| config.identity.incarnation = Incarnation(life));
    rig.create(0).expect("created");
    rig.run(100);
    rig.subscribe(0, From::New);
    rig.subscribe(1, From::New);
    rig.run(1_000);
    rig.publish(1, "first").expect("published");
    rig.run(100);
    let handed = publish_for_a_while(&mut rig);
    assert!(handed > 500, "{handed}");
    assert_eq!(rig.peers[0].stats().windows_stuck, 0);
}

#[test]
fn who_subscribes_late_holds_up_nobody() {
    let mut rig = Rig::new(2, |_| {});
    rig.create(0).expect("created");
    rig.run(100);
    for n in 0..20 {
        rig.publish(0, &format!("{n}")).expect("published");
    }
    rig.run(1_000);
    let request = RequestId(5_000_000);
    rig.feed(1, Input::Command(Command::Subscribe { request, topic: topic(), from: From::New }));
    for _ in 0..2_000 {
        if rig.peers[0].topics.get(&topic()).is_some_and(|local| !local.links.is_empty()) {
            break;
        }
        rig.run(1);
    }
    let handed = publish_for_a_while(&mut rig);
    assert!(handed > 500, "{handed}");
    assert_eq!(rig.peers[0].stats().windows_stuck, 0);
}

#[test]
fn where_nobody_tells_publishing_goes_on_slowly() {
    let mut rig = rig(2);
    rig.lossy.extend([(0, 1), (0, 2)]);
    let mut handed = publish_all(&mut rig, 0, 1_000);
    for _ in 0..220 {
        rig.run(10);
        handed += publish_all(&mut rig, handed, 1_000);
    }
    let stuck = rig.peers[0].stats().windows_stuck;
    assert_eq!(stuck, 2);
    assert!((18..23).contains(&handed), "{handed}: a window in each second");
}

#[test]
fn one_topic_does_not_wait_for_another() {
    let mut rig = rig(2);
    rig.lossy.extend([(0, 1), (0, 2)]);
    // Less than what would fill the queue of the publisher.
    publish_all(&mut rig, 0, 8);
    assert!(rig.peers[0].takes_traffic());
    assert_eq!(rig.peers[0].stats().windows_full, 1);
    let other = crate::id::Topic::new("other").expect("legal");
    let create = |request| Command::CreateTopic {
        request,
        topic: other.clone(),
        exist_ok: true,
        policy: Default::default(),
    };
    rig.ask(0, create).expect("created");
    let message = Message::new("at once");
    let publish = |request| Command::Publish { request, topic: other.clone(), message };
    assert!(matches!(rig.ask(0, publish), Ok(Answer::Published { .. })));
    assert!(answered(&rig) < 8);
}

#[test]
fn what_waits_when_a_peer_leaves_is_refused() {
    let mut rig = rig(2);
    let handed = publish_all(&mut rig, 0, 1_000);
    rig.ask(0, |request| Command::Leave { request }).expect("left");
    assert_eq!(answered(&rig), handed as usize);
    let refused = |answer: &&Result<_, _>| matches!(answer, Err(CommandError::Leaving));
    assert!(rig.answers.values().filter(refused).count() >= 4);
}

#[test]
fn what_is_told_of_a_former_life_opens_no_window() {
    let mut rig = rig(2);
    rig.lossy.extend([(0, 1), (0, 2)]);
    publish_all(&mut rig, 0, 8);
    let before = answered(&rig);
    let link = rig.peers[0].links.neighbor(&rig.peers[1].node).expect("linked");
    let node = rig.peers[0].node;
    let told = |rig: &mut Rig, incarnation| {
        let origin = short(&Origin { node, incarnation: Incarnation(incarnation) });
        let frame = Frame::Reached(Reached { topic: topic(), origin, seq: 1_000 });
        rig.feed(0, Input::Received { link, frame });
        answered(rig)
    };
    assert_eq!(told(&mut rig, 0), before, "of another life");
    assert!(told(&mut rig, 1) > before);
}

#[test]
fn what_waits_is_published_though_its_publisher_unsubscribes() {
    let mut rig = rig(3);
    rig.subscribe(0, From::New);
    let handed = publish_all(&mut rig, 0, 1_000) as usize;
    assert!(answered(&rig) < handed);
    rig.ask(0, |request| Command::Unsubscribe { request, topic: topic() }).expect("unsubscribed");
    rig.run(5_000);
    assert_eq!(answered(&rig), handed);
    let ok = |answer: &&Result<_, _>| matches!(answer, Ok(Answer::Published { reached: 1.., .. }));
    assert_eq!(rig.answers.values().filter(ok).count(), handed);
    (1..=3).for_each(|n| assert_eq!(rig.delivered[n].len(), handed + 1));
}

#[test]
fn what_waits_for_a_topic_that_is_deleted_is_refused() {
    let mut rig = rig(3);
    let handed = publish_all(&mut rig, 0, 1_000) as usize;
    let sent = answered(&rig);
    assert!(sent < handed);
    rig.ask(0, |request| Command::DeleteTopic { request, topic: topic() }).expect("deleted");
    rig.run(100);
    assert_eq!(answered(&rig), handed);
    let refused = |answer: &&Result<_, _>| matches!(answer, Err(CommandError::TopicNotFound(_)));
    assert!(rig.answers.values().filter(refused).count() > 0);
    assert!(rig.peers[0].takes_traffic());
}
