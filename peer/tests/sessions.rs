//! Sessions over the control port of one peer.

mod common;

use common::{Raw, lone_peer, lone_peer_with, port, port_of};
use serde_json::{Value, json};
use tidings::control::Options;

fn seqs(answer: &Value) -> Vec<u64> {
    let messages = answer["messages"].as_array().expect("messages");
    messages.iter().map(|message| message["seq"].as_u64().expect("a number")).collect()
}

async fn ask(client: &mut Raw, request: Value) -> Value {
    client.done(&request.to_string()).await
}

async fn publish(client: &mut Raw, count: u64) {
    for n in 0..count {
        let message = n.to_string();
        ask(client, json!({"command": "publish", "topic": "t", "message": message})).await;
    }
}

#[tokio::test]
async fn a_session_goes_on_where_it_stood() {
    let port = port().await;
    let mut other = port.client().await;
    ask(&mut other, json!({"command": "create_topic", "topic": "t"})).await;
    let mut ada = port.client().await;
    let connected = ask(&mut ada, json!({"command": "connect", "name": "ada"})).await;
    assert_eq!((&connected["restored"], &connected["topics"]), (&json!(false), &json!([])));
    assert_eq!(connected["expiry_ms"], 60_000);
    ask(&mut ada, json!({"command": "subscribe", "topic": "t"})).await;
    publish(&mut other, 5).await;
    let pulled = ask(&mut ada, json!({"command": "pull", "max": 2})).await;
    assert_eq!((seqs(&pulled), &pulled["remaining"]), (vec![1, 2], &json!(3)));
    ask(&mut ada, json!({"command": "ping"})).await;
    assert_eq!(other.refused(r#"{"command":"connect","name":"ada"}"#).await, "name_taken");
    assert_eq!(ada.refused(r#"{"command":"connect","name":"bob"}"#).await, "not_connected");
    drop(ada);
    publish(&mut other, 1).await;
    let mut again = port.client().await;
    let connected = ask(&mut again, json!({"command": "connect", "name": "ada"})).await;
    assert_eq!((&connected["restored"], &connected["topics"]), (&json!(true), &json!(["t"])));
    assert_eq!(connected["unread"], 4);
    let pulled = ask(&mut again, json!({"command": "pull"})).await;
    assert_eq!(seqs(&pulled), [3, 4, 5, 6]);
    let sessions = ask(&mut other, json!({"command": "sessions"})).await;
    assert_eq!((&sessions["total"], &sessions["sessions"][1]["name"]), (&json!(2), &json!("ada")));
    ask(&mut again, json!({"command": "disconnect"})).await;
    assert_eq!(again.refused(r#"{"command":"disconnect"}"#).await, "not_connected");
    assert_eq!(again.refused(r#"{"command":"pull"}"#).await, "not_subscribed");
    let connected = ask(&mut again, json!({"command": "connect", "name": "ada"})).await;
    assert_eq!(connected["restored"], false, "it was ended");
}

#[tokio::test]
async fn one_sessions_pull_empties_nobody_elses() {
    let port = port().await;
    let mut shared = port.client().await;
    ask(&mut shared, json!({"command": "create_topic", "topic": "t"})).await;
    ask(&mut shared, json!({"command": "subscribe", "topic": "t"})).await;
    let mut clients = Vec::new();
    for n in 0..3 {
        let mut client = port.client().await;
        ask(&mut client, json!({"command": "connect", "name": n.to_string()})).await;
        ask(&mut client, json!({"command": "subscribe", "topic": "t"})).await;
        clients.push(client);
    }
    publish(&mut shared, 3).await;
    for client in clients.iter_mut().chain([&mut shared]) {
        let pulled = ask(client, json!({"command": "pull", "topic": "t"})).await;
        assert_eq!(seqs(&pulled), [1, 2, 3]);
    }
}

#[tokio::test]
async fn a_lost_stream_goes_on_after_what_the_client_says_it_has() {
    let port = port().await;
    let mut other = port.client().await;
    ask(&mut other, json!({"command": "create_topic", "topic": "t"})).await;
    let mut ada = port.client().await;
    ask(&mut ada, json!({"command": "connect", "name": "ada"})).await;
    ask(&mut ada, json!({"command": "subscribe", "topic": "t", "stream": true})).await;
    publish(&mut other, 10).await;
    let mut last = 0;
    for _ in 0..4 {
        let event = ada.line().await.expect("an event");
        last = event["pos"].as_u64().expect("a place");
    }
    assert_eq!(last, 4);
    ask_between_events(&mut ada, &json!({"command": "ack", "topic": "t", "pos": 2})).await;
    drop(ada);
    let mut again = port.client().await;
    let connect = json!({"command": "connect", "name": "ada", "received": {"t": last}});
    let connected = ask(&mut again, connect).await;
    assert_eq!((&connected["restored"], &connected["unread"]), (&json!(true), &json!(6)));
    for seq in 5..=10 {
        let event = again.line().await.expect("an event");
        assert_eq!((&event["seq"], &event["event"]), (&json!(seq), &json!("message")));
    }
    assert_eq!(other.refused(r#"{"command":"ack","topic":"t","pos":1}"#).await, "not_connected");
}

/// Asks while events come, which are read and forgotten.
async fn ask_between_events(client: &mut Raw, request: &Value) {
    client.send(&format!("{request}\n")).await;
    while client.line().await.expect("open")["status"] != "ok" {}
}

#[tokio::test]
async fn a_stream_that_is_reset_without_a_word_loses_nothing() {
    let port = port().await;
    let mut other = port.client().await;
    ask(&mut other, json!({"command": "create_topic", "topic": "t"})).await;
    let mut ada = port.client().await;
    ask(&mut ada, json!({"command": "connect", "name": "ada"})).await;
    ask(&mut ada, json!({"command": "subscribe", "topic": "t", "stream": true})).await;
    publish(&mut other, 10).await;
    for _ in 0..3 {
        ada.line().await;
    }
    ada.reset();
    let mut again = port.client().await;
    ask(&mut again, json!({"command": "connect", "name": "ada"})).await;
    let mut expected = 0;
    while expected < 10 {
        let event = again.line().await.expect("an event");
        let seq = event["seq"].as_u64().expect("a number");
        // Some of it was on its way when the client was lost: that is repeated, and says so.
        assert!(event["redelivered"] == true || seq > 3, "{event}");
        expected += 1;
        assert_eq!(seq, expected);
    }
}

#[tokio::test]
async fn a_pull_and_an_end_of_input_confirm() {
    let port = port().await;
    let mut other = port.client().await;
    ask(&mut other, json!({"command": "create_topic", "topic": "t"})).await;
    let connect = "{\"command\":\"connect\",\"name\":\"script\"}\n";
    let subscribe = "{\"command\":\"subscribe\",\"topic\":\"t\"}\n";
    let pull = "{\"command\":\"pull\",\"max\":2}\n";
    script(port.client().await, &format!("{connect}{subscribe}")).await;
    publish(&mut other, 5).await;
    for expected in [vec![1, 2], vec![3, 4], vec![5]] {
        let answers = script(port.client().await, &format!("{connect}{pull}")).await;
        assert_eq!(answers[0]["restored"], true);
        assert_eq!(seqs(&answers[1]), expected, "as a shell script with ncat would do it");
    }
}

/// Sends everything, ends the input, and reads all answers.
async fn script(mut client: Raw, text: &str) -> Vec<Value> {
    client.send(text).await;
    client.finish().await
}

#[tokio::test]
async fn too_many_sessions_are_refused() {
    let lone = lone_peer_with(|config| config.limits.sessions = 2).await;
    let port = port_of(lone, Options::default()).await;
    let mut clients = Vec::new();
    for n in 0..2 {
        let mut client = port.client().await;
        ask(&mut client, json!({"command": "connect", "name": n.to_string()})).await;
        clients.push(client);
    }
    let mut third = port.client().await;
    assert_eq!(third.refused(r#"{"command":"connect","name":"more"}"#).await, "limit");
}

#[tokio::test]
async fn drop_oldest_keeps_the_newest_and_names_the_rest() {
    let port = port().await;
    let mut client = port.client().await;
    ask(&mut client, json!({"command": "create_topic", "topic": "t"})).await;
    let policy = json!({
        "command": "subscribe", "topic": "t", "policy": "drop-oldest", "buffer": 3
    });
    ask(&mut client, policy).await;
    publish(&mut client, 10).await;
    let pulled = ask(&mut client, json!({"command": "pull"})).await;
    assert_eq!((seqs(&pulled), &pulled["dropped"]), (vec![8, 9, 10], &json!(7)));
    let gap = &pulled["gaps"][0];
    assert_eq!((&gap["from"], &gap["to"], &gap["count"]), (&json!(1), &json!(7), &json!(7)));
    assert_eq!(gap["reason"], "slow_consumer");
}

#[tokio::test]
async fn a_line_that_is_too_long_confirms_nothing() {
    let port = port_of(lone_peer().await, Options { line_max: 1_024, ..Options::default() }).await;
    let mut other = port.client().await;
    ask(&mut other, json!({"command": "create_topic", "topic": "t"})).await;
    let mut ada = port.client().await;
    ask(&mut ada, json!({"command": "connect", "name": "ada"})).await;
    ask(&mut ada, json!({"command": "subscribe", "topic": "t", "stream": true})).await;
    publish(&mut other, 3).await;
    for seq in 1..=3 {
        assert_eq!(ada.line().await.expect("an event")["seq"], seq);
    }
    ada.send(format!("{}\n", "x".repeat(2_000))).await;
    let answers = ada.finish().await;
    assert_eq!(answers.last().expect("an error")["code"], "too_large");
    let mut again = port.client().await;
    ask(&mut again, json!({"command": "connect", "name": "ada"})).await;
    for seq in 1..=3 {
        let event = again.line().await.expect("an event");
        assert_eq!((&event["seq"], &event["redelivered"]), (&json!(seq), &json!(true)));
    }
}

#[tokio::test]
async fn a_filter_that_is_refused_half_way_leaves_nothing() {
    let lone = lone_peer_with(|config| config.limits.subscriptions = 1).await;
    let port = port_of(lone, Options::default()).await;
    let mut client = port.client().await;
    for topic in ["a", "b"] {
        ask(&mut client, json!({"command": "create_topic", "topic": topic})).await;
    }
    for connect in [false, true] {
        if connect {
            ask(&mut client, json!({"command": "connect", "name": "ada"})).await;
        }
        for _ in 0..2 {
            assert_eq!(client.refused(r##"{"command":"subscribe","topic":"#"}"##).await, "limit");
            assert_eq!(client.refused(r#"{"command":"pull"}"#).await, "not_subscribed");
        }
    }
}

#[tokio::test]
async fn the_last_of_a_deleted_topic_comes_again_if_it_may_not_have_arrived() {
    let port = port().await;
    let mut other = port.client().await;
    ask(&mut other, json!({"command": "create_topic", "topic": "t"})).await;
    let mut ada = port.client().await;
    ask(&mut ada, json!({"command": "connect", "name": "ada"})).await;
    ask(&mut ada, json!({"command": "subscribe", "topic": "t"})).await;
    publish(&mut other, 2).await;
    ask(&mut other, json!({"command": "delete_topic", "topic": "t"})).await;
    let pulled = ask(&mut ada, json!({"command": "pull", "wait_ms": 10_000})).await;
    assert_eq!(seqs(&pulled), [1, 2]);
    ada.reset();
    let mut again = port.client().await;
    let connected = ask(&mut again, json!({"command": "connect", "name": "ada"})).await;
    assert_eq!(connected["topics"], json!(["t"]));
    let pulled = ask(&mut again, json!({"command": "pull"})).await;
    assert_eq!((seqs(&pulled), &pulled["topics_deleted"]), (vec![1, 2], &json!(["t"])));
    assert_eq!(again.refused(r#"{"command":"pull"}"#).await, "not_subscribed", "now it arrived");
    let sessions = ask(&mut other, json!({"command": "sessions"})).await;
    assert_eq!(sessions["sessions"][1]["subscriptions"], json!([]), "{sessions}");
}

#[tokio::test]
async fn what_was_asked_while_a_pull_waited_does_not_confirm_it() {
    let port = port().await;
    let mut other = port.client().await;
    ask(&mut other, json!({"command": "create_topic", "topic": "t"})).await;
    let mut ada = port.client().await;
    ask(&mut ada, json!({"command": "connect", "name": "ada"})).await;
    ask(&mut ada, json!({"command": "subscribe", "topic": "t"})).await;
    ada.send("{\"command\":\"pull\",\"wait_ms\":20000}\n").await;
    ada.send("{\"command\":\"ping\"}\n").await;
    publish(&mut other, 1).await;
    assert_eq!(seqs(&ada.line().await.expect("an answer")), [1]);
    assert_eq!(ada.line().await.expect("an answer")["status"], "ok");
    ada.reset();
    let mut again = port.client().await;
    ask(&mut again, json!({"command": "connect", "name": "ada"})).await;
    let pulled = ask(&mut again, json!({"command": "pull"})).await;
    assert_eq!(seqs(&pulled), [1]);
    assert_eq!(pulled["messages"][0]["redelivered"], true);
}

#[tokio::test]
async fn to_say_what_was_received_is_no_promise_to_confirm_the_rest() {
    let port = port().await;
    let mut other = port.client().await;
    ask(&mut other, json!({"command": "create_topic", "topic": "t"})).await;
    let mut ada = port.client().await;
    ask(&mut ada, json!({"command": "connect", "name": "ada"})).await;
    ask(&mut ada, json!({"command": "subscribe", "topic": "t"})).await;
    publish(&mut other, 3).await;
    ask(&mut ada, json!({"command": "pull"})).await;
    ada.reset();
    let mut again = port.client().await;
    ask(&mut again, json!({"command": "connect", "name": "ada", "received": {"t": 2}})).await;
    let pulled = ask(&mut again, json!({"command": "pull"})).await;
    assert_eq!(seqs(&pulled), [3]);
    ask(&mut again, json!({"command": "ping"})).await;
    again.reset();
    let mut third = port.client().await;
    let connected = ask(&mut third, json!({"command": "connect", "name": "ada"})).await;
    assert_eq!(connected["unread"], 0, "the ping confirmed the pull");
}
