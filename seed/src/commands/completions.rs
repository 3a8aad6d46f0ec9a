//! `seed completions`: what the shell needs to complete commands.

use std::io;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Failure;

/// Print completions for a shell, e.g. `seed completions bash > /etc/bash_completion.d/seed`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "seed", &mut script);
    Ok(io::Write::write_all(&mut io::stdout(), &script)?)
}
