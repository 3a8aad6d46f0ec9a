//! `peer peers`: who is in the cluster.

use tidings::control::{LIST_DEFAULT, LIST_MAX, List, PeerView, PeersView, Request};
use tidings_runtime::table::{self, Table, mark, short};

use crate::cli::Control;
use crate::failure::Failure;

/// List the peers that the seeds know
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A part of name, address or id
    filter: Option<String>,
    /// Leave out so many
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u32,
    /// List at most so many
    #[arg(long, value_name = "N", default_value_t = LIST_DEFAULT)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(LIST_MAX)))]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: Control,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let Args { filter, offset, limit, json, control } = args;
    let list = List { filter: filter.unwrap_or_default(), offset, limit };
    let found: PeersView = control.connect().await?.call(&Request::Peers(list)).await?;
    if json {
        return Ok(table::print_json(&found)?);
    }
    show(&found)
}

/// Prints them for people.
pub(super) fn show(found: &PeersView) -> Result<(), Failure> {
    let mut rows = Table::new(["NODE", "ADDRESS", "NAME", "STATE", "INCARNATION", "NEIGHBOUR"]);
    for peer in &found.peers {
        let PeerView { node, addr, name, incarnation, state, neighbor } = peer;
        rows.row([
            short(node),
            addr.to_string(),
            name.clone(),
            state.clone(),
            incarnation.to_string(),
            mark(*neighbor),
        ]);
    }
    rows.print()?;
    if found.total > found.peers.len() {
        eprintln!("{} of {} peers", found.peers.len(), found.total);
    }
    Ok(())
}
