//! The programs as a person runs them in a shell.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::node::{Node, clean};
use crate::wait::SOON;
use crate::{binaries, wait};

/// Longer than any command takes that is not a transfer.
const LIMIT: Duration = Duration::from_secs(30);

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// Its progress and notes.
    pub stderr: String,
}

impl Ended {
    /// The output, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The output, as one JSON value.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        let value = serde_json::from_slice(&self.stdout);
        value.unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// The output, as one JSON value a line.
    ///
    /// # Panics
    /// When a line is none.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let text = self.text();
        let parse = |line: &str| serde_json::from_str(line);
        text.lines().map(|line| parse(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
    }

    /// Checks the exit code.
    ///
    /// # Panics
    /// When it is another one.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout {:?}, stderr {}", self.text(), self.stderr);
        self
    }
}

/// Runs `peer` with these arguments, connected to that peer's control port.
#[track_caller]
pub fn peer(node: &Node, arguments: &[&str]) -> Ended {
    peer_with_input(node, arguments, b"")
}

/// As [`peer`], with bytes on stdin.
#[track_caller]
pub fn peer_with_input(node: &Node, arguments: &[&str], input: &[u8]) -> Ended {
    let mut command = clean(&binaries::folder().join("peer"));
    command.args(arguments).env("TIDINGS_CONTROL", node.control_address().to_string());
    run(&mut command, input)
}

/// Runs `seed` or `peer` with these arguments.
#[track_caller]
pub fn program(name: &str, arguments: &[&str]) -> Ended {
    let mut command = clean(&binaries::folder().join(name));
    run(command.args(arguments), b"")
}

/// Runs a command to its end.
///
/// # Panics
/// When it does not end within 30 s.
#[track_caller]
pub fn run(command: &mut Command, input: &[u8]) -> Ended {
    run_for(command, input, LIMIT)
}

/// As [`run`], with another limit.
#[track_caller]
pub fn run_for(command: &mut Command, input: &[u8], limit: Duration) -> Ended {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = child.stdout.take().expect("piped");
    let mut stderr = child.stderr.take().expect("piped");
    let input = input.to_owned();
    // A program that ends early does not read its input; that is no failure.
    let writer = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = thread::spawn(move || read_all(&mut stdout));
    let notes = thread::spawn(move || read_all(&mut stderr));
    let mut running = Running { child };
    let status = wait::until(&format!("{command:?} ends"), limit, || running.ended());
    let join = "a thread that only reads does not panic";
    writer.join().expect(join);
    Ended {
        code: status,
        stdout: output.join().expect(join),
        stderr: String::from_utf8_lossy(&notes.join().expect(join)).into_owned(),
    }
}

fn read_all(stream: &mut impl std::io::Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What came before an error is the output.
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

/// A child that is killed when dropped.
#[derive(Debug)]
struct Running {
    child: Child,
}

impl Running {
    /// The exit code; -1 for a signal.
    fn ended(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().expect("a child can be asked for its end").map(|end| end.code())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that goes on while the test does, such as `peer sub`. Killed when dropped.
#[derive(Debug)]
pub struct Background {
    running: Running,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Background {
    /// Runs `peer` with these arguments, connected to that peer's control port; its output goes
    /// to files in `folder` that begin with `name`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn peer(node: &Node, arguments: &[&str], folder: &Path, name: &str) -> Self {
        let path = |kind: &str| folder.join(format!("{name}.{kind}"));
        let file = |path: &Path| File::create(path).expect("the folder of the test can be written");
        let (stdout, stderr) = (path("stdout"), path("stderr"));
        let mut command = clean(&binaries::folder().join("peer"));
        command.args(arguments).env("TIDINGS_CONTROL", node.control_address().to_string());
        command.stdin(Stdio::null()).stdout(file(&stdout)).stderr(file(&stderr));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { running: Running { child }, stdout, stderr }
    }

    /// Waits until it ends, and returns its exit code.
    ///
    /// # Panics
    /// When it does not end within `limit`.
    #[track_caller]
    pub fn end(&mut self, limit: Duration) -> Option<i32> {
        let what = format!("{} ends", self.stdout.display());
        wait::until(&what, limit, || self.running.ended())
    }

    /// Waits until it has noted this.
    ///
    /// # Panics
    /// When it has not within 10 s.
    #[track_caller]
    pub fn wait_noted(&self, text: &str) {
        wait::passes(&format!("{text:?} is noted"), SOON, || {
            let noted = self.stderr();
            if noted.contains(text) { Ok(()) } else { Err(noted) }
        });
    }

    /// What it printed so far.
    pub fn stdout(&self) -> Vec<u8> {
        fs::read(&self.stdout).unwrap_or_default()
    }

    /// What it noted so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }
}
