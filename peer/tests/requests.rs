//! Requests and replies: the library, the control port and the commands.

mod common;

use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{PATIENCE, Port, lone_peer, port};
use serde_json::{Value, json};
use tidings::{CORRELATION_ID, Delivery, Error, Outgoing, Peer, REPLY_TO, Subscription};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Replies to each request with its body in capitals.
async fn shout(peer: Peer, mut requests: Subscription) {
    while let Some(Delivery::Message(request)) = requests.next().await {
        let text = String::from_utf8_lossy(&request.body).to_uppercase();
        match peer.reply(&request, text).await {
            Ok(_) | Err(Error::NoReplyWanted) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_request_gets_its_own_reply() {
    let lone = lone_peer().await;
    let peer = &lone.peer;
    peer.create_topic("shout").await.expect("created");
    let requests = peer.subscribe("shout").await.expect("subscribed");
    let server = tokio::spawn(shout(peer.clone(), requests));
    let asked = (0..100).map(|i| {
        let peer = peer.clone();
        tokio::spawn(async move { peer.request("shout", format!("r{i}"), PATIENCE).await })
    });
    for (i, asked) in asked.collect::<Vec<_>>().into_iter().enumerate() {
        let reply = asked.await.expect("no panic").expect("a reply");
        assert_eq!(reply.body, format!("R{i}"));
        assert_eq!(reply.topic.requester(), Some(peer.about().node));
    }
    let mut replies = peer.request_many("shout", "many").await.expect("published");
    assert_eq!(replies.next().await.expect("a reply").body, "MANY");
    // A message that is no request disturbs nobody.
    peer.publish("shout", "no request").await.expect("published");
    assert_eq!(peer.request("shout", "x", PATIENCE).await.expect("a reply").body, "X");
    server.abort();
}

#[tokio::test]
async fn nobody_replies_and_the_topic_must_exist() {
    let lone = lone_peer().await;
    let peer = &lone.peer;
    peer.create_topic("quiet").await.expect("created");
    let timeout = Duration::from_millis(100);
    let begun = Instant::now();
    let refused = peer.request("quiet", "x", timeout).await;
    assert_eq!(refused, Err(Error::NoReply { timeout, reached: 0 }));
    assert!(begun.elapsed() >= timeout);
    let refused = peer.request("nowhere", "x", timeout).await.map(drop);
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    let mut own = peer.subscribe("quiet").await.expect("subscribed");
    peer.publish("quiet", "no request").await.expect("published");
    let message = loop {
        // The request may still have waited for somebody to be linked.
        match own.next().await {
            Some(Delivery::Message(message)) if message.body == "no request" => break message,
            other => assert!(other.is_some()),
        }
    };
    assert_eq!(peer.reply(&message, "y").await, Err(Error::NoReplyWanted));
}

#[tokio::test]
async fn only_the_requester_hosts_its_topic_of_replies() {
    let lone = lone_peer().await;
    let other = format!("$reply/{}", "ab".repeat(32));
    let refused = lone.peer.create_topic(&other).await.map(drop);
    assert!(matches!(refused, Err(Error::BadTopic(_))), "{refused:?}");
    let own = format!("$reply/{}", lone.peer.about().node);
    lone.peer.create_topic(&own).await.expect("its own");
}

#[tokio::test]
async fn a_script_replies_with_what_the_port_offers() {
    let port = port().await;
    let (mut asks, mut replies) = (port.client().await, port.client().await);
    asks.done(r#"{"command":"create_topic","topic":"sums"}"#).await;
    replies.done(r#"{"command":"subscribe","topic":"sums","stream":true}"#).await;
    asks.send("{\"command\":\"request\",\"topic\":\"sums\",\"message\":\"1+1\",\"id\":5}\n").await;
    let request = replies.line().await.expect("an event");
    let headers = &request["headers"];
    let publish = json!({
        "command": "publish", "topic": headers[REPLY_TO], "message": "2",
        "headers": {CORRELATION_ID: headers[CORRELATION_ID], "unit": "none"}
    });
    replies.done(&publish.to_string()).await;
    let answer = asks.line().await.expect("an answer");
    assert_eq!((&answer["status"], &answer["id"]), (&json!("ok"), &json!(5)));
    assert_eq!(answer["replies"][0]["message"], "2");
    assert_eq!(answer["replies"][0]["headers"]["unit"], "none");

    let none = r#"{"command":"request","topic":"sums","message":"x","timeout_ms":50}"#;
    assert_eq!(asks.refused(none).await, "timeout");
    let wrong = r#"{"command":"request","topic":"sums","message":"x","replies":0}"#;
    assert_eq!(asks.refused(wrong).await, "bad_request");
}

#[tokio::test]
async fn a_request_makes_the_peer_receive_its_topic_of_replies() {
    let port = port().await;
    let mut client = port.client().await;
    client.done(r#"{"command":"create_topic","topic":"sums"}"#).await;
    let none = r#"{"command":"request","topic":"sums","message":"x","timeout_ms":50}"#;
    assert_eq!(client.refused(none).await, "timeout");
    let status = client.done(r#"{"command":"status"}"#).await;
    let topics = status["topics"].as_array().expect("a list");
    assert!(topics.iter().any(|topic| topic["subscribed"] == true), "it receives its replies");
}

fn peer(port: &Port, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peer"));
    command.args(arguments).env("TIDINGS_CONTROL", port.address().to_string()).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end. Returns exit code, output and notes.
async fn run(port: &Port, arguments: &[&str]) -> (i32, String, String) {
    let mut command = peer(port, arguments);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("in time");
    let output = output.expect("started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("no signal"), text(&output.stdout), text(&output.stderr))
}

/// Starts `peer reply`, and waits until it is subscribed.
async fn replier(port: &Port, arguments: &[&str]) -> Child {
    let mut child = peer(port, arguments).spawn().expect("started");
    let mut notes = BufReader::new(child.stderr.as_mut().expect("piped"));
    let mut line = String::new();
    let reading = notes.read_line(&mut line);
    tokio::time::timeout(PATIENCE, reading).await.expect("in time").expect("a line");
    assert!(line.starts_with("subscribed to"), "{line}");
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_ask_and_answer() {
    let port = port().await;
    port.lone.peer.create_topic("sums").await.expect("created");
    let script =
        r#"read x; if [ "$x" = bad ]; then echo no >&2; exit 3; fi; echo "$TIDINGS_TOPIC $(($x))""#;
    let reply = ["reply", "sums", "--command", script, "-H", "unit:none"];
    let mut server = replier(&port, &reply).await;
    let (code, output, notes) = run(&port, &["request", "sums", "2+3", "--raw"]).await;
    assert_eq!((code, output.as_str()), (0, "sums 5\n\n"), "{notes}");
    let (code, output, _) = run(&port, &["request", "sums", "4*4", "--json"]).await;
    let answer: Value = serde_json::from_str(&output).expect("JSON");
    assert_eq!((code, &answer["replies"][0]["message"]), (0, &json!("sums 16\n")));
    assert_eq!(answer["replies"][0]["headers"]["unit"], "none");
    let (code, _, notes) = run(&port, &["request", "sums", "bad"]).await;
    assert_eq!(code, 1);
    assert!(notes.contains("the command ended with exit status: 3: no"), "{notes}");
    let ask = ["request", "sums", "7", "--raw", "--replies", "2", "--timeout", "700ms"];
    let (code, output, notes) = run(&port, &ask).await;
    assert_eq!((code, output.as_str()), (27, "sums 7\n\n"), "one of two: {notes}");
    server.kill().await.expect("ended");

    let (code, _, notes) = run(&port, &["request", "sums", "x", "--timeout", "100ms"]).await;
    assert_eq!(code, 27, "nobody is there: {notes}");
    assert!(notes.contains("no reply after 100ms"), "{notes}");
    assert_eq!(run(&port, &["request", "nowhere", "x"]).await.0, 3);
    assert_eq!(run(&port, &["reply", "nowhere", "x"]).await.0, 3);
    assert_eq!(run(&port, &["reply", "sums"]).await.0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_answers_with_a_fixed_text_so_many_times() {
    let port = port().await;
    port.lone.peer.create_topic("health").await.expect("created");
    let server = replier(&port, &["reply", "health", "fine", "--count", "1", "--json"]).await;
    assert_eq!(run(&port, &["request", "health", "", "--raw"]).await.1, "fine\n");
    let ended = tokio::time::timeout(PATIENCE, server.wait_with_output()).await.expect("in time");
    let ended = ended.expect("ended");
    assert_eq!(ended.status.code(), Some(0));
    let published: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    assert_eq!(published["seq"], 1);
}

#[tokio::test]
async fn headers_survive_what_is_asked_with_them() {
    let lone = lone_peer().await;
    let peer = &lone.peer;
    peer.create_topic("t").await.expect("created");
    let mut requests = peer.subscribe("t").await.expect("subscribed");
    let message = Outgoing::new("x").with_header("kind", "question").expect("legal");
    let mut replies = peer.request_many("t", message).await.expect("published");
    let Some(Delivery::Message(request)) = requests.next().await else { panic!("a message") };
    assert_eq!(request.headers.get("kind"), Some("question"));
    let reply = Outgoing::new("y").with_header("kind", "answer").expect("legal");
    peer.reply(&request, reply).await.expect("published");
    let reply = replies.next().await.expect("a reply");
    assert_eq!((&reply.body[..], reply.headers.get("kind")), (&b"y"[..], Some("answer")));
}
