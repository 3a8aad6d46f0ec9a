//! Topics are created, found, refused and deleted.

use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, topic_neighbors};
use tidings_tests::control::{Control, texts};
use tidings_tests::wait::{self, SOON};

fn command(command: &str, topic: &str) -> Value {
    json!({"command": command, "topic": topic, "message": "text"})
}

#[test]
fn a_topic_is_found_from_everywhere_and_created_once() {
    let cluster = Cluster::start(3, 3);
    let mut controls = cluster.controls();
    controls[0].create("Sports");
    let host = cluster.peers[0].id();
    for control in &mut controls {
        let info = control.ok(&command("topic_info", "Sports"));
        assert!(info.to_string().contains(host), "the host is named: {info}");
        let (code, message) = control.refused(&command("create_topic", "Sports"));
        assert_eq!(code, "topic_exists");
        assert!(message.starts_with("Topic 'Sports' already exists"), "{message}");
    }
    controls[0].ok(&json!({"command": "create_topic", "topic": "Sports", "exist_ok": true}));
}

#[test]
fn an_unknown_topic_is_refused_by_name() {
    let cluster = Cluster::start(3, 2);
    for control in &mut cluster.controls() {
        for name in ["publish", "subscribe", "delete_topic", "topic_info"] {
            let (code, message) = control.refused(&command(name, "Nowhere"));
            assert_eq!(code, "topic_not_found", "{name}");
            assert_eq!(message, "Topic 'Nowhere' not found", "{name}");
        }
        let (code, message) = control.refused(&command("pull", "Nowhere"));
        assert!(matches!(code.as_str(), "topic_not_found" | "not_subscribed"), "{code}");
        assert!(message.contains("'Nowhere'"), "{message}");
    }
}

#[test]
fn a_deleted_topic_is_gone_at_every_peer() {
    let cluster = Cluster::start(3, 4);
    let mut controls = cluster.topic("Sports");
    let mut streaming = cluster.peers[3].control();
    streaming.ok(&json!({"command": "subscribe", "topic": "Sports", "stream": true}));
    controls[0].publish("Sports", "the last one");
    for control in &mut controls {
        control.pull_all("Sports", 1, SOON);
    }

    let (code, _) = controls[1].refused(&command("delete_topic", "Sports"));
    assert_eq!(code, "not_host", "only the host deletes a topic");
    controls[0].ok(&command("delete_topic", "Sports"));

    for control in &mut controls {
        for name in ["publish", "topic_info", "subscribe"] {
            refused_soon(control, &command(name, "Sports"), "topic_not_found");
        }
    }
    assert_eq!(streaming.event().unwrap()["message"], "the last one");
    assert_eq!(streaming.event().unwrap()["event"], "topic_deleted");
    for seed in &cluster.seeds {
        wait::holds("no seed lists the topic", SOON, || {
            !seed.page("/v1/topics").to_string().contains("Sports")
        });
    }
}

/// The news of a deletion travels; a refusal follows, and after it nothing else.
fn refused_soon(control: &mut Control, request: &Value, code: &str) {
    let refused = |control: &mut Control| control.ask(request)["code"] == code;
    wait::holds(&format!("{request} is refused"), SOON, || refused(control));
    assert!(refused(control), "{request} stays refused");
}

#[test]
fn a_topic_that_is_created_again_is_a_new_one() {
    let cluster = Cluster::start(3, 3);
    let mut controls = cluster.topic("Sports");
    controls[0].publish("Sports", "old");
    controls[2].pull_all("Sports", 1, SOON);
    controls[0].ok(&command("delete_topic", "Sports"));
    refused_soon(&mut controls[1], &command("publish", "Sports"), "topic_not_found");

    controls[1].create("Sports");
    controls[2].ok(&json!({"command": "subscribe", "topic": "Sports", "from": "all"}));
    controls[1].publish("Sports", "new");
    assert_eq!(texts(&controls[2].pull_all("Sports", 1, SOON)), ["new"]);
    assert_eq!(controls[2].pull("Sports", 1_000), Vec::<Value>::new());
}

#[test]
fn nothing_is_delivered_after_unsubscribe() {
    let cluster = Cluster::start(1, 3);
    let mut controls = cluster.topic("Sports");
    controls[0].publish("Sports", "one");
    for control in &mut controls {
        control.pull_all("Sports", 1, SOON);
    }
    controls[2].ok(&command("unsubscribe", "Sports"));
    controls[0].publish("Sports", "two");
    assert_eq!(texts(&controls[1].pull_all("Sports", 1, SOON)), ["two"]);
    let answer = controls[2].ask(&json!({"command": "pull", "topic": "Sports", "wait_ms": 500}));
    let messages = answer["messages"].as_array().map_or(0, Vec::len);
    assert_eq!(messages, 0, "{answer}");
    assert_eq!(topic_neighbors(&mut controls[2], "Sports"), 0);
}

#[test]
fn topics_are_listed_by_filter() {
    let cluster = Cluster::start(3, 2);
    let mut controls = cluster.controls();
    for topic in ["sport/football", "sport/tennis", "weather"] {
        controls[0].create(topic);
    }
    let mut list = |filter: &str| {
        let answer = controls[1].ok(&json!({"command": "list_topics", "filter": filter}));
        let topics = answer["topics"].as_array().unwrap().clone();
        topics.iter().map(|item| item["topic"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    wait::holds("all topics are listed", SOON, || list("").len() == 3);
    assert_eq!(list("sport/+"), ["sport/football", "sport/tennis"]);
    assert_eq!(list("#").len(), 3);
    assert_eq!(list("nothing/#").len(), 0);
    let (code, message) = controls[1].refused(&json!({"command": "list_topics", "filter": "s+"}));
    assert_eq!(code, "bad_topic", "{message}");
}
