//! What can be typed after `peer`.

use clap::{CommandFactory as _, Parser, Subcommand};
use tidings::control::{Client, ClientError};
use tidings::{Config, Overrides};
use tidings_runtime::manual::{Completions, Manual};

use crate::commands;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  peer run --listen 127.0.0.1:7200 --control 127.0.0.1:5555
  peer topic create Sports
  peer sub Sports                      (in another terminal)
  peer pub Sports 'Football match tonight!'
  peer pub Sports --file lines.txt
  peer pull Sports --wait 5s
  peer reply time --command date       (in another terminal)
  peer request time ''
  peer name register ada
  peer shell
  peer status
  peer forget peer-9                   (it is gone for good)
  peer top
  peer bench

Exit codes: 0 done, 1 failed, 2 usage, 3 refused (not found, denied, taken), 4 unreachable or no
quorum of seeds, 27 timed out waiting for a message.";

/// A peer of Tidings: publish and subscribe by topics, without a broker.
#[derive(Debug, Parser)]
#[command(name = "peer", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(commands::run::Args),
    Pub(commands::publish::Args),
    Sub(commands::subscribe::Args),
    Pull(commands::pull::Args),
    Request(commands::request::Args),
    Reply(commands::reply::Args),
    Topic(commands::topic::Args),
    Name(commands::name::Args),
    Sessions(commands::sessions::Args),
    Shell(commands::shell::Args),
    Peers(commands::peers::Args),
    Forget(commands::forget::Args),
    Seeds(commands::seeds::Args),
    Status(commands::status::Args),
    Top(commands::top::Args),
    Bench(commands::bench::Args),
    Config(commands::config::Args),
    /// Print completions for a shell, e.g. `peer completions bash >
    /// /etc/bash_completion.d/peer`
    Completions(Completions),
    /// Print the manual page, or write one for each command, e.g. `peer man --dir man/man1`
    Man(Manual),
}

/// Which peer a command talks to.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Control {
    /// Control address of the peer [default: `control` of `[peer]` in config.toml, which is
    /// 127.0.0.1:5555 unless changed]
    #[arg(long, value_name = "ADDR", env = "TIDINGS_CONTROL")]
    control: Option<String>,
}

impl Control {
    /// Connects to the peer.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        Ok(self.open().await??)
    }

    /// Connects to the peer; a configuration that cannot be read is the outer failure.
    pub(crate) async fn open(&self) -> Result<Result<Client, ClientError>, Failure> {
        Ok(Client::connect(&self.address()?).await)
    }

    /// Where the peer is.
    pub(crate) fn address(&self) -> Result<String, Failure> {
        match &self.control {
            Some(address) => Ok(address.clone()),
            None => Ok(Config::load(None, &Overrides::new())?.peer.control.to_string()),
        }
    }
}

/// Does what was typed.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Run(args) => commands::run::run(args),
        Command::Pub(args) => ask(commands::publish::run(args)),
        Command::Sub(args) => ask(commands::subscribe::run(args)),
        Command::Pull(args) => ask(commands::pull::run(args)),
        Command::Request(args) => ask(commands::request::run(args)),
        Command::Reply(args) => ask(commands::reply::run(args)),
        Command::Topic(args) => ask(commands::topic::run(args)),
        Command::Name(args) => ask(commands::name::run(args)),
        Command::Sessions(args) => ask(commands::sessions::run(args)),
        Command::Shell(args) => ask(commands::shell::run(args)),
        Command::Peers(args) => ask(commands::peers::run(args)),
        Command::Forget(args) => ask(commands::forget::run(args)),
        Command::Seeds(args) => ask(commands::seeds::run(args)),
        Command::Status(args) => ask(commands::status::run(args)),
        Command::Top(args) => ask(commands::top::run(args)),
        Command::Bench(args) => ask(commands::bench::run(args)),
        Command::Config(args) => commands::config::run(args),
        Command::Completions(args) => Ok(args.make(Cli::command())?),
        Command::Man(args) => Ok(args.make(Cli::command())?),
    }
}

/// Runs a command that talks to a peer: one thread is enough.
fn ask(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(command)
}
