use super::rig::{Rig, topic};
use crate::id::{RequestId, Topic};
use crate::machine::{Class, Input, Machine as _};
use crate::peer::event::{Answer, Command, CommandError, Event, From, Notice};
use crate::wire::batch::{MESSAGE_BYTES_MAX, Message};
use crate::wire::record::TopicPolicy;

fn rig_with_subscribers(count: usize) -> Rig {
    let mut rig = Rig::new(count, |_| {});
    rig.create(0).expect("created");
    rig.run(100);
    (0..count).for_each(|n| rig.subscribe(n, From::New));
    rig.run(1_000);
    rig
}

#[test]
fn a_publication_reaches_every_subscriber_once() {
    let mut rig = rig_with_subscribers(12);
    for n in 0..12 {
        let answer = rig.publish(n, &format!("hello from {n}")).expect("published");
        assert!(matches!(answer, Answer::Published { seq: 1, batch: 1, reached: 2.. }));
    }
    rig.run(500);
    for n in 0..12 {
        let mut bodies = rig.bodies(n);
        bodies.sort_unstable();
        let mut expected: Vec<_> = (0..12).map(|n| format!("hello from {n}")).collect();
        expected.sort_unstable();
        assert_eq!(bodies, expected, "peer {n}");
    }
}

#[test]
fn a_warm_origin_sends_nothing_twice() {
    let mut rig = rig_with_subscribers(20);
    let duplicates =
        |rig: &Rig| -> u64 { rig.peers.iter().map(|peer| peer.stats().batches_duplicate).sum() };
    for n in 0..20 {
        rig.publish(3, &n.to_string()).expect("published");
        rig.run(100);
    }
    let before = duplicates(&rig);
    for n in 20..60 {
        rig.publish(3, &n.to_string()).expect("published");
        rig.run(100);
    }
    let expected: Vec<_> = (0..60).map(|n| n.to_string()).collect();
    (0..20).for_each(|n| assert_eq!(rig.bodies(n), expected, "peer {n}"));
    assert!(duplicates(&rig) - before <= 4, "{} duplicates", duplicates(&rig) - before);
}

#[test]
fn survivors_of_silent_crashes_miss_nothing() {
    let mut rig = rig_with_subscribers(20);
    for n in 0..10 {
        rig.publish(3, &n.to_string()).expect("published");
        rig.run(50);
    }
    rig.stopped.extend([5, 9, 11, 12, 17]);
    for n in 10..40 {
        rig.publish(3, &n.to_string()).expect("published");
        rig.run(50);
    }
    rig.run(500);
    let expected: Vec<_> = (0..40).map(|n| n.to_string()).collect();
    for n in (0..20).filter(|n| !rig.stopped.contains(n)) {
        assert_eq!(rig.bodies(n), expected, "peer {n}");
    }
    assert!(rig.peers.iter().any(|peer| peer.stats().grafts_sent > 0));
}

#[test]
fn what_comes_together_leaves_in_one_batch() {
    let mut rig = rig_with_subscribers(3);
    for n in 0..300_u64 {
        let message = Message::new(n.to_string());
        let command = Command::Publish { request: RequestId(1_000 + n), topic: topic(), message };
        rig.peers[1].handle(rig.now, Input::Command(command));
    }
    rig.feed(1, Input::Tick);
    rig.run(500);
    let expected: Vec<_> = (0..300).map(|n| n.to_string()).collect();
    assert_eq!(rig.bodies(2), expected);
    let first = |notice: &&Notice| matches!(notice, Notice::FirstReceipt { .. });
    assert_eq!(rig.notices[2].iter().filter(first).count(), 2);
}

#[test]
fn a_late_subscriber_gets_the_past_only_on_request() {
    let mut rig = Rig::new(4, |_| {});
    rig.create(0).expect("created");
    rig.run(100);
    rig.subscribe(0, From::New);
    rig.subscribe(1, From::New);
    for n in 1..=3 {
        rig.publish(0, &format!("old {n}")).expect("published");
    }
    rig.run(2_000);
    rig.subscribe(2, From::New);
    rig.subscribe(3, From::All);
    rig.run(1_000);
    rig.publish(0, "new").expect("published");
    rig.run(1_000);
    assert_eq!(rig.bodies(2), ["new"]);
    assert_eq!(rig.bodies(3), ["old 1", "old 2", "old 3", "new"]);
    assert_eq!(rig.bodies(1), ["old 1", "old 2", "old 3", "new"]);
}

#[test]
fn a_publisher_that_does_not_subscribe_is_heard() {
    let mut rig = Rig::new(6, |_| {});
    rig.create(0).expect("created");
    rig.run(100);
    rig.subscribe(1, From::New);
    rig.subscribe(2, From::New);
    let answer = rig.publish(5, "from outside").expect("published");
    assert!(matches!(answer, Answer::Published { reached: 1.., .. }));
    rig.run(200);
    assert_eq!(rig.bodies(1), ["from outside"]);
    assert_eq!(rig.bodies(2), ["from outside"]);
    assert!(rig.bodies(5).is_empty() && rig.bodies(3).is_empty());
}

#[test]
fn lost_batches_are_pulled_and_delivered_in_order() {
    let mut rig = rig_with_subscribers(2);
    rig.publish(0, "1").expect("published");
    rig.lossy.insert((0, 1));
    rig.publish(0, "2").expect("published");
    rig.publish(0, "3").expect("published");
    rig.lossy.clear();
    rig.publish(0, "4").expect("published");
    rig.run(1_000);
    assert_eq!(rig.bodies(1), ["1", "2", "3", "4"]);
    assert!(rig.peers[1].stats().repairs >= 2);
}

#[test]
fn a_lost_last_batch_is_found_by_the_digest() {
    let mut rig = rig_with_subscribers(2);
    rig.publish(0, "1").expect("published");
    rig.lossy.insert((0, 1));
    rig.publish(0, "2").expect("published");
    rig.run(100);
    rig.lossy.clear();
    rig.run(11_000);
    assert_eq!(rig.bodies(1), ["1", "2"]);
}

#[test]
fn a_hole_that_nobody_fills_becomes_a_gap() {
    let mut rig = rig_with_subscribers(2);
    rig.publish(0, "1").expect("published");
    rig.lossy.insert((0, 1));
    rig.publish(0, "2").expect("published");
    rig.run(600_000 + 31_000);
    rig.lossy.clear();
    rig.publish(0, "3").expect("published");
    rig.run(40_000);
    assert_eq!(rig.bodies(1), ["1", "3"]);
    assert!(matches!(rig.events[1][..], [Event::Gap { from: 2, to: 2, .. }]));
}

#[test]
fn a_stream_that_is_always_a_little_behind_has_no_gap() {
    const COUNT: usize = 4_500;
    let mut rig = rig_with_subscribers(2);
    rig.flaky.insert((0, 1), false);
    // There is always a hole: each is filled a moment after the next has come.
    for n in 0..COUNT {
        rig.publish(0, &n.to_string()).expect("published");
        rig.run(10);
    }
    rig.run(6_000);
    assert_eq!(rig.bodies(1), (0..COUNT).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(rig.events[1].is_empty(), "{:?}", rig.events[1]);
    assert!(rig.peers[1].stats().repairs >= COUNT as u64 / 3);
    // It is pulled at a steady pace, not with each batch.
    assert!(rig.peers[1].stats().pulls_sent < COUNT as u64 / 5);
}

#[test]
fn what_was_beyond_the_window_comes_once_there_is_room() {
    const COUNT: usize = 1_200;
    let mut rig = rig_with_subscribers(6);
    rig.lost.insert(2);
    for n in 1..=COUNT {
        rig.publish(0, &n.to_string()).expect("published");
        rig.run(5);
    }
    assert!(rig.peers.iter().any(|peer| peer.stats().batches_beyond_window > 100));
    assert_eq!(rig.bodies(1), ["1"]);
    rig.lost.clear();
    rig.run(6_000);
    for n in 0..6 {
        let expected: Vec<_> = (1..=COUNT).map(|n| n.to_string()).collect();
        assert_eq!(rig.bodies(n), expected, "peer {n}");
    }
}

#[test]
fn frames_that_were_shed_are_made_good() {
    let mut rig = rig_with_subscribers(2);
    rig.publish(0, "1").expect("published");
    rig.lossy.insert((0, 1));
    rig.publish(0, "2").expect("published");
    rig.lossy.clear();
    let link = rig.peers[0].links.neighbor(&rig.peers[1].node).expect("linked");
    let batches = Vec::new();
    rig.feed(0, Input::Shed { link, class: Class::Own, frames: 1, batches });
    rig.run(2_000);
    assert_eq!(rig.bodies(1), ["1", "2"]);
}

#[test]
fn a_deleted_topic_is_gone_everywhere() {
    let mut rig = rig_with_subscribers(4);
    let delete = |request| Command::DeleteTopic { request, topic: topic() };
    assert!(matches!(rig.ask(1, delete), Err(CommandError::NotHost { .. })));
    assert_eq!(rig.ask(0, delete), Ok(Answer::Done));
    rig.run(200);
    for n in 0..4 {
        assert!(matches!(rig.events[n][..], [Event::TopicDeleted { .. }]), "peer {n}");
        assert_eq!(rig.publish(n, "late"), Err(CommandError::TopicNotFound(topic())));
        assert!(rig.bodies(n).is_empty());
    }
    rig.create(2).expect("the name is free again");
    rig.run(200);
    rig.subscribe(3, From::All);
    rig.publish(2, "again").expect("published");
    rig.run(500);
    assert_eq!(rig.bodies(3), ["again"]);
}

#[test]
fn refusals_say_why() {
    let mut rig = Rig::new(2, |_| {});
    assert_eq!(rig.publish(0, "x"), Err(CommandError::TopicNotFound(topic())));
    rig.create(0).expect("created");
    assert!(matches!(rig.create(0), Err(CommandError::TopicExists { .. })));
    let message = Message::new(vec![0; MESSAGE_BYTES_MAX + 1]);
    let large = rig.ask(0, |request| Command::Publish { request, topic: topic(), message });
    assert!(matches!(large, Err(CommandError::TooLarge { size, .. }) if size == (1 << 20) + 1));
    let answer = rig.publish(0, "nobody listens").expect("published");
    assert!(matches!(answer, Answer::Published { reached: 0, .. }));
    assert_eq!(rig.ask(0, |request| Command::Leave { request }), Ok(Answer::Done));
    assert_eq!(rig.publish(0, "x"), Err(CommandError::Leaving));
}

#[test]
fn what_all_other_subscribers_had_when_they_left_is_there_at_the_publisher() {
    let mut rig = Rig::new(3, |_| {});
    rig.create(0).expect("created");
    rig.run(100);
    (1..3).for_each(|n| rig.subscribe(n, From::New));
    rig.run(1_000);
    rig.publish(0, "first").expect("published");
    rig.run(500);
    // Batches that go to the second subscriber are lost; that there is one, it hears.
    rig.lossy.extend([(0, 2), (1, 2)]);
    rig.publish(0, "second").expect("published");
    rig.run(50);
    rig.ask(1, |request| Command::Unsubscribe { request, topic: topic() }).expect("left");
    rig.run(300);
    rig.lossy.clear();
    rig.run(20_000);
    assert_eq!((rig.bodies(1), rig.bodies(2)), (vec!["first", "second"], vec!["first", "second"]));
}

#[test]
fn who_takes_part_in_too_many_topics_is_told_that_nothing_was_published() {
    // The overlay's own topic is one of them.
    let mut rig = Rig::new(2, |config| config.topics_max = 2);
    rig.create(0).expect("created");
    rig.run(100);
    let other = Topic::new("other").expect("legal");
    let (topic, policy) = (other.clone(), TopicPolicy::default());
    let create = |request| Command::CreateTopic { request, topic, exist_ok: false, policy };
    rig.ask(1, create).expect("created");
    let subscribe = |request| Command::Subscribe { request, topic: other, from: From::New };
    rig.ask(1, subscribe).expect("subscribed");
    let error = CommandError::Limit { what: "topics", limit: 2 };
    assert_eq!(rig.publish(1, "lost"), Err(error));
}
