//! `seed config`: what is in force.

use std::io::{self, Write as _};

use crate::commands::run::Settings;
use crate::failure::Failure;

/// Print the configuration in force: file, then environment, then flags
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Settings,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let text = args.settings.load()?.to_toml();
    Ok(io::stdout().write_all(text.as_bytes())?)
}
