//! The commands of `peer`, as a shell sees them, against a peer in this process.

mod common;

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use common::{PATIENCE, Port, port};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

fn peer(control: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peer"));
    command.args(arguments).env("TIDINGS_CONTROL", control).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn ended(command: &mut Command) -> Output {
    tokio::time::timeout(PATIENCE, command.output()).await.expect("in time").expect("started")
}

struct Shell {
    port: Port,
    control: String,
}

impl Shell {
    async fn new() -> Self {
        let port = port().await;
        let control = port.address().to_string();
        Self { port, control }
    }

    /// Runs a command to its end. Returns exit code, output and notes.
    async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = ended(&mut peer(&self.control, arguments)).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().expect("no signal"), text(&output.stdout), text(&output.stderr))
    }

    /// Runs a command that must be done. Returns its output.
    async fn done(&self, arguments: &[&str]) -> String {
        let (code, output, notes) = self.run(arguments).await;
        assert_eq!(code, 0, "peer {arguments:?}: {notes}");
        output
    }

    /// Starts `peer sub`, and waits until it is subscribed.
    async fn subscriber(&self, arguments: &[&str]) -> Child {
        let mut child = peer(&self.control, arguments).spawn().expect("started");
        let mut notes = BufReader::new(child.stderr.as_mut().expect("piped"));
        let mut line = String::new();
        let reading = notes.read_line(&mut line);
        tokio::time::timeout(PATIENCE, reading).await.expect("in time").expect("a line");
        assert!(line.starts_with("subscribed to"), "{line}");
        child
    }
}

async fn output(child: Child) -> (i32, Vec<u8>) {
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("in time").expect("ended");
    (output.status.code().expect("no signal"), output.stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_lines_arrive_byte_by_byte() {
    let shell = Shell::new().await;
    shell.done(&["topic", "create", "t"]).await;
    let mut lines = Vec::new();
    for i in 0..10_000_u32 {
        lines.extend_from_slice(format!("line {i} grün\t\r").as_bytes());
        lines.extend((0..i % 7).map(|n| if n == 3 { 0xff } else { b'.' }));
        lines.push(b'\n');
    }
    lines.extend_from_slice(b"\n\nlast without newline");
    let file = shell.port.lone.data.path().join("lines");
    std::fs::write(&file, &lines).expect("written");
    let subscriber = shell.subscriber(&["sub", "t", "--raw", "--count", "10003"]).await;
    let begun = Instant::now();
    let (code, _, notes) = shell.run(&["pub", "t", "--file", &file.to_string_lossy()]).await;
    assert_eq!(code, 0, "{notes}");
    assert!(notes.contains("published 10003 messages"), "{notes}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let (code, received) = output(subscriber).await;
    lines.push(b'\n');
    assert_eq!(code, 0);
    assert!(received == lines, "{} bytes for {}", received.len(), lines.len());
}

#[tokio::test]
async fn standard_input_is_published_as_it_comes() {
    let shell = Shell::new().await;
    shell.done(&["topic", "create", "t"]).await;
    let subscriber = shell.subscriber(&["sub", "t", "--raw", "--count", "2"]).await;
    let mut publisher =
        peer(&shell.control, &["pub", "t"]).stdin(Stdio::piped()).spawn().expect("started");
    let mut input = publisher.stdin.take().expect("piped");
    input.write_all(b"one\ntwo\n").await.expect("taken");
    assert_eq!(output(subscriber).await, (0, b"one\ntwo\n".to_vec()), "before the input ends");
    drop(input);
    assert_eq!(output(publisher).await.0, 0);
}

#[tokio::test]
async fn a_message_in_every_form() {
    let shell = Shell::new().await;
    shell.done(&["topic", "create", "t"]).await;
    shell.done(&["topic", "subscribe", "t"]).await;
    let summary = shell.done(&["pub", "t", "tick\ttock", "--count", "3", "--json"]).await;
    let summary: Value = serde_json::from_str(&summary).expect("JSON");
    assert_eq!((&summary["published"], &summary["last_seq"]), (&3.into(), &3.into()));
    let line = shell.done(&["pull", "t", "--max", "1"]).await;
    assert!(line.ends_with(" tick\ttock\n") && line.contains(" t 127.0.0.1:"), "{line}");
    assert_eq!(shell.done(&["pull", "t", "--max", "1", "--raw"]).await, "tick\ttock\n");
    let json = shell.done(&["pull", "t", "--json", "--wait", "1s"]).await;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["messages"][0]["message"], "tick\ttock");
    shell.done(&["pub", "t", "x", "--sleep", "1ms", "--count", "2"]).await;
    let json = shell.done(&["sub", "t", "--all", "--json", "--count", "5"]).await;
    let seqs: Vec<_> = json
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["seq"].clone())
        .collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_measures_itself_and_leaves_no_topic() {
    let shell = Shell::new().await;
    let json = shell.done(&["bench", "--count", "2000", "--size", "50", "--json"]).await;
    let measured: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&measured["single"], &measured["count"]), (&1_000.into(), &2_000.into()));
    assert_eq!(measured["missing"], 0);
    for rate in ["published_per_s", "received_per_s"] {
        assert!(measured[rate].as_f64().is_some_and(|rate| rate > 0.0), "{measured}");
    }
    for spread in ["answered", "received"] {
        let of = |name: &str| measured[spread][name].as_u64().expect("a number");
        assert!(0 < of("p50_us") && of("p50_us") <= of("p99_us"), "{measured}");
        assert!(of("p99_us") <= of("max_us"), "{measured}");
    }
    let table = shell.done(&["bench", "--count", "10"]).await;
    assert!(table.contains("ONE AFTER THE OTHER") && table.contains("received"), "{table}");
    assert_eq!(shell.run(&["bench", "--receiver", "127.0.0.1:1"]).await.0, 4);
    let status = shell.done(&["status", "--json"]).await;
    assert!(!status.contains("bench/"), "also when it failed: {status}");
}

#[tokio::test]
async fn waiting_in_vain_has_a_code_of_its_own() {
    let shell = Shell::new().await;
    shell.done(&["topic", "create", "t"]).await;
    assert_eq!(shell.run(&["sub", "t", "--wait", "100ms"]).await.0, 27);
    assert_eq!(shell.run(&["sub", "t", "--count", "1", "--wait", "100ms"]).await.0, 27);
    assert_eq!(shell.run(&["pull", "t", "--wait", "100ms"]).await.0, 27);
    assert_eq!(shell.run(&["pull", "t"]).await.0, 0);
}

#[tokio::test]
async fn refusals_have_their_codes() {
    let shell = Shell::new().await;
    for arguments in [
        &["pub", "none", "x"][..],
        &["sub", "none"],
        &["pull", "none"],
        &["topic", "info", "none"],
        &["topic", "delete", "none"],
        &["topic", "unsubscribe", "none"],
    ] {
        let (code, output, notes) = shell.run(arguments).await;
        assert_eq!((code, output.as_str()), (3, ""), "peer {arguments:?}: {notes}");
        assert!(notes.contains("'none'"), "{notes}");
    }
    shell.done(&["topic", "create", "t"]).await;
    assert_eq!(shell.run(&["topic", "create", "t"]).await.0, 3);
    shell.done(&["topic", "create", "t", "--exist-ok"]).await;
    for arguments in [
        &["pub", "a/+", "x"][..],
        &["fly"],
        &["sub"],
        &["sub", "t", "--buffer", "5"],
        &["sub", "t", "--policy", "drop-newest"],
        &["pub", "t", "x", "--count", "0"],
    ] {
        assert_eq!(shell.run(arguments).await.0, 2, "peer {arguments:?}");
    }
    let nobody = ended(&mut peer("127.0.0.1:1", &["status"])).await;
    assert_eq!(nobody.status.code(), Some(4));
    assert_eq!(shell.run(&["pub", "t", "--file", "/nonexistent"]).await.0, 1);
    let large = shell.port.lone.data.path().join("large");
    std::fs::write(&large, vec![b'x'; 1 << 20]).expect("written");
    let (code, _, notes) = shell.run(&["pub", "t", "--file", &large.to_string_lossy()]).await;
    assert_eq!(code, 3, "{notes}");
    assert!(notes.contains("message 1") && notes.contains("1048576"), "{notes}");
}

#[tokio::test]
async fn a_closed_pipe_ends_quietly() {
    let shell = Shell::new().await;
    shell.done(&["topic", "create", "t"]).await;
    let mut subscriber = shell.subscriber(&["sub", "t", "--raw"]).await;
    drop(subscriber.stdout.take());
    for _ in 0..2 {
        shell.done(&["pub", "t", "x"]).await;
    }
    let status = tokio::time::timeout(PATIENCE, subscriber.wait()).await.expect("in time");
    assert_eq!(status.expect("ended").code(), Some(0));
    let mut notes = Vec::new();
    let mut pipe = subscriber.stderr.take().expect("piped");
    pipe.read_to_end(&mut notes).await.expect("readable");
    assert!(notes.is_empty(), "{}", String::from_utf8_lossy(&notes));
}

#[tokio::test]
async fn a_deleted_topic_ends_its_subscriber() {
    let shell = Shell::new().await;
    shell.done(&["topic", "create", "t"]).await;
    let subscriber = shell.subscriber(&["sub", "t"]).await;
    shell.done(&["topic", "delete", "t"]).await;
    assert_eq!(output(subscriber).await.0, 3);
}

#[tokio::test]
async fn views_are_tables_or_json() {
    let shell = Shell::new().await;
    shell.done(&["topic", "create", "t"]).await;
    let status = shell.done(&["status"]).await;
    let node = shell.port.lone.peer.about().node.to_string();
    assert!(status.contains(&node) && status.contains("NEIGHBOUR"), "{status}");
    let status: Value =
        serde_json::from_str(&shell.done(&["status", "--json"]).await).expect("JSON");
    assert_eq!(status["node"], node);
    assert!(shell.done(&["peers"]).await.starts_with("NODE"));
    assert!(shell.done(&["seeds"]).await.starts_with("ADDRESS"));
    assert!(shell.done(&["topic", "info", "t"]).await.contains(&node[..10]));
    for arguments in
        [&["peers", "--json"][..], &["seeds", "--json"], &["topic", "info", "t", "--json"]]
    {
        let text = shell.done(arguments).await;
        assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
    }
    assert!(shell.done(&["completions", "bash"]).await.contains("_peer"));
    assert!(shell.done(&["man"]).await.contains(".TH peer"));
    let pages = shell.port.lone.data.path().join("man");
    shell.done(&["man", "--dir", &pages.to_string_lossy()]).await;
    let page = std::fs::read_to_string(pages.join("peer-topic-create.1")).expect("a page");
    assert!(page.contains("retention"), "{page}");
    assert!(shell.done(&["--help"]).await.contains("Exit codes"));
    for command in ["run", "pub", "sub", "pull", "topic", "peers", "seeds", "status", "config"] {
        assert!(!shell.done(&[command, "--help"]).await.is_empty());
    }
}

#[tokio::test]
async fn what_is_kept_of_a_topic_is_said_and_shown() {
    let shell = Shell::new().await;
    let limits = ["--durable", "--retention-bytes", "2MiB", "--retention-age", "36h"];
    shell.done(&[&["topic", "create", "t"], &limits[..]].concat()).await;
    let shown = shell.done(&["topic", "info", "t"]).await;
    assert!(shown.contains("2 MiB, and 36 h 0 min") && shown.contains("hosted"), "{shown}");
    let info: Value =
        serde_json::from_str(&shell.done(&["topic", "info", "t", "--json"]).await).expect("JSON");
    assert_eq!((&info["durable"], &info["confirmed"]), (&true.into(), &true.into()));
    assert_eq!(info["retention"], serde_json::json!({"bytes": 2 << 20, "age_ms": 129_600_000}));
    for wrong in [["--retention-bytes", "0"], ["--retention-age", "1y"]] {
        assert_eq!(shell.run(&[&["topic", "create", "u"], &wrong[..]].concat()).await.0, 2);
    }
}

#[tokio::test]
async fn sessions_are_listed_with_what_they_receive() {
    let shell = Shell::new().await;
    shell.done(&["topic", "create", "t"]).await;
    let newest = ["--policy", "drop-oldest", "--buffer", "5"];
    shell.done(&[&["topic", "subscribe", "t"], &newest[..]].concat()).await;
    let (code, _, notes) = shell.run(&["topic", "subscribe", "t", "--buffer", "5"]).await;
    assert!(code == 2 && notes.contains("drop-oldest"), "{notes}");
    shell.done(&["pub", "t", "x", "--count", "3"]).await;
    let listed: Value =
        serde_json::from_str(&shell.done(&["sessions", "--json"]).await).expect("JSON");
    let own = &listed["sessions"][0];
    assert_eq!((&listed["total"], &own["unread"]), (&1.into(), &3.into()));
    let subscription = &own["subscriptions"][0];
    assert_eq!((&subscription["topic"], &subscription["unread"]), (&"t".into(), &3.into()));
    assert_eq!(subscription["policy"], "drop-oldest");
    let before = subscription["cursor"].as_u64().expect("a number");
    shell.done(&["pull", "t", "--max", "2"]).await;
    let listed: Value =
        serde_json::from_str(&shell.done(&["sessions", "--json"]).await).expect("JSON");
    assert_eq!(listed["sessions"][0]["subscriptions"][0]["cursor"], before + 2);
    assert!(shell.done(&["sessions"]).await.contains("(the peer's own)"));
}
