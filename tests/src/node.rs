//! One process of a cluster.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::control::Control;
use crate::log::{self, LogLine};
use crate::wait::{self, SOON};
use crate::{binaries, http};

/// A loaded machine starts a hundred processes within this.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The program `seed`.
    Seed,
    /// The program `peer`.
    Peer,
}

/// How to start a process.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its name, which is also that of its folder.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Its folder: logs, ports file.
    pub folder: PathBuf,
    /// Where its key and what it remembers are.
    pub data: PathBuf,
    /// Its config file.
    pub config: PathBuf,
    /// Where it listens; port 0 for any.
    pub listen: SocketAddr,
    /// Where it serves HTTP; port 0 for any.
    pub http: SocketAddr,
    /// Further flags.
    pub flags: Vec<String>,
    /// What starts the program, if it is not started as it is: a command and its arguments, which
    /// becomes the program without another process.
    pub through: Vec<String>,
}

impl Spec {
    /// The command that starts it.
    pub fn command(&self) -> Command {
        let program = match self.role {
            Role::Seed => "seed",
            Role::Peer => "peer",
        };
        let program = binaries::folder().join(program);
        let mut command = match self.through.split_first() {
            Some((first, rest)) => {
                let mut command = clean(Path::new(first));
                command.args(rest).arg(program);
                command
            }
            None => clean(&program),
        };
        command.arg("run").arg("--config").arg(&self.config);
        command.args(["--listen", &self.listen.to_string(), "--http", &self.http.to_string()]);
        command.args(["--name", &self.name]);
        command.arg("--data").arg(&self.data);
        command.arg("--log-dir").arg(self.folder.join("logs"));
        command.arg("--ports-file").arg(self.ports_file());
        if self.role == Role::Peer && !self.flags.iter().any(|flag| flag == "--control") {
            command.args(["--control", "127.0.0.1:0"]);
        }
        command.args(&self.flags);
        // A node that writes where it was not told to must not do so in the sources.
        command.current_dir(self.config.parent().unwrap_or_else(|| Path::new("/")));
        command
    }

    fn ports_file(&self) -> PathBuf {
        self.folder.join("ports.json")
    }
}

/// A program that does not see the environment variables of whoever runs the tests.
pub fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("TIDINGS_") {
            command.env_remove(key);
        }
    }
    command
}

/// What a ports file says.
#[derive(Clone, Debug)]
struct Ports {
    node: String,
    listen: SocketAddr,
    control: Option<SocketAddr>,
    http: Option<SocketAddr>,
}

/// A running process. It is killed when dropped.
#[derive(Debug)]
pub struct Node {
    /// How it was started.
    pub spec: Spec,
    child: Child,
    ports: Option<Ports>,
}

impl Node {
    /// Starts a process, and does not wait until it serves.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(spec: Spec) -> Self {
        fs::create_dir_all(&spec.folder).expect("the folder of the test can be written");
        let _ = fs::remove_file(spec.ports_file());
        let output = File::options().create(true).append(true).open(spec.folder.join("stderr"));
        let output = output.expect("the folder of the test can be written");
        let mut command = spec.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { spec, child, ports: None }
    }

    /// Waits until it serves.
    ///
    /// # Panics
    /// When it ends, or does not serve in time.
    pub fn ready(&mut self) {
        let start = Instant::now();
        while self.ports.is_none() {
            self.ports = read_ports(&self.spec.ports_file());
            if let Some(status) = self.exited() {
                panic!("{} ended with {status}:\n{}", self.spec.name, self.stderr());
            }
            assert!(start.elapsed() < START_LIMIT, "{} does not serve", self.spec.name);
            wait::pause(Duration::from_millis(10));
        }
    }

    /// Starts a process and waits until it serves.
    pub fn start(spec: Spec) -> Self {
        let mut node = Self::spawn(spec);
        node.ready();
        node
    }

    fn ports(&self) -> &Ports {
        self.ports.as_ref().expect("ready was awaited")
    }

    /// Its identity, 64 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.ports().node
    }

    /// Where other nodes dial it.
    pub fn listen(&self) -> SocketAddr {
        self.ports().listen
    }

    /// Its control port.
    ///
    /// # Panics
    /// When it is a seed.
    pub fn control_address(&self) -> SocketAddr {
        self.ports().control.expect("a peer has a control port")
    }

    /// Its HTTP port.
    pub fn http_address(&self) -> SocketAddr {
        self.ports().http.expect("tests start every node with an HTTP port")
    }

    /// An application's connection.
    ///
    /// # Panics
    /// When it is not taken.
    pub fn control(&self) -> Control {
        let address = self.control_address();
        Control::connect(address).unwrap_or_else(|error| panic!("{}: {error}", self.spec.name))
    }

    /// The JSON of one of its pages.
    ///
    /// # Panics
    /// When there is none.
    pub fn page(&self, path: &str) -> Value {
        let page = http::json(self.http_address(), path);
        page.unwrap_or_else(|error| panic!("{}: {error:#}", self.spec.name))
    }

    /// What its log says.
    pub fn log(&self) -> String {
        log::read(&self.spec.folder.join("logs"))
    }

    /// The events of that name in its log.
    pub fn events(&self, event: &str) -> Vec<LogLine> {
        log::events(&self.log(), event)
    }

    /// What it wrote to stderr.
    pub fn stderr(&self) -> String {
        let bytes = fs::read(self.spec.folder.join("stderr")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How it ended, `None` when it runs.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked for its end")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal: `STOP`, `CONT`, `TERM`, `INT`.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -s {signal} {pid} failed");
    }

    /// Lets it write no more, as on a disk that is full: beyond the first bytes of a file every
    /// write is an error. Only for seeds of [`crate::cluster::Setup::bounded`] clusters; the next
    /// process may write again.
    ///
    /// # Panics
    /// When that is not possible.
    pub fn fill_disk(&self) {
        let pid = self.child.id().to_string();
        let limited = Command::new("prlimit").args(["--pid", &pid, "--fsize=4096"]).status();
        assert!(limited.is_ok_and(|status| status.success()), "prlimit --pid {pid} failed");
    }

    /// Ends it without warning, as `kill -9` and a power cut do.
    pub fn kill(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end, and returns how it did and how long it took.
    ///
    /// # Panics
    /// When it does not end within 10 s.
    pub fn stop(&mut self) -> (ExitStatus, Duration) {
        self.signal("TERM");
        self.wait_for_end()
    }

    /// Waits until it ends by itself, and returns how it did and how long that took.
    ///
    /// # Panics
    /// When it does not end within 10 s.
    pub fn wait_for_end(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        let name = self.spec.name.clone();
        let status = wait::until(&format!("{name} ends"), SOON, || self.exited());
        (status, start.elapsed())
    }

    /// Starts it again after its end, on the same ports and with the same data.
    pub fn restart(&mut self) {
        self.kill();
        let mut spec = self.spec.clone();
        spec.listen = self.listen();
        spec.http = self.http_address();
        let chosen = spec.flags.iter().any(|flag| flag == "--control");
        if let Some(control) = self.ports().control.filter(|_| !chosen) {
            spec.flags.extend(["--control".to_owned(), control.to_string()]);
        }
        *self = Self::start(spec);
    }

    /// Processor time that it has used since its start.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn cpu_time(&self) -> Duration {
        // Linux counts in ticks of 1/100 s in this file, on every architecture.
        const TICK: Duration = Duration::from_millis(10);
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("a running process has a stat file");
        let (_, fields) = stat.rsplit_once(')').expect("the name of the program is in brackets");
        let ticks = fields.split_ascii_whitespace().skip(11).take(2);
        ticks.map(|field| TICK * field.parse().unwrap_or(u32::MAX)).sum()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let stderr = self.stderr();
            let tail: Vec<_> = stderr.lines().rev().take(12).collect();
            let tail: Vec<_> = tail.into_iter().rev().collect();
            eprintln!("--- the end of {}'s log\n{}", self.spec.name, tail.join("\n"));
        }
    }
}

fn read_ports(path: &Path) -> Option<Ports> {
    let file: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let address = |key: &str| file[key].as_str().and_then(|text| text.parse().ok());
    Some(Ports {
        node: file["node"].as_str()?.to_owned(),
        listen: address("listen")?,
        control: address("control"),
        http: address("http"),
    })
}
