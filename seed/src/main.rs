//! The program `seed`: runs a seed, and shows what running ones know.

mod cli;
mod client;
mod commands;
mod failure;
mod host;
mod http;
mod notices;
mod store;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
