//! Results as people read them. Lines of the comparison harness of the project's research are
//! read as well: the fields have the same names.

mod cells;
mod compare;
mod format;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::report::cells::Cells;

/// Options of `bench table`.
#[derive(Debug, Args)]
pub(crate) struct TableArgs {
    /// Results, one line of JSON each
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also print each system's ratio to this one
    #[arg(long, value_name = "SYSTEM")]
    ratio_to: Option<String>,
}

/// Options of `bench compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Results to compare with
    #[arg(value_name = "A.json")]
    before: PathBuf,
    /// Results that are compared
    #[arg(value_name = "B.json")]
    after: PathBuf,
}

/// `bench table`.
pub(crate) fn table(args: &TableArgs) -> anyhow::Result<ExitCode> {
    let cells = Cells::read(&args.files)?;
    print!("{}", table::render(&cells, args.ratio_to.as_deref()));
    Ok(ExitCode::SUCCESS)
}

/// `bench compare`. Fails when the two have nothing in common.
pub(crate) fn compare(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    let before = Cells::read(std::slice::from_ref(&args.before))?;
    let after = Cells::read(std::slice::from_ref(&args.after))?;
    match compare::render(&before, &after) {
        Some(text) => {
            print!("{text}");
            Ok(ExitCode::SUCCESS)
        }
        None => anyhow::bail!("no scenario, number of peers and size occurs in both"),
    }
}
