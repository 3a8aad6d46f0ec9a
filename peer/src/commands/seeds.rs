//! `peer seeds`: the configured seeds, as the peer sees them.

use tidings::control::{Request, SeedView, SeedsView};
use tidings_runtime::table::{self, Table, short};

use crate::cli::Control;
use crate::failure::Failure;

/// List the configured seeds and how many are joined
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: Control,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let found: SeedsView = args.control.connect().await?.call(&Request::Seeds).await?;
    if args.json {
        return Ok(table::print_json(&found)?);
    }
    show(&found)
}

/// Prints them for people.
pub(super) fn show(found: &SeedsView) -> Result<(), Failure> {
    let mut rows = Table::new(["ADDRESS", "NODE", "STATE"]);
    for SeedView { addr, node, state } in &found.seeds {
        rows.row([addr.to_string(), short(node.as_deref().unwrap_or("")), state.clone()]);
    }
    rows.print()?;
    eprintln!("{} of {} joined, {} needed", found.joined, found.total, found.quorum);
    Ok(())
}
