//! Acceptance: what users of a broker with named sessions rely on, and what broke there. The
//! numbers are those of our list of scenarios.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings_tests::cli;
use tidings_tests::cluster::{Cluster, Setup};
use tidings_tests::control::{Control, texts};
use tidings_tests::node::Node;
use tidings_tests::wait::{self, SOON};

fn connect(control: &mut Control, name: &str) -> Value {
    control.ok(&json!({"command": "connect", "name": name}))
}

/// A client in a process of its own, in bash: connects as `name`, subscribes, and waits.
struct Client(Child);

impl Client {
    fn start(peer: &Node, name: &str, topic: &str) -> Self {
        let script = r#"
            exec 3<>"/dev/tcp/127.0.0.1/$PORT"
            echo '{"command":"connect","name":"'"$NAME"'"}' >&3; read -r answer <&3
            echo '{"command":"subscribe","topic":"'"$TOPIC"'"}' >&3; read -r answer <&3
            echo subscribed
            read -r event <&3
        "#;
        let mut command = Command::new("bash");
        command.args(["-c", script]).env("PORT", peer.control_address().port().to_string());
        command.env("NAME", name).env("TOPIC", topic).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = [0; 11];
        child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        assert_eq!(&said, b"subscribed\n");
        Self(child)
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It has ended already when the test ended it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a003_1_a_name_in_use_is_refused_and_its_owner_untouched() {
    let cluster = Cluster::start(1, 1);
    let (mut ada, mut other) = (cluster.peers[0].control(), cluster.peers[0].control());
    ada.create("t");
    assert_eq!(connect(&mut ada, "ada")["restored"], false);
    ada.subscribe("t");
    let (code, message) = other.refused(&json!({"command": "connect", "name": "ada"}));
    assert_eq!(code, "name_taken");
    assert!(message.contains("ada"), "{message}");
    other.publish("t", "still there?");
    assert_eq!(texts(&ada.pull_all("t", 1, SOON)), ["still there?"]);
}

#[test]
fn a003_2_one_copy_for_who_subscribed_twice_and_none_for_who_left() {
    let cluster = Cluster::start(1, 2);
    let (mut ada, mut bob) = (cluster.peers[0].control(), cluster.peers[1].control());
    ada.create("t");
    assert_eq!(ada.publish("t", "to nobody")["status"], "ok");
    connect(&mut ada, "ada");
    connect(&mut bob, "bob");
    for control in [&mut ada, &mut bob] {
        control.subscribe("t");
        control.subscribe("t");
    }
    ada.publish("t", "once");
    for control in [&mut ada, &mut bob] {
        assert_eq!(texts(&control.pull_all("t", 1, SOON)), ["once"]);
        assert_eq!(control.pull("t", 200), Vec::<Value>::new());
    }
    bob.ok(&json!({"command": "unsubscribe", "topic": "t"}));
    ada.publish("t", "not for bob");
    ada.pull_all("t", 1, SOON);
    assert_eq!(bob.refused(&json!({"command": "pull", "topic": "t"})).0, "not_subscribed");
}

#[test]
fn a003_3_a_shell_without_a_connection_refuses_and_repetition_is_no_fault() {
    let cluster = Cluster::start(1, 1);
    let peer = &cluster.peers[0];
    let mut control = peer.control();
    control.create("t");
    let port = peer.control_address().port();
    let text = format!("DISCONNECT\nPUBLISH t early\nCONNECT {port} ada\nPUBLISH t in time\n");
    let ended = cli::peer_with_input(peer, &["shell"], text.as_bytes()).expect_code(4);
    assert_eq!(ended.stderr.matches("not connected: CONNECT <port> [name]").count(), 2);
    assert!(ended.stderr.contains("published #1"), "only the second: {}", ended.stderr);
    let (code, _) = control.refused(&json!({"command": "unsubscribe", "topic": "unknown"}));
    assert_eq!(code, "not_subscribed");
    control.subscribe("t");
    control.subscribe("t");
    control.ok(&json!({"command": "unsubscribe", "topic": "t"}));
    control.ok(&json!({"command": "ping"}));
}

#[test]
fn a003_4_a_killed_subscriber_gets_its_topics_and_what_it_missed_once() {
    let cluster = Cluster::start(1, 2);
    let (host, home) = (&cluster.peers[0], &cluster.peers[1]);
    let mut publisher = host.control();
    publisher.create("t");
    let client = Client::start(home, "ada", "t");
    client.kill();
    for number in 0..5 {
        publisher.publish("t", &number.to_string());
    }
    let mut ada = home.control();
    let answer = wait::until("the session is free", SOON, || {
        let answer = ada.ask(&json!({"command": "connect", "name": "ada"}));
        (answer["status"] == "ok").then_some(answer)
    });
    assert_eq!((&answer["restored"], &answer["topics"]), (&json!(true), &json!(["t"])));
    assert_eq!(texts(&ada.pull_all("t", 5, SOON)), ["0", "1", "2", "3", "4"]);
    assert_eq!(ada.pull("t", 200), Vec::<Value>::new());
}

#[test]
fn a003_5_two_hundred_messages_wait_and_a_session_ends_when_its_time_is_over() {
    let setup = Setup::new(1, 1).config("[peer]\nsession_expiry = \"3s\"\n");
    let cluster = setup.start();
    let peer = &cluster.peers[0];
    let mut publisher = peer.control();
    publisher.create("t");
    Client::start(peer, "ada", "t").kill();
    let sent: Vec<_> = (0..200).map(|number| format!("{number:>100}")).collect();
    sent.iter().for_each(|text| drop(publisher.publish("t", text)));
    let mut ada = peer.control();
    assert_eq!(connect(&mut ada, "ada")["restored"], true);
    assert_eq!(texts(&ada.pull_all("t", 200, SOON)), sent);
    drop(ada);
    wait::holds("the name is new", SOON, || {
        wait::pause(Duration::from_millis(3_500));
        let mut ada = peer.control();
        connect(&mut ada, "ada")["restored"] == false
    });
}

#[test]
fn a003_6_who_disconnects_leaves_nothing_behind() {
    let cluster = Cluster::start(1, 1);
    let peer = &cluster.peers[0];
    let (mut ada, mut other) = (peer.control(), peer.control());
    other.create("t");
    connect(&mut ada, "ada");
    ada.subscribe("t");
    ada.ok(&json!({"command": "disconnect"}));
    other.publish("t", "too late");
    let answer = connect(&mut ada, "ada");
    assert_eq!((&answer["restored"], &answer["topics"]), (&json!(false), &json!([])));
    assert_eq!(ada.refused(&json!({"command": "pull", "topic": "t"})).0, "not_subscribed");
}

#[test]
fn a003_7_any_bytes_and_a_megabyte_arrive_unchanged() {
    let cluster = Cluster::start(1, 2);
    let mut controls = cluster.topic("t");
    let texts: Vec<String> =
        ["\n\nx", "a\0b", "", " \t ", "\u{1b}[2J"].map(str::to_owned).into_iter().collect();
    let binaries = ["AP/+gA==", "/w==", &"q83v".repeat(230_000)].map(str::to_owned);
    let megabyte = "0123456789".repeat(100_000);
    for text in texts.iter().chain([&megabyte]) {
        controls[0].publish("t", text);
    }
    for encoded in &binaries {
        let publish = json!({"command": "publish", "topic": "t", "message_base64": encoded});
        controls[0].ok(&publish);
    }
    let all = controls[1].pull_all("t", texts.len() + 1 + binaries.len(), SOON);
    for (message, text) in all.iter().zip(texts.iter().chain([&megabyte])) {
        assert_eq!(message["message"].as_str(), Some(text.as_str()));
    }
    for (message, encoded) in all[texts.len() + 1..].iter().zip(&binaries) {
        assert_eq!(message["message_base64"].as_str(), Some(encoded.as_str()));
    }
}

/// Does something that no client should, twenty kinds of it.
fn fault(peer: &Node, kind: usize) {
    let mut stream = TcpStream::connect(peer.control_address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let connect = format!("{{\"command\":\"connect\",\"name\":\"fault-{kind}\"}}\n");
    let stream_all =
        "{\"command\":\"subscribe\",\"topic\":\"t\",\"stream\":true,\"from\":\"all\"}\n";
    let bytes: &[u8] = match kind % 10 {
        0 => b"",
        1 => b"\0\0\0\0\n\xff\xfe\n",
        2 => b"DISCONNECT\nDISCONNECT\n",
        3 => b"{\"command\":\"disconnect\"}\n{\"command\":\"disconnect\"}\n",
        4 => b"{\"command\":\"publish\",\"topic\":\"t\",\"mess",
        5 => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        6 => b"{\"command\":\"pull\",\"wait_ms\":100000}\n{\"command\":\"ping\"}\n",
        7 => stream_all.as_bytes(),
        8 => connect.as_bytes(),
        _ => b"\n\n\n[]\n{}\n\"x\"\n",
    };
    // A peer that has closed already is right to do so.
    let _ = stream.write_all(bytes);
    match kind / 10 {
        // Closed with unread data in its buffer, which resets the connection.
        0 => drop(stream),
        _ => {
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read(&mut [0; 100]);
        }
    }
}

#[test]
fn a003_8_twenty_faults_of_clients_cost_nobody_else_a_message() {
    let cluster = Cluster::start(1, 1);
    let peer = &cluster.peers[0];
    let (mut publisher, mut subscriber) = (peer.control(), peer.control());
    publisher.create("t");
    connect(&mut subscriber, "subscriber");
    subscriber.ok(&json!({"command": "subscribe", "topic": "t", "stream": true}));
    for kind in 0..20 {
        publisher.publish("t", &format!("before {kind}"));
        fault(peer, kind);
        publisher.publish("t", &format!("after {kind}"));
    }
    for kind in 0..20 {
        for when in ["before", "after"] {
            assert_eq!(subscriber.event().unwrap()["message"], format!("{when} {kind}"));
        }
    }
    peer.control().ok(&json!({"command": "ping"}));
}

#[test]
fn a003_9_one_of_three_subscribers_stalls_and_is_told_what_it_lost() {
    const COUNT: u64 = 8_000;
    let setup = Setup::new(1, 1).config("[limits]\nunread_messages = 1000\n");
    let cluster = setup.start();
    let peer = &cluster.peers[0];
    let mut publisher = peer.control();
    publisher.create("t");
    let open = || {
        let mut control = peer.control();
        control.ok(&json!({"command": "subscribe", "topic": "t", "stream": true}));
        control
    };
    let mut stalled = open();
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let mut control = open();
            thread::spawn(move || {
                (1..=COUNT).for_each(|seq| assert_eq!(control.event().unwrap()["seq"], seq));
            })
        })
        .collect();
    let publish = json!({"command": "publish", "topic": "t", "message": "x".repeat(1_000)});
    let hundred = format!("{publish}\n").repeat(100);
    for _ in 0..COUNT / 100 {
        publisher.send(hundred.as_bytes()).unwrap();
        (0..100).for_each(|_| assert_eq!(publisher.answer().unwrap()["status"], "ok"));
    }
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    // Now it reads: what was kept, in order, and how much was not.
    let (mut read, mut lost, mut next) = (0, 0, 1);
    while read + lost < COUNT {
        let event = stalled.event().unwrap();
        match event["event"].as_str() {
            Some("message") => {
                assert_eq!(event["seq"], next);
                (read, next) = (read + 1, next + 1);
            }
            Some("gap") => {
                assert_eq!(event["from"], next);
                lost += event["count"].as_u64().unwrap();
                next = event["to"].as_u64().unwrap() + 1;
            }
            _ => panic!("{event}"),
        }
    }
    assert_eq!((read + lost, next), (COUNT, COUNT + 1));
}

#[test]
fn a003_10_four_bursting_publishers_lose_nothing() {
    const EACH: usize = 500;
    let cluster = Cluster::start(1, 5);
    let mut controls = cluster.topic("t");
    let mut reader = controls.remove(4);
    let writers: Vec<_> = controls
        .into_iter()
        .enumerate()
        .map(|(i, mut control)| {
            thread::spawn(move || {
                let publish = |number| {
                    let message = format!("{i} {number}");
                    let line = json!({"command": "publish", "topic": "t", "message": message});
                    format!("{line}\n")
                };
                let burst: String = (0..EACH).map(publish).collect();
                control.send(burst.as_bytes()).unwrap();
                (0..EACH).for_each(|_| assert_eq!(control.answer().unwrap()["status"], "ok"));
            })
        })
        .collect();
    let messages = reader.pull_all("t", 4 * EACH, SOON);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let different: BTreeSet<_> = texts(&messages).into_iter().collect();
    assert_eq!(different.len(), 4 * EACH);
    assert_eq!(reader.pull("t", 200), Vec::<Value>::new());
}

/// Receives the texts of `expected` as events, in order; `ready` when it has subscribed.
fn receive_in_order(peer: &Node, expected: usize, ready: &mpsc::Sender<()>) -> JoinHandle<()> {
    let (mut control, ready) = (peer.control(), ready.clone());
    thread::spawn(move || {
        control.ok(&json!({"command": "subscribe", "topic": "t", "stream": true}));
        ready.send(()).unwrap();
        for number in 0..expected {
            let event = control.event().unwrap();
            assert_eq!(event["message"].as_str(), Some(number.to_string().as_str()), "{event}");
        }
    })
}

#[test]
fn a003_11_a_burst_reaches_thirty_subscribers_complete_and_in_order() {
    const READERS: usize = 30;
    const PACED: usize = 200;
    const BURST: usize = 4_000;
    const TOGETHER: usize = 500;
    let cluster = Setup::new(1, 4).alone().start();
    let mut publisher = cluster.peers[0].control();
    publisher.create("t");
    let (ready, subscribed) = mpsc::channel();
    let reader = |number: usize| &cluster.peers[number % cluster.peers.len()];
    let start = |number| receive_in_order(reader(number), PACED + BURST, &ready);
    let readers: Vec<_> = (0..READERS).map(start).collect();
    (0..READERS).for_each(|_| subscribed.recv().unwrap());
    let line = |number: usize| {
        let publish = json!({"command": "publish", "topic": "t", "message": number.to_string()});
        format!("{publish}\n")
    };
    // One after the other, and then many at once: how fast that is is printed, not judged. But the
    // fastest of the bursts is faster than waiting for each answer, or it is no burst.
    let mut answered = |first: usize, count: usize| {
        let begun = Instant::now();
        let lines: String = (first..first + count).map(line).collect();
        publisher.send(lines.as_bytes()).unwrap();
        (0..count).for_each(|_| assert_eq!(publisher.answer().unwrap()["status"], "ok"));
        begun.elapsed().as_secs_f64()
    };
    let one_by_one = PACED as f64 / (0..PACED).map(|n| answered(n, 1)).sum::<f64>();
    let bursts = (PACED..PACED + BURST).step_by(TOGETHER);
    let fastest = bursts.map(|first| answered(first, TOGETHER)).fold(f64::MAX, f64::min);
    let burst = TOGETHER as f64 / fastest;
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    eprintln!("{one_by_one:.0} publications/s one by one, {burst:.0}/s in the fastest burst");
    assert!(burst > one_by_one, "{burst:.0}/s in bursts, {one_by_one:.0}/s one by one");
}

#[test]
fn a003_12_fifty_commands_without_pauses_are_fifty_commands() {
    let cluster = Cluster::start(1, 1);
    let peer = &cluster.peers[0];
    peer.control().create("t");
    let port = peer.control_address().port();
    let mut script = format!("CONNECT {port} ada\nSUBSCRIBE t\n");
    (0..50).for_each(|number| script += &format!("PUBLISH t message {number}\n"));
    let ended = cli::peer_with_input(peer, &["shell", "--raw"], script.as_bytes()).expect_code(0);
    let expected: Vec<_> = (0..50).map(|number| format!("message {number}")).collect();
    assert_eq!(ended.text().lines().collect::<Vec<_>>(), expected);
}
