//! The control port over real sockets.

mod common;

use std::time::Duration;

use common::{Raw, port, port_with, seedless_peer};
use serde_json::{Value, json};
use tidings::control::{Options, Server};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

const CREATE: &str = r#"{"command":"create_topic","topic":"Sports"}"#;
const PUBLISH: &str = r#"{"command":"publish","topic":"Sports","message":"Goal!"}"#;
const SUBSCRIBE: &str = r#"{"command":"subscribe","topic":"Sports"}"#;
const STREAM: &str = r#"{"command":"subscribe","topic":"Sports","stream":true}"#;
const PULL: &str = r#"{"command":"pull","topic":"Sports","wait_ms":5000}"#;

#[tokio::test]
async fn what_is_published_can_be_pulled_by_another_connection() {
    let port = port().await;
    let mut client = port.client().await;
    client.done(CREATE).await;
    client.done(SUBSCRIBE).await;
    let published = client.done(PUBLISH).await;
    assert_eq!((&published["seq"], &published["reached"]), (&json!(1), &json!(0)));
    drop(client);
    let mut client = port.client().await;
    let pulled = client.done(PULL).await;
    let message = &pulled["messages"][0];
    assert_eq!(message["topic"], "Sports");
    assert_eq!(message["message"], "Goal!");
    assert_eq!(message["seq"], 1);
    let about = port.lone.peer.about();
    assert_eq!(message["origin"], about.node.to_string());
    assert_eq!(message["origin_addr"], about.listen.to_string());
    let at = message["published_at"].as_str().expect("a time");
    assert!(at.len() == 27 && at.ends_with('Z'), "RFC 3339 with microseconds: {at}");
    assert_eq!((&pulled["remaining"], &pulled["dropped"]), (&json!(0), &json!(0)));
    let empty = client.done(r#"{"command":"pull","topic":"Sports"}"#).await;
    assert_eq!(empty["messages"], json!([]));
}

#[tokio::test]
async fn headers_come_with_events_and_pulled_messages() {
    let port = port().await;
    let (mut one, mut two) = (port.client().await, port.client().await);
    one.done(CREATE).await;
    one.done(SUBSCRIBE).await;
    two.done(STREAM).await;
    let headers = json!({"minute": "90", "größe": "a b:c"});
    let publish = json!({
        "command": "publish", "topic": "Sports", "message": "Goal!", "headers": headers
    });
    one.done(&publish.to_string()).await;
    one.done(PUBLISH).await;
    let messages = one.done(PULL).await["messages"].clone();
    assert_eq!(messages[0]["headers"], headers);
    assert_eq!(messages[1].get("headers"), None, "nothing is shown where there is nothing");
    assert_eq!(two.line().await.expect("an event")["headers"], headers);

    let value = "x".repeat(8 << 10);
    let publish = json!({
        "command": "publish", "topic": "Sports", "message": "x", "headers": {"a": value}
    });
    let answer = one.ask(&publish.to_string()).await;
    assert_eq!(answer["code"], "bad_request");
    assert!(answer["message"].as_str().expect("a text").contains("at most 8192 bytes"), "{answer}");
}

#[tokio::test]
async fn a_publisher_is_told_that_the_queues_are_full_and_when_to_retry() {
    let lone = seedless_peer().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = Server::start(lone.peer.clone(), listener, Options::default()).expect("a server");
    // Without seeds nobody knows the topic: publications wait, 16 MiB of them.
    let message = "x".repeat(1_000_000);
    let publish =
        json!({"command": "publish", "topic": "t", "message": message, "wait_ms": 0}).to_string();
    let mut waiting = Vec::new();
    let answer = loop {
        let mut client = Raw::connect(server.address()).await;
        client.send(format!("{publish}\n")).await;
        match tokio::time::timeout(Duration::from_millis(30), client.line()).await {
            Ok(answer) => break answer.expect("a line"),
            Err(_) => waiting.push(client),
        }
        assert!(waiting.len() <= 17, "room for no more than 16 MiB");
    };
    assert!(waiting.len() >= 15, "room for {} only", waiting.len());
    assert_eq!(answer["code"], "busy", "{answer}");
    assert!(answer["retry_ms"].as_u64().is_some_and(|ms| (1..=1_000).contains(&ms)), "{answer}");
    // Who may wait does, and is told all the same in the end.
    let mut client = Raw::connect(server.address()).await;
    let patient = publish.replace("\"wait_ms\":0", "\"wait_ms\":100");
    let begun = std::time::Instant::now();
    assert_eq!(client.refused(&patient).await, "busy");
    assert!(begun.elapsed() >= Duration::from_millis(100));
    // What waited is answered with what kept it waiting.
    for client in &mut waiting {
        assert_eq!(client.line().await.expect("an answer")["code"], "no_quorum");
    }
}

#[tokio::test]
async fn pull_takes_at_most_max_and_tells_the_rest() {
    let port = port().await;
    let mut client = port.client().await;
    client.done(CREATE).await;
    client.done(SUBSCRIBE).await;
    for _ in 0..5 {
        client.done(PUBLISH).await;
    }
    let pulled = client.done(r#"{"command":"pull","topic":"Sports","max":2,"wait_ms":5000}"#).await;
    assert_eq!(pulled["messages"].as_array().expect("a list").len(), 2);
    assert_eq!(pulled["remaining"], 3);
    let pulled = client.done(r#"{"command":"PULL"}"#).await;
    assert_eq!(pulled["messages"].as_array().expect("a list").len(), 3);
}

#[tokio::test]
async fn a_pull_that_waits_is_woken_by_a_message() {
    let port = port().await;
    let (mut one, mut two) = (port.client().await, port.client().await);
    one.done(CREATE).await;
    one.done(SUBSCRIBE).await;
    one.send(format!("{PULL}\n")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    two.done(PUBLISH).await;
    let pulled = one.line().await.expect("an answer");
    assert_eq!(pulled["messages"][0]["message"], "Goal!");
}

#[tokio::test]
async fn a_reset_client_takes_no_messages() {
    let port = port().await;
    let (mut one, mut two) = (port.client().await, port.client().await);
    one.done(CREATE).await;
    one.done(SUBSCRIBE).await;
    one.send(format!("{PULL}\n")).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    one.reset();
    tokio::time::sleep(Duration::from_millis(100)).await;
    two.done(PUBLISH).await;
    let pulled = two.done(PULL).await;
    assert_eq!(pulled["messages"][0]["message"], "Goal!");
}

#[tokio::test]
async fn events_stream_between_answers() {
    let port = port().await;
    let mut client = port.client().await;
    client.done(CREATE).await;
    let subscribed = client.done(STREAM).await;
    assert_eq!((&subscribed["topic"], &subscribed["stream"]), (&json!("Sports"), &json!(true)));
    client.send(format!("{PUBLISH}\n{{\"command\":\"ping\",\"id\":7}}\n")).await;
    let mut lines = vec![client.line().await, client.line().await, client.line().await];
    let event = lines.iter().position(|l| l.as_ref().is_some_and(|l| l["event"] == "message"));
    let event = lines.remove(event.expect("an event")).expect("a line");
    assert_eq!(event["message"], "Goal!");
    assert_eq!(lines[0].as_ref().map(|answer| &answer["seq"]), Some(&json!(1)));
    assert_eq!(lines[1].as_ref().map(|answer| &answer["id"]), Some(&json!(7)));
    client.done(r#"{"command":"unsubscribe","topic":"Sports"}"#).await;
    client.done(PUBLISH).await;
    let pong = client.done(r#"{"command":"ping"}"#).await;
    assert_eq!(pong["pong"], true, "no event comes after unsubscribe");
}

#[tokio::test]
async fn a_deleted_topic_ends_its_subscriptions() {
    let port = port().await;
    let (mut one, mut two) = (port.client().await, port.client().await);
    one.done(CREATE).await;
    one.done(SUBSCRIBE).await;
    two.done(STREAM).await;
    one.done(r#"{"command":"delete_topic","topic":"Sports"}"#).await;
    let event = two.line().await.expect("an event");
    assert_eq!(event, json!({"event":"topic_deleted","topic":"Sports"}));
    let pulled = one.done(PULL).await;
    assert_eq!(pulled["topics_deleted"], json!(["Sports"]));
    assert_eq!(one.refused(PULL).await, "not_subscribed");
    assert_eq!(one.refused(PUBLISH).await, "topic_not_found");
}

#[tokio::test]
async fn from_all_replays_what_is_retained() {
    let port = port().await;
    let mut client = port.client().await;
    client.done(CREATE).await;
    client.done(SUBSCRIBE).await;
    for i in 0..3 {
        let request = format!(r#"{{"command":"publish","topic":"Sports","message":"{i}"}}"#);
        client.done(&request).await;
    }
    let mut late = port.client().await;
    late.done(r#"{"command":"subscribe","topic":"Sports","stream":true,"from":"all"}"#).await;
    client.done(PUBLISH).await;
    for expected in ["0", "1", "2", "Goal!"] {
        assert_eq!(late.line().await.expect("an event")["message"], expected);
    }
}

#[tokio::test]
async fn unknown_topics_are_named() {
    let port = port().await;
    let mut client = port.client().await;
    for command in ["publish\",\"message\":\"x", "subscribe", "delete_topic", "topic_info"] {
        let answer = client.ask(&format!(r#"{{"topic":"Sports","command":"{command}"}}"#)).await;
        let expected =
            json!({"status":"error","code":"topic_not_found","message":"Topic 'Sports' not found"});
        assert_eq!(answer, expected, "{command}");
    }
    client.done(CREATE).await;
    assert_eq!(client.refused(CREATE).await, "topic_exists");
    client.done(r#"{"command":"create_topic","topic":"Sports","exist_ok":true}"#).await;
    let info = client.done(r#"{"command":"topic_info","topic":"Sports"}"#).await;
    assert_eq!(info["host"], port.lone.peer.about().node.to_string());
}

#[tokio::test]
async fn bytes_travel_as_base64() {
    let port = port().await;
    let mut client = port.client().await;
    client.done(CREATE).await;
    client.done(SUBSCRIBE).await;
    client.done(r#"{"command":"publish","topic":"Sports","message_base64":"/wD+"}"#).await;
    client.done(r#"{"command":"publish","topic":"Sports","message_base64":"aGk="}"#).await;
    client.done(r#"{"command":"publish","topic":"Sports","message":""}"#).await;
    let messages = &client.done(PULL).await["messages"];
    assert_eq!(messages[0]["message_base64"], "/wD+");
    assert_eq!(messages[0]["message"], Value::Null);
    assert_eq!(messages[1]["message"], "hi");
    assert_eq!(messages[2]["message"], "");
}

#[tokio::test]
async fn views_have_the_promised_fields() {
    let port = port().await;
    let mut client = port.client().await;
    client.done(CREATE).await;
    let status = client.done(r#"{"command":"status","id":{"a":[1]}}"#).await;
    assert_eq!(status["id"], json!({"a":[1]}));
    assert_eq!(status["name"], "lone");
    assert_eq!(status["joined"], true);
    assert_eq!(status["control"], port.address().to_string());
    for field in ["node", "listen", "incarnation", "neighbors", "topics", "counters", "version"] {
        assert!(!status[field].is_null(), "{field}");
    }
    let seeds = client.done(r#"{"command":"seeds"}"#).await;
    let expected = json!({"status":"ok","quorum":0,"joined":0,"total":0,"seeds":[]});
    assert_eq!(seeds, expected);
    let peers = client.done(r#"{"command":"peers"}"#).await;
    assert!(peers["total"].is_u64() && peers["peers"].is_array());
    let help = client.done(r#"{"command":"help"}"#).await;
    for command in help["commands"].as_array().expect("a list") {
        let name = command["command"].as_str().expect("a name");
        let answer = client.ask(&format!(r#"{{"command":"{name}"}}"#)).await;
        assert_ne!(answer["code"], "unknown_command", "{name}");
    }
}

#[tokio::test]
async fn wrong_lines_get_an_error_and_the_connection_lives() {
    let port = port().await;
    let mut client = port.client().await;
    assert_eq!(client.refused("hello").await, "bad_json");
    assert_eq!(client.refused("[1,2]").await, "bad_request");
    assert_eq!(client.refused(r#"{"command":"fly"}"#).await, "unknown_command");
    assert_eq!(client.refused(r#"{"command":"subscribe","topic":"a/#/b"}"#).await, "bad_topic");
    let name = "x".repeat(300);
    let request = format!(r#"{{"command":"create_topic","topic":"{name}"}}"#);
    assert_eq!(client.refused(&request).await, "bad_topic");
    client.send(b"\xff\xfe\x00\n").await;
    assert_eq!(client.line().await.expect("an answer")["code"], "bad_json");
    client.send(b"\r\n\n  \n").await;
    let deep = "[".repeat(100_000);
    assert_eq!(client.refused(&deep).await, "bad_json");
    client.done(r#"{"command":"Ping"}"#).await;
}

#[tokio::test]
async fn a_line_that_is_too_long_gets_an_error_and_a_close() {
    let port = port().await;
    let mut client = port.client().await;
    let long = vec![b'x'; 2 << 20];
    client.send(&long).await;
    client.send(b"\n").await;
    let answer = client.line().await.expect("an answer");
    assert_eq!(answer["code"], "too_large");
    client.writer.shutdown().await.expect("open");
    assert_eq!(client.line().await, None);
    port.client().await.done(r#"{"command":"ping"}"#).await;
}

#[tokio::test]
async fn requests_may_come_in_any_pieces() {
    let port = port().await;
    let mut client = port.client().await;
    client.done(CREATE).await;
    let many: String = (0..500)
        .map(|i| {
            format!(
                "{{\"id\":{i},\"command\":\"publish\",\"topic\":\"Sports\",\"message\":\"m\"}}\r\n"
            )
        })
        .collect();
    client.send(&many).await;
    for i in 0..500 {
        let answer = client.line().await.expect("an answer");
        assert_eq!((&answer["id"], &answer["seq"]), (&json!(i), &json!(i + 1)));
    }
    for byte in format!("{PUBLISH}\n").bytes() {
        client.send([byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.line().await.expect("an answer")["seq"], 501);
}

#[tokio::test]
async fn half_closed_connections_get_all_answers() {
    let port = port().await;
    let mut client = port.client().await;
    let last_without_newline = format!("{CREATE}\n{PUBLISH}\n{{\"command\":\"ping\"}}");
    client.send(last_without_newline).await;
    client.writer.shutdown().await.expect("open");
    for _ in 0..3 {
        assert_eq!(client.line().await.expect("an answer")["status"], "ok");
    }
    assert_eq!(client.line().await, None);
}

#[tokio::test]
async fn later_requests_do_not_overtake_publications() {
    let port = port().await;
    let mut client = port.client().await;
    client.done(CREATE).await;
    let mut requests = format!("{PUBLISH}\n").repeat(300);
    requests.push_str("{\"command\":\"delete_topic\",\"topic\":\"Sports\"}\n");
    client.send(&requests).await;
    for i in 0..301 {
        assert_eq!(client.line().await.expect("an answer")["status"], "ok", "request {i}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected() {
    let options = Options { stall: Duration::from_millis(300), ..Options::default() };
    let port = port_with(options).await;
    let mut slow = port.client().await;
    let request = format!("{{\"command\":\"help\",\"id\":\"{}\"}}\n", "x".repeat(10_000));
    let flooding = async {
        // Ends with an error when the peer has had enough.
        while slow.writer.write_all(request.as_bytes()).await.is_ok() {}
    };
    tokio::time::timeout(common::PATIENCE, flooding).await.expect("disconnected");
    port.client().await.done(r#"{"command":"ping"}"#).await;
}

#[tokio::test]
async fn too_many_connections_are_told_so() {
    let port = port_with(Options { connections_max: 1, ..Options::default() }).await;
    let mut first = port.client().await;
    first.done(r#"{"command":"ping"}"#).await;
    let mut second = port.client().await;
    assert_eq!(second.line().await.expect("a reason")["code"], "limit");
    assert_eq!(second.line().await, None);
    first.reset();
    tokio::time::sleep(Duration::from_millis(100)).await;
    port.client().await.done(r#"{"command":"ping"}"#).await;
}

#[tokio::test]
async fn too_many_subscriptions_are_refused() {
    let lone = common::lone_peer_with(|config| config.limits.subscriptions = 1).await;
    let options = Options { subscriptions_max: 1, ..Options::default() };
    let port = common::port_of(lone, options).await;
    let mut client = port.client().await;
    for topic in ["a", "b"] {
        client.done(&format!(r#"{{"command":"create_topic","topic":"{topic}"}}"#)).await;
    }
    for stream in ["", r#","stream":true"#] {
        let subscribe = |topic| format!(r#"{{"command":"subscribe","topic":"{topic}"{stream}}}"#);
        client.done(&subscribe("a")).await;
        client.done(&subscribe("a")).await;
        assert_eq!(client.refused(&subscribe("b")).await, "limit");
    }
}

#[tokio::test]
async fn stopping_closes_connections() {
    let port = port().await;
    let mut client = port.client().await;
    client.done(r#"{"command":"ping"}"#).await;
    port.server.stop().await;
    assert_eq!(client.line().await, None);
    port.lone.peer.leave().await;
}
