//! Results as people read them. Lines of the comparison harness of the project's research are
//! read as well: the fields have the same names.

mod cells;
mod charts;
mod compare;
mod csv;
mod format;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::plot;
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
    /// Write them there too as comma-separated values, a line per run
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// Options of `bench plot`.
#[derive(Debug, Args)]
pub(crate) struct PlotArgs {
    /// Results, one line of JSON each
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The SVG file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
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
    if let Some(path) = &args.csv {
        write(path, &csv::render(&cells))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `bench plot`. Fails when there is nothing to draw.
pub(crate) fn plot(args: &PlotArgs) -> anyhow::Result<ExitCode> {
    let charts = charts::charts(&Cells::read(&args.files)?);
    ensure!(!charts.is_empty(), "there is no result in these files");
    write(&args.out, &plot::svg(&charts))?;
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
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
