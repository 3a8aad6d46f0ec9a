//! What is only said of a stream, by a neighbour or by an application, mutes nobody.

use core::time::Duration;

use super::rig::{Rig, topic};
use crate::config::PeerConfig;
use crate::id::{Incarnation, NodeId, Origin};
use crate::machine::Input;
use crate::peer::event::{Answer, Command, Event, From, Passage};
use crate::wire::frame::{Frame, Head, Heads};

fn origin(n: u8) -> Origin {
    Origin { node: NodeId([n; 32]), incarnation: Incarnation(1) }
}

/// What of a publisher was delivered live.
fn live(rig: &Rig, n: usize, publisher: u8) -> Vec<u64> {
    let of = rig.delivered[n].iter().filter(|(_, node, ..)| node.0[0] == publisher);
    of.map(|(_, _, seq, _)| *seq).collect()
}

/// Three subscribers; the first has published twice, the last never.
fn rig() -> Rig {
    rig_with(|_| {})
}

fn rig_with(tune: impl Fn(&mut PeerConfig)) -> Rig {
    let mut rig = Rig::new(3, tune);
    rig.create(0).expect("created");
    rig.run(100);
    (0..3).for_each(|n| rig.subscribe(n, From::New));
    for body in ["one", "two"] {
        rig.publish(0, body).expect("published");
        rig.run(300);
    }
    assert_eq!(live(&rig, 1, 1), [1, 2]);
    rig
}

/// A neighbour of the second peer lies to it.
fn lie(rig: &mut Rig, origin: Origin, high: u64, age_ms: u32) {
    let link = rig.peers[1].topics.get(&topic()).expect("subscribed").links[0].link;
    let heads = vec![Head { origin, low: 1, high, age_ms }];
    let frame = Frame::Heads(Heads { topic: topic(), heads, answer: true });
    rig.feed(1, Input::Received { link, frame });
}

/// The application of the second peer that subscribed last asks for history.
fn ask(rig: &mut Rig, from: From, received: Vec<(Origin, u64)>) -> Vec<Passage> {
    let command = |request| Command::History { request, topic: topic(), from, received };
    match rig.ask(1, command).expect("collected") {
        Answer::History(passages) => passages,
        other => panic!("another answer: {other:?}"),
    }
}

fn gaps(rig: &Rig, n: usize) -> usize {
    rig.events[n].iter().filter(|event| matches!(event, Event::Gap { .. })).count()
}

#[test]
fn a_known_stream_goes_on_after_a_lie_about_its_end() {
    let mut rig = rig();
    lie(&mut rig, origin(1), u64::MAX, 0);
    rig.run(60_000);
    assert_eq!(rig.peers[1].heads(&topic(), 9)[0].high, 2, "it does not repeat the lie");
    rig.publish(0, "three").expect("published");
    rig.run(500);
    assert_eq!(live(&rig, 1, 1), [1, 2, 3]);
    assert_eq!(gaps(&rig, 1), 0);
}

#[test]
fn an_unknown_stream_begins_after_a_lie_about_its_past() {
    for high in [3, u64::MAX] {
        let mut rig = rig();
        lie(&mut rig, origin(3), high, 4_000_000);
        rig.run(1_000);
        assert!(rig.peers[1].heads(&topic(), 9).iter().all(|head| head.origin != origin(3)));
        for body in ["one", "two"] {
            rig.publish(2, body).expect("published");
            rig.run(500);
        }
        assert_eq!(live(&rig, 1, 3), [1, 2]);
        assert_eq!(gaps(&rig, 1), 0);
    }
}

#[test]
fn what_one_application_says_to_have_moves_nobody_elses_stream() {
    let mut rig = rig();
    rig.subscribe(1, From::New);
    for seq in [100, u64::MAX] {
        let passages = ask(&mut rig, From::New, vec![(origin(1), seq), (origin(3), seq)]);
        let known = |n| Passage::Known { origin: origin(n), to: seq };
        assert_eq!(passages, [known(1), known(3)]);
    }
    rig.publish(0, "three").expect("published");
    rig.publish(2, "one").expect("published");
    rig.run(500);
    assert_eq!((live(&rig, 1, 1), live(&rig, 1, 3)), (vec![1, 2, 3], vec![1]));
}

#[test]
fn the_only_application_does_not_mute_those_that_come_after_it() {
    let mut rig = Rig::new(2, |_| {});
    rig.create(0).expect("created");
    rig.run(100);
    rig.subscribe(0, From::New);
    rig.subscribe(1, From::New);
    ask(&mut rig, From::New, vec![(origin(1), u64::MAX)]);
    rig.publish(0, "one").expect("published");
    rig.run(500);
    assert_eq!(live(&rig, 1, 1), [1]);
}

#[test]
fn the_history_of_one_is_news_for_others_who_were_there_before() {
    // What was lost does not come by another way while the history is collected.
    let mut rig = rig_with(|config| config.repair.digest_interval = Duration::from_secs(60));
    rig.subscribe(1, From::New);
    rig.lossy.extend([(0, 1), (2, 1)]);
    rig.publish(2, "late").expect("published");
    rig.run(15);
    assert_eq!(live(&rig, 1, 3), [0; 0]);
    rig.lossy.clear();
    let passages = ask(&mut rig, From::All, Vec::new());
    let has = |passage: &Passage| match passage {
        Passage::Batch { batch, .. } => batch.header().origin == origin(3),
        _ => false,
    };
    assert!(passages.iter().any(has), "{passages:?}");
    assert!(passages.contains(&Passage::Known { origin: origin(3), to: 1 }), "{passages:?}");
    rig.run(500);
    assert_eq!(live(&rig, 1, 3), [1]);
    assert_eq!(gaps(&rig, 1), 0);
}
