use core::time::Duration;

use super::rig::{Rig, topic};
use crate::peer::event::{Answer, Command, From, Passage};
use crate::wire::batch::Message;
use crate::wire::headers::RETAIN;

fn retain(rig: &mut Rig, n: usize, body: &str) {
    let mut message = Message::new(body.to_owned());
    message.headers = message.headers.with(RETAIN, "true").expect("legal");
    let command = |request| Command::Publish { request, topic: topic(), message };
    rig.ask(n, command).expect("published");
}

/// What a subscriber gets first, and what else its history has.
fn first(rig: &mut Rig, n: usize, from: From) -> (Option<String>, usize) {
    let received = Vec::new();
    let command = |request| Command::History { request, topic: topic(), from, received };
    let Answer::History(passages) = rig.ask(n, command).expect("collected") else {
        panic!("another answer");
    };
    let text = |message: Message| String::from_utf8_lossy(&message.body).into_owned();
    let retained = passages.iter().find_map(|passage| match passage {
        Passage::Retained(batch) => batch.retained().map(text),
        _ => None,
    });
    (retained, passages.iter().filter(|p| !matches!(p, Passage::Retained(_))).count())
}

fn value(text: &str) -> (Option<String>, usize) {
    (Some(text.to_owned()), 0)
}

#[test]
fn the_host_keeps_what_a_peer_retained_that_is_gone() {
    let mut rig = Rig::new(4, |config| config.retention.age_max = Duration::from_secs(2));
    rig.create(0).expect("created");
    rig.run(100);
    retain(&mut rig, 1, "old");
    retain(&mut rig, 1, "value");
    rig.publish(1, "after").expect("published");
    rig.run(3_000);
    rig.stopped.insert(1);
    rig.run(60_000);
    assert_eq!(rig.bodies(0), [""; 0], "its application has not asked for it");
    rig.subscribe(2, From::New);
    assert_eq!(first(&mut rig, 2, From::New), value("value"), "however old it is");
    assert_eq!(first(&mut rig, 2, From::All), value("value"), "beside what else there is");
    rig.publish(0, "live").expect("published");
    rig.run(200);
    assert_eq!(rig.bodies(2), ["live"]);
    // Who has it gives it to others.
    rig.stopped.insert(0);
    rig.run(10_000);
    rig.subscribe(3, From::New);
    assert_eq!(first(&mut rig, 3, From::New), value("value"));
}

#[test]
fn an_empty_message_takes_it_away_from_all() {
    let mut rig = Rig::new(4, |_| {});
    rig.create(0).expect("created");
    rig.run(100);
    rig.subscribe(1, From::New);
    retain(&mut rig, 2, "value");
    rig.run(1_000);
    assert_eq!(first(&mut rig, 1, From::New), value("value"));
    assert!(rig.peers[2].status().topics.iter().any(|one| one.topic == topic() && one.retains));
    retain(&mut rig, 0, "");
    rig.run(1_000);
    assert_eq!(first(&mut rig, 1, From::New), (None, 0));
    rig.subscribe(3, From::New);
    assert_eq!(first(&mut rig, 3, From::New), (None, 0));
    assert_eq!(rig.bodies(1), ["value", ""], "both came live");
}

#[test]
fn what_comes_live_is_part_of_a_history_and_not_beside_it() {
    let mut rig = Rig::new(3, |_| {});
    rig.create(0).expect("created");
    rig.run(100);
    rig.subscribe(1, From::New);
    rig.publish(0, "before").expect("published");
    retain(&mut rig, 0, "value");
    rig.run(500);
    rig.subscribe(2, From::Since(Duration::from_secs(5)));
    assert_eq!(first(&mut rig, 2, From::All), (None, 2));
}
