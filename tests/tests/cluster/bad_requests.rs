//! A request that is wrong gets an error that says so, and the connection lives.

use serde_json::json;
use tidings_tests::cluster::Cluster;
use tidings_tests::control::{Control, refusal};
use tidings_tests::wait::SOON;
use tidings_tests::{cli, text};

fn lives(control: &mut Control) {
    control.ok(&json!({"command": "ping"}));
}

#[test]
fn a_malformed_line_gets_an_error_and_the_connection_lives() {
    let cluster = Cluster::start(1, 1);
    let mut control = cluster.peers[0].control();
    let deep = format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000));
    let lines: [&[u8]; 14] = [
        b"hello",
        b"{",
        b"[]",
        b"[1,2,3]",
        b"null",
        b"{}",
        b"{\"command\":5}",
        b"{\"command\":\"no_such_command\"}",
        b"{\"command\":\"publish\"}",
        b"{\"command\":\"publish\",\"topic\":[\"a\"],\"message\":\"x\"}",
        b"{\"command\":\"publish\",\"topic\":\"a\",\"message\":{}}",
        b"{\"command\":\"publish\",\"topic\":\"a\",\"message_base64\":\"%%%\"}",
        b"{\"command\":\"pull\",\"topic\":\"a\",\"max\":-1}",
        b"\xff\xfe{\"command\":\"ping\"}",
    ];
    for line in lines.into_iter().chain([deep.as_bytes()]) {
        control.send(&[line, b"\n"].concat()).unwrap();
        refusal(&control.answer().unwrap());
        lives(&mut control);
    }
}

#[test]
fn an_unknown_command_is_named_and_its_id_echoed() {
    let cluster = Cluster::start(1, 1);
    let mut control = cluster.peers[0].control();
    let answer = control.ask(&json!({"command": "fly", "id": [1, "a"]}));
    assert!(refusal(&answer).1.contains("fly"), "{answer}");
    assert_eq!(answer["id"], json!([1, "a"]));
}

#[test]
fn a_line_of_two_mebibytes_gets_an_error_and_a_close() {
    let cluster = Cluster::start(1, 1);
    let mut control = cluster.peers[0].control();
    let line = json!({"command": "ping", "id": "x".repeat(2 << 20)}).to_string() + "\n";
    // The other end may close before it has read everything.
    let _ = control.send(line.as_bytes());
    refusal(&control.answer().unwrap());
    assert_eq!(control.line().unwrap(), None, "closed after the error");
    lives(&mut cluster.peers[0].control());
}

#[test]
fn a_message_over_one_mebibyte_is_refused() {
    let cluster = Cluster::start(1, 1);
    cluster.topic("large");
    let path = cluster.folder().join("large.txt");
    let path_text = path.display().to_string();
    let publish = |bytes: usize| {
        std::fs::write(&path, [vec![b'x'; bytes], b"\n".to_vec()].concat()).unwrap();
        cli::peer(&cluster.peers[0], &["pub", "large", "--file", &path_text])
    };
    let refused = publish((1 << 20) + 1);
    assert!(matches!(refused.code, Some(1..=3)), "{refused:?}");
    assert!(refused.stderr.contains("1048576"), "the limit is named: {}", refused.stderr);
    lives(&mut cluster.peers[0].control());
}

#[test]
fn topic_names_that_break_a_rule_are_refused() {
    let cluster = Cluster::start(1, 1);
    let mut control = cluster.peers[0].control();
    for name in ["", &"x".repeat(300), "a/+/b", "a/#", "a\0b", "line\nbreak", "$overlay"] {
        for command in ["create_topic", "publish"] {
            let request = json!({"command": command, "topic": name, "message": "x"});
            let (code, message) = control.refused(&request);
            assert!(message.contains("topic"), "{name:?}: {code}: {message}");
        }
    }
    let longest = "é".repeat(127) + "x";
    control.create(&longest);
    control.subscribe(&longest);
    control.publish(&longest, "fits");
    control.pull_all(&longest, 1, SOON);
}

#[test]
fn a_thousand_wrong_lines_do_not_end_the_connection() {
    let cluster = Cluster::start(1, 1);
    let mut control = cluster.peers[0].control();
    for seed in 0..1_000 {
        let mut line = text::noise(seed, 60);
        line.retain(|byte| !b"\n\r \t".contains(byte));
        line.push(b'\n');
        control.send(&line).unwrap();
        refusal(&control.answer().unwrap());
    }
    lives(&mut control);
}
