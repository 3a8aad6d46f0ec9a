//! `peer completions`: what the shell needs to complete commands.

use std::io;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Failure;

/// Print completions for a shell, e.g. `peer completions bash > /etc/bash_completion.d/peer`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "peer", &mut script);
    Ok(io::Write::write_all(&mut io::stdout(), &script)?)
}
