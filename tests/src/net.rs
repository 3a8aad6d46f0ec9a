//! A network of its own for each seed, from which it can be cut off: its packets vanish, nobody is
//! told, and connections stay as they are. Linux only, with `ip`, `unshare` and `nsenter`.
//!
//! The process itself has to run in a network of its own, in which it may do as it likes:
//! [`enter`] starts it again in one. The seeds have networks beside it, all joined by a bridge.

use std::io;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// Set in a process that was started again.
const ENTERED: &str = "TIDINGS_TESTS_NET";
/// The bridge.
const BRIDGE: &str = "tidings";

/// Starts this process again in a network of its own, unless it is in one. Returns only when it
/// is, or when the machine does not allow it.
///
/// # Errors
/// The machine does not allow it.
pub fn enter() -> Result<()> {
    if std::env::var_os(ENTERED).is_some() {
        return Ok(());
    }
    // Who is no administrator may have a network as a user of his own; some machines allow only
    // their administrator to.
    let ways: [&[&str]; 2] = [&["--user", "--map-root-user", "--net"], &["--net"]];
    let may = |way: &&&[&str]| {
        let mut trial = Command::new("unshare");
        trial.args(**way).args(["ip", "link"]).stdout(Stdio::null()).stderr(Stdio::null());
        trial.status().is_ok_and(|status| status.success())
    };
    let way = ways.iter().find(may);
    let way = way.context("this machine lets nobody make network namespaces (unshare, ip)")?;
    let program = std::env::current_exe().context("the path of this program")?;
    let mut command = Command::new("unshare");
    command.args(*way).arg(program).args(std::env::args_os().skip(1)).env(ENTERED, "1");
    let error: io::Error = command.exec();
    Err(error).context("starting this program in a network of its own")
}

/// The networks of some seeds. They end when this is dropped, or the process ends.
#[derive(Debug)]
pub struct Net {
    /// A process in each of them, which keeps it.
    keepers: Vec<Child>,
}

impl Net {
    /// The address of everybody but the seeds.
    pub const HERE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

    /// Makes networks for so many seeds.
    ///
    /// # Errors
    /// What could not be done.
    pub fn new(seeds: usize) -> Result<Self> {
        ensure!(std::env::var_os(ENTERED).is_some(), "the process has no network of its own");
        ip(&["link", "set", "lo", "up"])?;
        ip(&["link", "add", BRIDGE, "type", "bridge"])?;
        ip(&["addr", "add", &format!("{}/24", Self::HERE), "dev", BRIDGE])?;
        ip(&["link", "set", BRIDGE, "up"])?;
        let mut net = Self { keepers: Vec::new() };
        for seed in 0..seeds {
            net.add(seed)?;
        }
        Ok(net)
    }

    fn add(&mut self, seed: usize) -> Result<()> {
        let mut keeper = Command::new("unshare");
        // It says that it is there, and ends when this process does, however that ends.
        keeper.args(["--net", "sh", "-c", "echo; exec cat"]);
        let keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut keeper = keeper.context("unshare --net")?;
        let mut word = [0; 1];
        let said = keeper.stdout.as_mut().context("piped")?;
        let said = io::Read::read_exact(said, &mut word);
        let pid = keeper.id().to_string();
        self.keepers.push(keeper);
        said.context("unshare --net")?;
        let port = port(seed);
        let peer = ["type", "veth", "peer", "name", "eth0", "netns", &pid];
        ip(&[&["link", "add", &port], &peer[..]].concat())?;
        ip(&["link", "set", &port, "master", BRIDGE, "up"])?;
        let own = format!("{}/24", Self::address(seed));
        let commands: [&[&str]; 3] = [
            &["link", "set", "lo", "up"],
            &["addr", "add", &own, "dev", "eth0"],
            &["link", "set", "eth0", "up"],
        ];
        commands.iter().try_for_each(|command| {
            run("nsenter", &[&inside(&pid)[..], &["ip"], *command].concat())
        })
    }

    /// The address of a seed.
    pub fn address(seed: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, 10 + u8::try_from(seed).expect("seeds are few"))
    }

    /// The command that starts a program in the network of a seed.
    pub fn entry(&self, seed: usize) -> Vec<String> {
        let pid = self.keepers[seed].id().to_string();
        let command = ["nsenter"].into_iter().chain(inside(&pid));
        command.map(str::to_owned).collect()
    }

    /// Cuts a seed off from all others, or joins it again.
    ///
    /// # Panics
    /// When that is not possible.
    pub fn cut(&self, seed: usize, cut: bool) {
        let port = port(seed);
        let how: &[&str] = if cut { &["nomaster"] } else { &["master", BRIDGE] };
        ip(&[&["link", "set", &port], how].concat()).expect("a seed can be cut off");
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for keeper in &mut self.keepers {
            // An error says that it has ended already.
            let _ = keeper.kill();
            let _ = keeper.wait();
        }
    }
}

/// The end of a seed's cable at the bridge.
fn port(seed: usize) -> String {
    format!("seed-{seed}")
}

fn inside(pid: &str) -> [&str; 4] {
    ["--target", pid, "--net", "--"]
}

fn ip(arguments: &[&str]) -> Result<()> {
    run("ip", arguments)
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let ended = Command::new(program).args(arguments).output().context(program.to_owned())?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "{program} {}: {}", arguments.join(" "), said.trim());
    Ok(())
}
