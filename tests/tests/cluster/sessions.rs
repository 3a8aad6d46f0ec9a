//! Sessions outlive connections, and the peer's own one outlives the peer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, Setup};
use tidings_tests::control::{Control, texts};
use tidings_tests::wait::{self, SOON};

/// Ten thousand messages, on two busy cores.
const LONG: Duration = Duration::from_secs(60);

fn connect(control: &mut Control, name: &str) -> Value {
    control.ok(&json!({"command": "connect", "name": name}))
}

/// Publishes `count` numbered messages without waiting for each answer.
fn publish_many(control: &mut Control, topic: &str, numbers: std::ops::Range<u64>) {
    let mut pending = 0;
    for number in numbers {
        let request = json!({"command": "publish", "topic": topic, "message": number.to_string()});
        control.send(format!("{request}\n").as_bytes()).unwrap();
        pending += 1;
        if pending == 100 {
            (0..pending).for_each(|_| assert_eq!(control.answer().unwrap()["status"], "ok"));
            pending = 0;
        }
    }
    (0..pending).for_each(|_| assert_eq!(control.answer().unwrap()["status"], "ok"));
}

/// A client of whoever, with nothing but Python's standard library: it goes on with its session
/// and prints place and text of each message that it gets.
const CLIENT: &str = r#"
import json, socket, sys
received = json.loads(sys.argv[2])
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
lines = connection.makefile("r")
def ask(**request):
    connection.sendall((json.dumps(request) + "\n").encode())
    while True:
        answer = json.loads(lines.readline())
        if "event" not in answer:
            return answer
        show(answer)
def show(event):
    print(event["pos"], event["message"], flush=True)
ask(command="connect", name="reader", received=received)
ask(command="subscribe", topic="news", stream=True)
print("ready", flush=True)
for line in lines:
    event = json.loads(line)
    if event.get("event") == "message":
        show(event)
"#;

#[test]
fn a_session_whose_client_is_killed_in_the_middle_goes_on_without_loss_or_repetition() {
    let cluster = Cluster::start(3, 3);
    let mut publisher = cluster.peers[0].control();
    publisher.create("news");
    let port = cluster.peers[2].control_address().port().to_string();
    let mut received: Vec<u64> = Vec::new();
    let mut place = 0;
    let mut publishing = None;
    for kill_after in [2_500, 6_000, 10_000] {
        let known = json!({"news": place}).to_string();
        let mut client = Command::new("python3")
            .args(["-c", CLIENT, &port, &known])
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed for this test");
        for line in BufReader::new(client.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if line == "ready" {
                publishing.get_or_insert_with(|| {
                    let mut control = cluster.peers[0].control();
                    std::thread::spawn(move || publish_many(&mut control, "news", 0..10_000))
                });
                continue;
            }
            let (pos, text) = line.split_once(' ').unwrap();
            place = pos.parse().unwrap();
            received.push(text.parse().unwrap());
            if received.len() == kill_after {
                break;
            }
        }
        client.kill().unwrap();
        client.wait().unwrap();
    }
    publishing.unwrap().join().unwrap();
    let wrong = (0..10_000).zip(&received).find(|(expected, found)| *expected != **found);
    assert_eq!((received.len(), wrong), (10_000, None), "in order, each once");
}

#[test]
fn what_the_peer_received_and_nobody_pulled_is_there_after_kill_and_restart() {
    let mut cluster = Cluster::start(3, 3);
    let mut controls = cluster.controls();
    controls[0].create("news");
    controls[1].subscribe("news");
    controls[2].subscribe("news");
    publish_many(&mut controls[0], "news", 0..500);
    let mut received = controls[2].pull_all("news", 500, LONG);
    let first: Vec<_> = controls[1].ok(&json!({
        "command": "pull", "topic": "news", "max": 200, "wait_ms": 5000
    }))["messages"]
        .as_array()
        .unwrap()
        .clone();
    let before = first.len();
    assert!(before > 0 && before <= 200);
    publish_many(&mut controls[0], "news", 500..800);
    received.extend(controls[2].pull_all("news", 300, LONG));
    wait::holds("the peer has received everything", SOON, || {
        let status = controls[1].ok(&json!({"command": "sessions"}));
        status["sessions"][0]["unread"].as_u64().unwrap() == 800 - before as u64
    });

    cluster.peers[1].kill();
    publish_many(&mut controls[0], "news", 800..900);
    cluster.peers[1].restart();
    let mut again = cluster.peers[1].control();
    publish_many(&mut controls[0], "news", 900..1_000);
    let rest = again.pull_all("news", 1_000 - before, LONG);
    let all: Vec<Value> = first.into_iter().chain(rest).collect();
    let expected: Vec<_> = (0..1_000).map(|number| number.to_string()).collect();
    assert_eq!(texts(&all), expected, "also what was published while it was down");
    assert_eq!(again.pull("news", 2_000).len(), 0, "nothing comes twice");

    // Once more, with nothing unread: nothing comes again out of a neighbour's retention.
    cluster.peers[1].kill();
    cluster.peers[1].restart();
    let mut again = cluster.peers[1].control();
    assert_eq!(again.pull("news", 7_000).len(), 0, "nothing comes twice");
    controls[0].publish("news", "after");
    assert_eq!(texts(&again.pull_all("news", 1, SOON)), ["after"]);
}

#[test]
fn a_thousand_sessions_share_a_peer() {
    let cluster = Cluster::start(3, 2);
    let mut publisher = cluster.peers[0].control();
    publisher.create("news");
    let memory = |pid: u32| -> u64 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let pid = cluster.peers[1].pid();
    let before = memory(pid);
    let mut sessions: Vec<Control> = Vec::new();
    for number in 0..1_000 {
        let mut control = cluster.peers[1].control();
        connect(&mut control, &format!("session {number}"));
        control.subscribe("news");
        sessions.push(control);
    }
    let idle = memory(pid).saturating_sub(before);
    publish_many(&mut publisher, "news", 0..20);
    let start = Instant::now();
    let mut pulls: Vec<Duration> = Vec::new();
    for session in &mut sessions {
        let asked = Instant::now();
        let messages = session.pull_all("news", 20, SOON);
        pulls.push(asked.elapsed());
        assert_eq!(texts(&messages), (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    }
    let all = start.elapsed();
    pulls.sort_unstable();
    println!("a session and its connection cost {} KiB", idle as f64 / 1_000.0);
    println!("1,000 pulls of 20 messages: {all:?}, p50 {:?}, p99 {:?}", pulls[500], pulls[990]);
    assert!(idle < 40_000, "{idle} KiB for a thousand connections with sessions");
    let listed = sessions[0].ok(&json!({"command": "sessions"}));
    assert_eq!(listed["total"], 1_001);
    assert_eq!(cluster.peers[1].page("/v1/sessions?filter=session%207")["total"], 111);
}

#[test]
fn a_session_expires_and_then_its_name_is_a_new_one() {
    let cluster = Setup::new(1, 1).config("[peer]\nsession_expiry = \"700ms\"\n").start();
    let mut control = cluster.peers[0].control();
    control.create("news");
    let mut ada = cluster.peers[0].control();
    connect(&mut ada, "ada");
    ada.subscribe("news");
    drop(ada);
    control.publish("news", "missed");
    let mut ada = cluster.peers[0].control();
    let connected = connect(&mut ada, "ada");
    assert_eq!((&connected["restored"], &connected["topics"]), (&json!(true), &json!(["news"])));
    assert_eq!(texts(&ada.pull_all("news", 1, SOON)), ["missed"]);
    drop(ada);
    wait::holds("the session has expired", SOON, || {
        control.ok(&json!({"command": "sessions"}))["total"] == 1
    });
    assert_eq!(connect(&mut cluster.peers[0].control(), "ada")["restored"], false);
}

#[test]
fn a_damaged_store_is_a_clear_error_and_not_a_fresh_start() {
    let mut cluster = Cluster::start(1, 1);
    let mut control = cluster.peers[0].control();
    control.create("news");
    control.subscribe("news");
    control.publish("news", "unread");
    cluster.peers[0].kill();
    let file = cluster.peers[0].spec.data.join("peer.sqlite");
    let log = cluster.peers[0].spec.data.join("peer.sqlite-wal");
    let _ = fs::remove_file(log);
    fs::write(&file, "this is no database, but it is longer than nothing ".repeat(200)).unwrap();
    let ended = cluster.peers[0].spec.command().output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(stderr.contains("peer.sqlite is damaged"), "{stderr}");
    assert!(stderr.contains("move it away"), "{stderr}");
}

/// A sequence of numbers that is the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) as usize % sides
    }
}

#[test]
fn every_message_of_200_topics_on_20_peers_is_where_the_model_says() {
    const TOPICS: usize = 200;
    let cluster = Cluster::start(3, 20);
    let mut dice = Dice(20_261_121);
    let mut controls = cluster.controls();
    for topic in 0..TOPICS {
        controls[topic % 20].create(&format!("t/{topic}"));
    }
    // Who receives what: the peer's own session, or a named one.
    let mut sessions: Vec<Control> = cluster.controls();
    let mut subscribed: Vec<BTreeSet<usize>> = Vec::new();
    for (number, session) in sessions.iter_mut().enumerate() {
        if number % 2 == 1 {
            connect(session, &format!("session {number}"));
        }
        let topics: BTreeSet<usize> = (0..15).map(|_| dice.roll(TOPICS)).collect();
        topics.iter().for_each(|topic| session.subscribe(&format!("t/{topic}")));
        subscribed.push(topics);
    }
    let mut model: BTreeMap<(usize, usize, String), VecDeque<String>> = BTreeMap::new();
    for message in 0..800 {
        let (publisher, topic) = (dice.roll(20), dice.roll(TOPICS));
        let text = format!("{message} of {publisher} to {topic}");
        controls[publisher].publish(&format!("t/{topic}"), &text);
        for (number, topics) in subscribed.iter().enumerate() {
            if topics.contains(&topic) {
                let origin = cluster.peers[publisher].id().to_owned();
                model.entry((number, topic, origin)).or_default().push_back(text.clone());
            }
        }
    }
    let expected: usize = model.values().map(VecDeque::len).sum();
    let mut found = 0;
    for (number, session) in sessions.iter_mut().enumerate() {
        let own = model.iter().filter(|((of, ..), _)| *of == number);
        let mut left: usize = own.map(|(_, texts)| texts.len()).sum();
        let start = Instant::now();
        while left > 0 {
            assert!(start.elapsed() < LONG, "session {number} misses {left} messages");
            let pull = json!({"command": "pull", "max": 1000, "wait_ms": 500});
            let answer = session.ok(&pull);
            assert_eq!(answer["dropped"], 0);
            assert!(answer.get("gaps").is_none(), "{answer}");
            for message in answer["messages"].as_array().unwrap() {
                let topic = message["topic"].as_str().unwrap()[2..].parse().unwrap();
                let origin = message["origin"].as_str().unwrap().to_owned();
                let next = model.get_mut(&(number, topic, origin)).and_then(VecDeque::pop_front);
                assert_eq!(message["message"].as_str(), next.as_deref(), "session {number}");
                left -= 1;
                found += 1;
            }
        }
    }
    assert_eq!(found, expected);
    for session in &mut sessions {
        let answer = session.ok(&json!({"command": "pull", "wait_ms": 100}));
        assert_eq!(answer["messages"], json!([]), "nothing comes that the model does not know");
    }
}
