//! Clients that no one here wrote: what a user's script does with ncat, Python's standard library,
//! bash and jq.

use std::process::Command;
use std::time::Duration;

use tidings_tests::cli::{Ended, run_for};
use tidings_tests::cluster::Cluster;

/// Longer than any script here takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a script with the control ports of two peers in the environment.
#[track_caller]
fn script(cluster: &Cluster, program: &str, text: &str) -> Ended {
    let mut command = Command::new(program);
    command.args(["-c", text]);
    for (name, peer) in [("ONE", 0), ("TWO", 1)] {
        let address = cluster.peers[peer].control_address();
        command.env(name, address.port().to_string());
    }
    let ended = run_for(&mut command, b"", LIMIT);
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.text(), ended.stderr);
    ended
}

/// Says in one line that a program is missing, which scripts/test.sh installs.
fn is_there(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    let there = found.is_ok_and(|found| found.status.success());
    if !there {
        eprintln!("NOT TESTED: {program} is missing; scripts/test.sh installs it");
    }
    there
}

const BASH: &str = r#"
set -euo pipefail
exec 3<>"/dev/tcp/127.0.0.1/$ONE" 4<>"/dev/tcp/127.0.0.1/$TWO"
echo '{"command":"CREATE_TOPIC","topic":"Sports"}' >&3
read -r answer <&3; echo "$answer"
echo '{"command":"subscribe","topic":"Sports"}' >&4
read -r answer <&4; echo "$answer"
echo '{"command":"publish","topic":"Sports","message":"Football match tonight!"}' >&3
read -r answer <&3; echo "$answer"
echo '{"command":"pull","topic":"Sports","wait_ms":10000}' >&4
read -r answer <&4; echo "$answer"
"#;

#[test]
fn bash_and_nothing_else() {
    let cluster = Cluster::start(3, 2);
    let answers = script(&cluster, "bash", BASH).json_lines();
    assert!(answers.iter().all(|answer| answer["status"] == "ok"), "{answers:?}");
    assert_eq!(answers[3]["messages"][0]["message"], "Football match tonight!");
}

const PYTHON: &str = r#"
import json, os, socket

class Peer:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", int(port)), timeout=20)
        self.lines = self.socket.makefile("rw", encoding="utf-8", newline="\n")
    def send(self, **request):
        self.lines.write(json.dumps(request) + "\n")
        self.lines.flush()
    def read(self):
        return json.loads(self.lines.readline())
    def ask(self, **request):
        self.send(**request)
        answer = self.read()
        assert answer["status"] == "ok", answer
        return answer

one, two = Peer(os.environ["ONE"]), Peer(os.environ["TWO"])
one.ask(command="create_topic", topic="größen/1")
two.ask(command="subscribe", topic="größen/1", stream=True)
texts = ["plain", "größe ☃ 🎉", "line\nline", "tab\t\"quote\" \\", "\u0000", "x" * 500_000]
for number, text in enumerate(texts):
    one.send(command="publish", topic="größen/1", message=text, id=number,
             headers={"n": str(number)})
for number in range(len(texts)):
    answer = one.read()
    assert answer["status"] == "ok" and answer["id"] == number, answer
for number, text in enumerate(texts):
    event = two.read()
    assert event["event"] == "message" and event["message"] == text, number
    assert event["headers"] == {"n": str(number)} and event["seq"] == number + 1, number

# A request, answered by hand.
one.send(command="request", topic="größen/1", message="2+2", timeout_ms=10_000)
request = two.read()
headers = request["headers"]
two.ask(command="publish", topic=headers["reply_to"], message="4",
        headers={"correlation_id": headers["correlation_id"]})
answer = one.read()
assert [reply["message"] for reply in answer["replies"]] == ["4"], answer

# Wrong things get an answer, and the connection lives.
for line in ["nonsense", "[]", '{"command":"fly"}', '{"command":"publish"}']:
    one.lines.write(line + "\n"); one.lines.flush()
    assert one.read()["status"] == "error", line
assert one.ask(command="ping")["pong"]

# Half-closed: what was asked is answered.
two.send(command="ping", id="last")
two.socket.shutdown(socket.SHUT_WR)
assert two.read()["id"] == "last"
assert two.lines.readline() == ""
print("done")
"#;

#[test]
fn python_with_its_standard_library() {
    let cluster = Cluster::start(3, 2);
    if is_there("python3") {
        assert_eq!(script(&cluster, "python3", PYTHON).text(), "done\n");
    }
}

const NCAT: &str = r#"
set -euo pipefail
ask() { echo "$2" | timeout 20 ncat localhost "$1"; }
ask "$ONE" '{"command":"create_topic","topic":"Sports"}' | jq -e '.status == "ok"' >/dev/null
ask "$TWO" '{"command":"subscribe","topic":"Sports"}' | jq -e '.topic == "Sports"' >/dev/null
echo '{"command":"publish","topic":"Sports","message":"Football match tonight!"}' |
    ncat localhost "$ONE"
jq -nc '{command: "publish", topic: "Sports", message: ("x" * 1000)}' |
    ncat localhost "$ONE" >/dev/null
pull='{"command":"pull","topic":"Sports","wait_ms":10000,"max":1}'
ask "$TWO" "$pull" | jq -r '.messages[].message'
ask "$TWO" "$pull" | jq -r '.messages[].message | length'
ask "$ONE" '{"command":"publish","topic":"Nowhere","message":"x"}' | jq -r .message
"#;

#[test]
fn ncat_and_jq() {
    let cluster = Cluster::start(3, 2);
    if is_there("ncat") && is_there("jq") {
        let lines = script(&cluster, "bash", NCAT).text();
        let lines: Vec<_> = lines.lines().collect();
        assert!(lines[0].starts_with("{\"status\":\"ok\",\"seq\":1,"), "{lines:?}");
        assert_eq!(lines[1..], ["Football match tonight!", "1000", "Topic 'Nowhere' not found"]);
    }
}

const SHELL: &str = r#"
set -euo pipefail
for number in $(seq 1 50); do echo "PUBLISH Sports message $number"; done |
    { echo 'CREATE_TOPIC Sports'; echo 'SUBSCRIBE Sports'; cat; } |
    "$PEER" shell --control "127.0.0.1:$ONE" --json 2>/dev/null |
    jq -r 'select(.event == "message") | .message'
"#;

#[test]
fn a_pipe_of_fifty_commands_and_jq() {
    let cluster = Cluster::start(1, 2);
    if is_there("jq") {
        let peer = tidings_tests::binaries::folder().join("peer");
        let text = SHELL.replace("$PEER", &peer.display().to_string());
        let lines = script(&cluster, "bash", &text).text();
        let expected: Vec<_> = (1..=50).map(|number| format!("message {number}")).collect();
        assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
    }
}
