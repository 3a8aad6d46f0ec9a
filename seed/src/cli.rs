//! What can be typed after `seed`.

use clap::{CommandFactory as _, Parser, Subcommand};
use tidings_runtime::manual::{Completions, Manual};

use crate::commands;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  seed run --listen 127.0.0.1:7101
  seed status                          (all seeds of config.toml)
  seed status --http 127.0.0.1:8101 --json
  seed peers --filter 127.0.0.1:72
  seed topics --filter 'sport/#'
  seed deaths --filter 127.0.0.1:7204  (who reported it, who voted)
  seed forget peer-9 --data data/seed-7101     (it is gone for good)
  seed backup seed-7101.backup --data data/seed-7101
  seed check --data data/seed-7101
  seed set add 127.0.0.1:7104 127.0.0.1:8104   (one more seed, while the cluster runs)

Exit codes: 0 done, 1 failed, 2 usage, 3 refused, 4 unreachable.";

/// A seed of Tidings: where peers meet. No publication passes through it.
#[derive(Debug, Parser)]
#[command(name = "seed", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(commands::run::Args),
    Status(commands::status::Args),
    Peers(commands::peers::Args),
    Topics(commands::topics::Args),
    Deaths(commands::deaths::Args),
    Backup(commands::backup::BackupArgs),
    Restore(commands::backup::RestoreArgs),
    Check(commands::check::Args),
    Set(commands::set::Args),
    Forget(commands::forget::Args),
    Config(commands::config::Args),
    /// Print completions for a shell, e.g. `seed completions bash >
    /// /etc/bash_completion.d/seed`
    Completions(Completions),
    /// Print the manual page, or write one for each command, e.g. `seed man --dir man/man1`
    Man(Manual),
}

/// Does what was typed.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Run(args) => commands::run::run(args),
        Command::Status(args) => ask(commands::status::run(args)),
        Command::Peers(args) => ask(commands::peers::run(args)),
        Command::Topics(args) => ask(commands::topics::run(args)),
        Command::Deaths(args) => ask(commands::deaths::run(args)),
        Command::Backup(args) => commands::backup::make(args),
        Command::Restore(args) => commands::backup::bring_back(args),
        Command::Check(args) => commands::check::run(args),
        Command::Set(args) => ask(commands::set::run(args)),
        Command::Forget(args) => ask(commands::forget::run(args)),
        Command::Config(args) => commands::config::run(args),
        Command::Completions(args) => Ok(args.make(Cli::command())?),
        Command::Man(args) => Ok(args.make(Cli::command())?),
    }
}

/// Runs a command that talks to a seed: one thread is enough.
fn ask(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(command)
}
