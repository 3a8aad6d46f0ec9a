//! `seed peers`: the peers that a seed lists.

use tidings_runtime::table::short;

use crate::commands::list::List;
use crate::failure::Failure;
use crate::http::views::Peer;

/// List the peers that a seed knows, the dead of the last minutes included
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    list: List,
    /// A part of name, address or id
    #[arg(long)]
    filter: Option<String>,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let head = ["NODE", "ADDRESS", "NAME", "STATE", "NEIGHBORS", "TOPICS", "LEASE"];
    let row = |peer: &Peer| {
        [
            short(&peer.node),
            peer.addr.to_string(),
            peer.name.clone(),
            peer.state.clone(),
            peer.neighbors.len().to_string(),
            peer.topics.join(","),
            format!("{} s", peer.lease_ms / 1_000),
        ]
    };
    args.list.show("/v1/peers", args.filter.as_deref(), head, row).await
}
