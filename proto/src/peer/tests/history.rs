use core::time::Duration;
use std::sync::Arc;

use super::rig::{Rig, topic};
use crate::id::{Incarnation, NodeId, Origin, RequestId};
use crate::machine::Input;
use crate::peer::event::{Answer, Command, Event, From, Passage};
use crate::wire::batch::Batch;

/// Asks for history; what it says, as `publisher:number` for each message and `?` for gaps.
fn history(rig: &mut Rig, n: usize, from: From) -> Vec<String> {
    let command = |request| {
        let received = Vec::new();
        Command::History { request, topic: topic(), from, received }
    };
    let Answer::History(passages) = rig.ask(n, command).expect("collected") else {
        panic!("another answer");
    };
    passages.iter().flat_map(show).collect()
}

fn everything(request: RequestId) -> Command {
    Command::History { request, topic: topic(), from: From::All, received: Vec::new() }
}

fn show(passage: &Passage) -> Vec<String> {
    match passage {
        Passage::Batch { batch, from_seq } => {
            let node = batch.header().origin.node.0[0];
            (*from_seq..=batch.header().last_seq()).map(|seq| format!("{node}:{seq}")).collect()
        }
        Passage::Gap { .. } => vec!["?".to_owned()],
        Passage::Known { .. } => Vec::new(),
        Passage::Retained(batch) => vec![format!("={}", batch.header().first_seq)],
    }
}

fn recent() -> From {
    From::Since(Duration::from_secs(5))
}

/// What is delivered live, as `publisher:number`.
fn live(rig: &Rig, n: usize) -> Vec<String> {
    rig.delivered[n].iter().map(|(_, node, seq, _)| format!("{}:{seq}", node.0[0])).collect()
}

fn rig() -> Rig {
    let mut rig = Rig::new(4, |_| {});
    rig.create(0).expect("created");
    rig.run(100);
    rig.subscribe(0, From::New);
    rig.subscribe(1, From::New);
    for n in 0..5 {
        rig.publish(n % 2, &format!("old {n}")).expect("published");
        rig.run(1_000);
    }
    rig
}

#[test]
fn a_newcomer_gets_what_neighbours_retain_in_order_of_publication() {
    let mut rig = rig();
    rig.subscribe(2, recent());
    assert_eq!(history(&mut rig, 2, From::All), ["1:1", "2:1", "1:2", "2:2", "1:3"]);
    assert_eq!(history(&mut rig, 2, From::Last(2)), ["2:2", "1:3"]);
    let since = From::Since(Duration::from_millis(2_500));
    assert!(history(&mut rig, 2, since).len() <= 3);
    let origin = NodeId([1; 32]);
    let stream = From::Stream { origin, incarnation: None, seq: 2 };
    assert_eq!(history(&mut rig, 2, stream), ["1:2", "1:3"]);
    assert_eq!(rig.peers[2].stats().batches_stale, 0);
}

#[test]
fn a_second_application_gets_what_precedes_the_first_ones_subscription() {
    let mut rig = rig();
    rig.subscribe(2, From::New);
    rig.publish(0, "new").expect("published");
    rig.run(200);
    assert_eq!(live(&rig, 2), ["1:4"]);
    assert_eq!(history(&mut rig, 2, From::All), ["1:1", "2:1", "1:2", "2:2", "1:3", "1:4"]);
    rig.publish(1, "newer").expect("published");
    rig.run(200);
    assert_eq!(live(&rig, 2), ["1:4", "2:3"]);
}

/// What follows `received` numbers of the publishers.
fn rest(rig: &mut Rig, n: usize, from: From, received: &[(u8, u64)]) -> Vec<String> {
    let origin = |n| Origin { node: NodeId([n; 32]), incarnation: Incarnation(1) };
    let received = received.iter().map(|&(n, seq)| (origin(n), seq)).collect();
    let command = |request| Command::History { request, topic: topic(), from, received };
    let Answer::History(passages) = rig.ask(n, command).expect("collected") else {
        panic!("another answer");
    };
    passages.iter().flat_map(show).collect()
}

#[test]
fn what_was_received_does_not_come_again_and_what_follows_it_does_however_old() {
    let mut rig = rig();
    rig.subscribe(2, recent());
    let young = From::Since(Duration::from_millis(10));
    assert_eq!(rest(&mut rig, 2, young, &[(1, 1), (2, 1)]), ["1:2", "2:2", "1:3"]);
    assert_eq!(rest(&mut rig, 2, From::All, &[(1, 2)]), ["2:1", "2:2", "1:3"]);
    assert_eq!(rest(&mut rig, 2, From::Last(1), &[(1, 2)]), ["2:2", "1:3"]);
    assert_eq!(rest(&mut rig, 2, From::New, &[(1, 2)]), ["1:3"], "nothing of others");
    assert_eq!(rest(&mut rig, 2, From::New, &[(1, 3), (2, 2)]), [""; 0]);
}

#[test]
fn what_nobody_retains_of_a_stream_that_was_received_is_a_gap() {
    let mut rig = Rig::new(3, |config| config.retention.age_max = Duration::from_secs(2));
    rig.create(0).expect("created");
    rig.run(100);
    rig.subscribe(0, From::New);
    rig.subscribe(1, From::New);
    for n in 0..5 {
        rig.publish(0, &n.to_string()).expect("published");
        rig.run(1_000);
    }
    rig.run(10_000);
    rig.publish(0, "5").expect("published");
    rig.run(200);
    rig.subscribe(2, recent());
    rig.run(200);
    // 3 to 5 are gone, 6 is there.
    assert_eq!(rest(&mut rig, 2, recent(), &[(1, 2)]), ["?", "1:6"]);
    rig.run(40_000);
    assert!(rig.events[2].iter().all(|event| !matches!(event, Event::Gap { .. })), "told once");
}

#[test]
fn history_hands_over_to_live_without_hole_or_duplicate() {
    for delay in (0..400).step_by(40) {
        let mut rig = rig();
        rig.subscribe(2, recent());
        let before = rig.delivered[2].len();
        let command = |request| everything(request);
        for n in 0..10 {
            rig.publish(n % 2, &format!("during {n}")).expect("published");
        }
        rig.run(delay);
        let answer = rig.ask(2, command).expect("collected");
        // What was delivered before the answer is in the answer.
        let Answer::History(passages) = answer else { panic!("another answer") };
        let mut all: Vec<_> = passages.iter().flat_map(show).collect();
        let known = all.len();
        for n in 10..20 {
            rig.publish(n % 2, &format!("after {n}")).expect("published");
        }
        rig.run(1_000);
        let live = live(&rig, 2);
        let unseen = live[before..].iter().filter(|message| !all[..known].contains(message));
        all.extend(unseen.cloned().collect::<Vec<_>>());
        assert_eq!(all.len(), 25, "after {delay} ms: {all:?}");
        for publisher in 1..=2 {
            let prefix = format!("{publisher}:");
            let stream: Vec<_> = all.iter().filter(|m| m.starts_with(&prefix)).collect();
            let expected: Vec<_> = (1..=stream.len()).map(|n| format!("{prefix}{n}")).collect();
            assert_eq!(stream, expected.iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn nobody_to_ask_is_an_answer_too() {
    let mut rig = Rig::new(1, |_| {});
    rig.create(0).expect("created");
    rig.publish(0, "before").expect("published");
    rig.subscribe(0, recent());
    assert_eq!(history(&mut rig, 0, From::All), ["1:1"]);
    assert_eq!(history(&mut rig, 0, From::Last(0)), [""; 0]);
}

#[test]
fn a_silent_neighbour_is_passed_over() {
    let mut rig = rig();
    rig.subscribe(2, recent());
    rig.run(500);
    rig.stopped.insert(0);
    let before = rig.now;
    assert_eq!(history(&mut rig, 2, From::All).len(), 5, "the other one has it all");
    assert!(rig.now.since(before) < Duration::from_secs(4));
}

#[test]
fn a_neighbour_that_is_leaving_the_topic_is_no_source() {
    let mut rig = rig();
    rig.subscribe(3, From::New);
    rig.subscribe(2, recent());
    rig.run(500);
    let leave = |request| Command::Unsubscribe { request, topic: topic() };
    rig.ask(3, leave).expect("unsubscribed");
    // A seed says that there is one subscriber, and the only link is that of who has just left.
    let local = rig.peers[2].topics.get_mut(&topic()).expect("subscribed");
    local.others = Some(1);
    let links = local.links.clone();
    local.links.retain(|link| link.node == NodeId([4; 32]));
    assert_eq!(local.links.len(), 1);
    let request = RequestId(77);
    let command = everything(request);
    rig.feed(2, Input::Command(command));
    rig.run(200);
    assert!(!rig.answers.contains_key(&request), "it waits for one that has the topic");
    rig.peers[2].topics.get_mut(&topic()).expect("subscribed").links = links;
    rig.run(2_000);
    let Some(Ok(Answer::History(passages))) = rig.answers.remove(&request) else {
        panic!("no answer");
    };
    assert_eq!(passages.iter().flat_map(show).count(), 5);
}

#[test]
fn what_was_delivered_before_a_restart_is_not_delivered_again() {
    let mut rig = rig();
    let origin = Origin { node: NodeId([1; 32]), incarnation: Incarnation(1) };
    let (positions, missed) = (vec![(origin, 3)], Duration::from_millis(3_500));
    let command = |request| Command::Restore {
        request,
        topic: topic(),
        positions,
        batches: Vec::new(),
        retained: Vec::new(),
        missed,
    };
    rig.ask(2, command).expect("restored");
    rig.subscribe(2, From::New);
    rig.run(3_000);
    let mut missed = live(&rig, 2);
    missed.sort_unstable();
    assert_eq!(missed[..2], ["1:3", "2:2"], "what was missed meanwhile, and nothing known");
}

#[test]
fn restored_batches_are_served_to_others() {
    let mut rig = rig();
    let batches = |rig: &mut Rig| -> Vec<(Arc<Batch>, u32)> {
        let command = |request| everything(request);
        let Ok(Answer::History(passages)) = rig.ask(0, command) else { panic!("no history") };
        let batch = |passage| match passage {
            Passage::Batch { batch, .. } => Some((batch, 1_000)),
            Passage::Gap { .. } | Passage::Known { .. } | Passage::Retained(_) => None,
        };
        passages.into_iter().filter_map(batch).collect()
    };
    let batches = batches(&mut rig);
    let (positions, missed) = (Vec::new(), Duration::ZERO);
    let mut fresh = Rig::new(2, |_| {});
    fresh.create(0).expect("created");
    fresh.run(100);
    let command = |request| Command::Restore {
        request,
        topic: topic(),
        positions,
        batches,
        retained: Vec::new(),
        missed,
    };
    fresh.ask(0, command).expect("restored");
    fresh.subscribe(0, From::New);
    fresh.subscribe(1, recent());
    let all = ["1:1", "1:2", "1:3", "2:1", "2:2"];
    let mut found = history(&mut fresh, 1, From::All);
    found.sort_unstable();
    assert_eq!(found, all);
    assert_eq!(live(&fresh, 0), [""; 0], "they were delivered in a former life");
    assert!(fresh.events[1].iter().all(|event| !matches!(event, Event::Gap { .. })));
}
