//! `peer shell`, with commands on standard input and at a terminal.

mod common;

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use common::{PATIENCE, Port, port};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

fn shell(control: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peer"));
    command.arg("shell").args(arguments).env("TIDINGS_CONTROL", control).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a script. Returns exit code, output and notes.
async fn script(control: &str, arguments: &[&str], script: &[u8]) -> (i32, String, String) {
    let mut child = shell(control, arguments).spawn().expect("started");
    let mut input = child.stdin.take().expect("piped");
    let script = script.to_owned();
    let writing = tokio::spawn(async move {
        // A shell that was told to quit does not read the rest.
        let _ = input.write_all(&script).await;
    });
    let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let Output { status, stdout, stderr } = ended.expect("in time").expect("ended");
    writing.await.expect("no panic");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("no signal"), text(stdout), text(stderr))
}

impl Port {
    async fn script(&self, arguments: &[&str], text: &str) -> (i32, String, String) {
        script(&self.address().to_string(), arguments, text.as_bytes()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_subscribes_publishes_and_sees_its_messages() {
    let port = port().await;
    let text = "create_topic Sports\r\n\n# a note\nSUBSCRIBE Sports\nPUBLISH Sports Goal!  two  \n\
                publish Sports {\"a\": 1}\nUnsubscribe Sports\npublish Sports unseen\nping";
    let (code, output, notes) = port.script(&["--raw"], text).await;
    assert_eq!(code, 0, "{notes}");
    // The table of the new topic comes first.
    assert!(output.ends_with("\nGoal!  two  \n{\"a\": 1}\n"), "{output}");
    for note in ["subscribed to 'Sports'", "published #2 to 'Sports'", "unsubscribed", "pong"] {
        assert!(notes.contains(note), "{note}: {notes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_commands_without_pauses_are_fifty_commands() {
    let port = port().await;
    port.lone.peer.create_topic("t").await.expect("created");
    let mut text = "SUBSCRIBE t\n".to_owned();
    let bodies: Vec<_> = (0..50).map(|i| format!("message {i}")).collect();
    bodies.iter().for_each(|body| text += &format!("PUBLISH t {body}\n"));
    let (code, output, notes) = port.script(&["--raw"], &text).await;
    assert_eq!(code, 0, "{notes}");
    assert_eq!(output.lines().collect::<Vec<_>>(), bodies);
    assert_eq!(notes.matches("published #").count(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_control_command_can_be_typed() {
    let port = port().await;
    let text = "create_topic t exist_ok=true\ntopic_info t\nsubscribe t stream=false\n\
                publish t kept\npull t 10 wait_ms=5000\nunsubscribe t\npeers\nseeds\nstatus\n\
                {\"command\":\"ping\",\"id\":7}\nhelp topic=x\ndelete_topic t\n";
    let (code, output, notes) = port.script(&["--json"], text).await;
    assert_eq!(code, 0, "{notes}");
    let answers: Vec<Value> =
        output.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(answers.iter().all(|answer| answer["status"] == "ok"), "{output}");
    assert_eq!(answers.len(), 12);
    assert_eq!(answers[4]["messages"][0]["message"], "kept");
    assert_eq!((&answers[9]["pong"], &answers[9]["id"]), (&true.into(), &7.into()));
    let names = answers[10]["commands"].as_array().expect("a list").iter();
    let help = port.script(&[], "-h\n").await.1.to_ascii_lowercase();
    for name in names.filter_map(|command| command["command"].as_str()).filter(|n| *n != "help") {
        assert!(help.contains(name), "-h tells of {name}");
    }
    let (code, output, _) = port.script(&[], "create_topic u\nstatus\n-h\n").await;
    assert_eq!(code, 0);
    assert!(output.contains("SUBSCRIBERS") && output.contains("  CONNECT <port>"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_failure_is_the_exit_code_and_the_rest_is_done() {
    let port = port().await;
    let (code, _, notes) = port.script(&[], "PUBLISH nowhere x\nfly\nping\n").await;
    assert_eq!(code, 3);
    assert!(
        notes.contains("Topic 'nowhere' not found; LIST_TOPICS shows what there is"),
        "{notes}"
    );
    assert!(notes.contains("unknown command 'fly'") && notes.contains("pong"), "{notes}");
    assert_eq!(port.script(&[], "PUBLISH\nPUBLISH nowhere x\n").await.0, 2);
    assert_eq!(port.script(&[], "UNSUBSCRIBE x\n").await.0, 3);
    assert_eq!(port.script(&[], "ping\nQUIT\nPUBLISH nowhere x\n").await.0, 0, "the rest is not");
    let binary = script(&port.address().to_string(), &[], b"\xff\nping\n").await;
    assert_eq!(binary.0, 2);
    assert!(binary.2.contains("line 1 is not UTF-8") && binary.2.contains("pong"), "{}", binary.2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_shell_talks_to() {
    let port = port().await;
    let number = port.address().port();
    let text = format!(
        "CONNECT {number}\nping\nCONNECT {number}\nDISCONNECT\nping\nCONNECT {number}\nping\n"
    );
    let (code, _, notes) = script("127.0.0.1:1", &[], text.as_bytes()).await;
    assert_eq!(code, 3, "connected already");
    assert!(notes.contains("connected to") && notes.contains("DISCONNECT first"), "{notes}");
    assert!(notes.contains("not connected: CONNECT <port> [name]"), "{notes}");
    assert_eq!(notes.matches("pong").count(), 2, "{notes}");

    let (code, _, notes) = script("127.0.0.1:1", &[], b"ping\n").await;
    assert_eq!(code, 4);
    assert!(notes.contains("no peer answers at 127.0.0.1:1"), "{notes}");
    assert_eq!(script("127.0.0.1:1", &[], b"DISCONNECT\n").await.0, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_ends_is_noticed() {
    let port = port().await;
    port.lone.peer.create_topic("t").await.expect("created");
    let mut child =
        shell(&port.address().to_string(), &["--wait", "20s"]).spawn().expect("started");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(b"SUBSCRIBE t\n").await.expect("taken");
    let mut notes = child.stderr.take().expect("piped");
    let mut seen = String::new();
    while !seen.contains("subscribed to 't'") {
        seen += &read_some(&mut notes).await;
    }
    port.server.stop().await;
    drop(input);
    let status = tokio::time::timeout(PATIENCE, child.wait()).await.expect("in time");
    assert_eq!(status.expect("ended").code(), Some(4));
    notes.read_to_string(&mut seen).await.expect("readable");
    assert!(seen.contains("the peer closed the connection"), "{seen}");
}

async fn read_some(from: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut bytes = vec![0; 4_096];
    let reading = from.read(&mut bytes);
    let count = tokio::time::timeout(PATIENCE, reading).await.expect("in time").expect("readable");
    assert!(count > 0, "it ended");
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

/// A shell at a terminal, which `script` of util-linux provides.
struct Terminal {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    seen: String,
}

impl Terminal {
    fn open(control: &str, history: &std::path::Path) -> Self {
        let run = format!("{} shell", env!("CARGO_BIN_EXE_peer"));
        let mut command = Command::new("script");
        command.args(["-qefc", &run, "/dev/null"]).env("TIDINGS_CONTROL", control);
        command.env("TIDINGS_HISTORY", history).env("TERM", "xterm").kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("'script' of util-linux is installed");
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (input, output) = (input.expect("piped"), output.expect("piped"));
        Self { child, input, output, seen: String::new() }
    }

    async fn keys(&mut self, keys: &str) {
        self.input.write_all(keys.as_bytes()).await.expect("taken");
    }

    /// Reads until `text` was shown since the last call.
    async fn shows(&mut self, text: &str) {
        let begun = Instant::now();
        while !self.seen.contains(text) {
            assert!(begun.elapsed() < PATIENCE, "no {text:?} in {:?}", self.seen);
            self.seen += &read_some(&mut self.output).await;
        }
        let after = self.seen.find(text).map_or(0, |at| at + text.len());
        self.seen.drain(..after);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_messages_come_above_the_prompt() {
    let port = port().await;
    port.lone.peer.create_topic("Sports").await.expect("created");
    let _known = port.lone.peer.subscribe("Sports").await.expect("subscribed");
    let folder = tempfile::tempdir().expect("a folder");
    let history = folder.path().join("state/history");
    let mut terminal = Terminal::open(&port.address().to_string(), &history);
    terminal.shows("Ctrl-D to leave").await;
    terminal.shows("tidings> ").await;
    terminal.keys("sub\t").await;
    terminal.shows("subscribe ").await;
    // The topics were asked for when the prompt came; they may not be here yet.
    let begun = Instant::now();
    loop {
        terminal.keys("Sp\t").await;
        let completed = terminal.shows("Sports ");
        if tokio::time::timeout(Duration::from_millis(500), completed).await.is_ok() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the topic is not completed");
        terminal.keys("\x15ping\r").await;
        terminal.shows("tidings> ").await;
        terminal.keys("subscribe ").await;
    }
    terminal.keys("\x15subscribe Sports\r").await;
    terminal.shows("subscribed to 'Sports'").await;
    terminal.shows("tidings> ").await;
    terminal.keys("half a li").await;
    terminal.shows("half a li").await;
    port.lone.peer.publish("Sports", "Goal!").await.expect("published");
    terminal.shows("Goal!").await;
    terminal.shows("half a li").await;
    terminal.keys("\x15\x1b[A").await;
    terminal.shows("subscribe Sports").await;
    terminal.keys("\x15 publish Sports secret\r").await;
    terminal.shows("published #2").await;
    terminal.shows("tidings> ").await;
    terminal.keys("\x04").await;
    let ended = tokio::time::timeout(PATIENCE, terminal.child.wait()).await.expect("in time");
    assert_eq!(ended.expect("ended").code(), Some(0));
    let kept = std::fs::read_to_string(history).expect("a history");
    assert!(kept.contains("subscribe Sports") && !kept.contains("secret"), "{kept}");
}
