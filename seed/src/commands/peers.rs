//! `seed peers`: the peers that a seed lists.

use tidings_runtime::table::{Table, print_json, short};

use crate::commands::{Ask, Part};
use crate::failure::Failure;
use crate::http::views::{Items, Peer};

/// List the peers that a seed knows, the dead of the last minutes included
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    ask: Ask,
    #[command(flatten)]
    part: Part,
    /// A part of name, address or id
    #[arg(long)]
    filter: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let path = format!("/v1/peers{}", args.part.query(args.filter.as_deref()));
    let page: Items<Peer> = args.ask.get(&path).await?;
    if args.json {
        return Ok(print_json(&page)?);
    }
    let head = ["NODE", "ADDRESS", "NAME", "STATE", "NEIGHBORS", "TOPICS", "LEASE"];
    let mut table = Table::new(head);
    for peer in &page.items {
        table.row([
            short(&peer.node),
            peer.addr.to_string(),
            peer.name.clone(),
            peer.state.clone(),
            peer.neighbors.len().to_string(),
            peer.topics.join(","),
            format!("{} s", peer.lease_ms / 1_000),
        ]);
    }
    table.print()?;
    args.part.note(page.items.len(), page.total);
    Ok(())
}
