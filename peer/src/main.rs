//! The program `peer`: runs a peer, and talks to a running one.

mod cli;
mod commands;
mod failure;
mod size;
mod span;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
