//! `seed man`: manual pages.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::failure::Failure;

/// Print the manual page, or write one for each command, e.g. `seed man --dir man/man1`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write a page for this program and for each of its commands there
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let command = Cli::command();
    let Some(dir) = args.dir else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        return Ok(io::stdout().write_all(&page)?);
    };
    fs::create_dir_all(&dir)?;
    Ok(clap_mangen::generate_to(command, &dir)?)
}
