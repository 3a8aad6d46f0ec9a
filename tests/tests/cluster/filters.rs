//! Subscriptions to filters: of what exists, of what is created later, pulled and streamed.

use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, Setup};
use tidings_tests::control::{Control, texts};
use tidings_tests::wait::{self, SOON};

fn command(command: &str, topic: &str) -> Value {
    json!({"command": command, "topic": topic})
}

/// Pulls until there are so many messages.
fn pull(control: &mut Control, filter: &str, count: usize) -> Vec<Value> {
    let mut messages = Vec::new();
    wait::holds(&format!("{count} messages of {filter}"), SOON, || {
        let request = json!({"command": "pull", "filter": filter, "wait_ms": 200});
        let answer = control.ok(&request);
        messages.extend(answer["messages"].as_array().unwrap().iter().cloned());
        messages.len() >= count
    });
    messages
}

fn events(control: &mut Control, count: usize) -> Vec<Value> {
    (0..count).map(|_| control.event().unwrap()).collect()
}

#[test]
fn a_filter_covers_what_exists_and_what_is_created_later() {
    let cluster = Cluster::start(3, 3);
    let mut controls = cluster.controls();
    controls[0].create("sensors/1/temp");
    controls[0].create("sensors/1/light");
    let (code, _) = controls[1].refused(&command("subscribe", "sensors/+x/temp"));
    assert_eq!(code, "bad_topic");

    controls[1].ok(&command("subscribe", "sensors/+/temp"));
    controls[0].publish("sensors/1/temp", "20");
    controls[0].publish("sensors/1/light", "dark");
    assert_eq!(texts(&pull(&mut controls[1], "sensors/+/temp", 1)), ["20"]);

    // Created later, at another peer; the first message comes right after.
    controls[2].create("sensors/2/temp");
    controls[2].publish("sensors/2/temp", "21");
    let later = pull(&mut controls[1], "#", 1);
    assert_eq!((texts(&later), &later[0]["topic"]), (vec!["21"], &json!("sensors/2/temp")));

    // Deleted, and created again.
    controls[2].ok(&command("delete_topic", "sensors/2/temp"));
    let answer = wait::until("the deletion is told", SOON, || {
        let answer = controls[1].ask(&json!({"command": "pull", "wait_ms": 200}));
        (answer["topics_deleted"] == json!(["sensors/2/temp"])).then_some(answer)
    });
    assert_eq!(answer["messages"], json!([]));
    controls[0].create("sensors/2/temp");
    controls[0].publish("sensors/2/temp", "22");
    assert_eq!(texts(&pull(&mut controls[1], "sensors/2/+", 1)), ["22"]);

    controls[1].ok(&command("unsubscribe", "sensors/+/temp"));
    let (code, _) = controls[1].refused(&json!({"command": "pull"}));
    assert_eq!(code, "not_subscribed");
    controls[0].create("sensors/3/temp");
    controls[0].publish("sensors/3/temp", "23");
    let (code, _) = controls[1].refused(&json!({"command": "pull", "wait_ms": 500}));
    assert_eq!(code, "not_subscribed");
}

#[test]
fn what_matches_twice_comes_once() {
    let cluster = Cluster::start(3, 2);
    let mut controls = cluster.controls();
    controls[0].create("a/b");
    for filter in ["a/#", "+/b", "a/b"] {
        controls[1].ok(&json!({"command": "subscribe", "filter": filter}));
    }
    controls[0].create("a/c");
    for n in 0..5 {
        controls[0].publish("a/b", &n.to_string());
        controls[0].publish("a/c", &n.to_string());
    }
    assert_eq!(pull(&mut controls[1], "#", 10).len(), 10);
    let rest = controls[1].ok(&json!({"command": "pull", "wait_ms": 500}));
    assert_eq!(rest["messages"], json!([]), "nothing comes twice");

    // What was subscribed to by name, or is selected by another filter, stays.
    controls[1].ok(&command("unsubscribe", "a/#"));
    controls[0].publish("a/b", "still");
    controls[0].publish("a/c", "no more");
    assert_eq!(texts(&pull(&mut controls[1], "a/b", 1)), ["still"]);
    let (code, _) = controls[1].refused(&command("pull", "a/c"));
    assert_eq!(code, "not_subscribed");
}

#[test]
fn a_filter_is_streamed() {
    let cluster = Cluster::start(3, 2);
    let mut controls = cluster.controls();
    controls[0].create("a/1");
    let mut streaming = cluster.peers[1].control();
    for filter in ["a/+", "#"] {
        streaming.ok(&json!({"command": "subscribe", "filter": filter, "stream": true}));
    }
    streaming.ok(&json!({"command": "subscribe", "topic": "a/1", "stream": true}));
    controls[0].publish("a/1", "one");
    assert_eq!(streaming.event().unwrap()["message"], "one");
    controls[0].create("a/2");
    controls[0].publish("a/2", "two");
    let event = streaming.event().unwrap();
    assert_eq!((&event["message"], &event["topic"]), (&json!("two"), &json!("a/2")));
    controls[0].ok(&command("delete_topic", "a/2"));
    assert_eq!(streaming.event().unwrap()["event"], "topic_deleted");
    streaming.ok(&command("unsubscribe", "#"));
    streaming.ok(&command("unsubscribe", "a/+"));
    controls[0].create("a/3");
    controls[0].publish("a/3", "nobody");
    controls[0].publish("a/1", "by name");
    let told = events(&mut streaming, 1);
    assert_eq!(told[0]["message"], "by name");
}

#[test]
fn topics_are_made_where_the_config_says_so() {
    let cluster = Setup::new(3, 2).config("[peer]\nauto_create = true\n").start();
    let mut controls = cluster.controls();
    controls[0].publish("by/publish", "hello");
    controls[1].ok(&command("subscribe", "by/subscribe"));
    controls[0].publish("by/subscribe", "hello too");
    assert_eq!(texts(&controls[1].pull_all("by/subscribe", 1, SOON)), ["hello too"]);
    let info = controls[1].ok(&command("topic_info", "by/publish"));
    assert_eq!(info["host"], cluster.peers[0].id());
    let info = controls[0].ok(&command("topic_info", "by/subscribe"));
    assert_eq!(info["host"], cluster.peers[1].id());
}

#[test]
fn a_filter_of_the_permanent_session_survives_a_restart() {
    let mut cluster = Cluster::start(3, 3);
    let mut controls = cluster.controls();
    controls[0].create("sensors/1");
    controls[0].create("other");
    controls[1].ok(&command("subscribe", "sensors/#"));
    controls[1].subscribe("other");
    controls[0].publish("sensors/1", "read before");
    assert_eq!(texts(&pull(&mut controls[1], "#", 1)), ["read before"]);
    controls[0].publish("sensors/1", "unread");
    wait::holds("it waits", SOON, || {
        let sessions = controls[1].ok(&json!({"command": "sessions"}));
        sessions["sessions"][0]["unread"] == 1
    });
    wait::pause(std::time::Duration::from_millis(100));

    cluster.peers[1].kill();
    // Created and published to while it is down.
    controls[2].create("sensors/2");
    controls[2].publish("sensors/2", "meanwhile");
    controls[0].publish("sensors/1", "meanwhile too");
    cluster.peers[1].restart();
    cluster.wait_whole();
    let mut back = cluster.peers[1].control();
    let mut got = pull(&mut back, "sensors/#", 3);
    got.sort_by_key(|message| message["topic"].as_str().unwrap().to_owned());
    assert_eq!(texts(&got), ["unread", "meanwhile too", "meanwhile"]);
    controls[0].create("sensors/3");
    controls[0].publish("sensors/3", "later");
    assert_eq!(texts(&pull(&mut back, "sensors/#", 1)), ["later"]);

    // It ends as a filter does: with its topics, not with others.
    back.ok(&command("unsubscribe", "sensors/#"));
    let (code, _) = back.refused(&command("pull", "sensors/1"));
    assert_eq!(code, "not_subscribed");
    controls[0].publish("other", "still");
    assert_eq!(texts(&pull(&mut back, "other", 1)), ["still"]);
    cluster.peers[1].restart();
    let mut back = cluster.peers[1].control();
    let (code, _) = back.refused(&command("pull", "sensors/1"));
    assert_eq!(code, "not_subscribed");
}

#[test]
fn a_named_session_streams_a_filter_and_goes_on_with_it() {
    let cluster = Cluster::start(3, 2);
    let mut controls = cluster.controls();
    controls[0].create("a/1");
    let connect = json!({"command": "connect", "name": "ada"});
    let mut ada = cluster.peers[1].control();
    ada.ok(&connect);
    ada.ok(&json!({"command": "subscribe", "filter": "a/#", "stream": true}));
    controls[0].publish("a/1", "one");
    assert_eq!(ada.event().unwrap()["message"], "one");
    controls[0].create("a/2");
    controls[0].publish("a/2", "two");
    let event = ada.event().unwrap();
    assert_eq!((&event["message"], &event["topic"]), (&json!("two"), &json!("a/2")));
    for topic in ["a/1", "a/2"] {
        ada.ok(&json!({"command": "ack", "topic": topic, "pos": 1}));
    }
    drop(ada);
    controls[0].publish("a/1", "three");
    controls[0].create("a/3");
    controls[0].publish("a/3", "four");
    let mut ada = cluster.peers[1].control();
    let mut restored = json!(null);
    wait::holds("the name is free", SOON, || {
        restored = ada.ask(&connect);
        restored["status"] == "ok"
    });
    assert_eq!((&restored["restored"], &restored["filters"]), (&json!(true), &json!(["a/#"])));
    let mut got = events(&mut ada, 2);
    got.sort_by_key(|event| event["topic"].as_str().unwrap().to_owned());
    assert_eq!(texts(&got), ["three", "four"]);
    controls[0].create("a/4");
    controls[0].publish("a/4", "five");
    assert_eq!(ada.event().unwrap()["message"], "five");
    ada.ok(&command("unsubscribe", "a/#"));
    controls[0].publish("a/1", "nobody");
    let pong = ada.ok(&json!({"command": "ping"}));
    assert_eq!(pong["pong"], true);
}
