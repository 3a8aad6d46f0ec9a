//! `seed deaths`: why peers were declared dead.

use tidings_runtime::table::short;

use crate::commands::list::List;
use crate::failure::Failure;
use crate::http::views::Death;

/// List the last 256 verdicts of death, the newest first: who reported a peer, how the seed's own
/// probe of it went, and which seeds voted
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    list: List,
    /// A part of name, address or id
    #[arg(long)]
    filter: Option<String>,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let head = ["AT", "NODE", "ADDRESS", "NAME", "REPORTED BY", "PROBE", "VOTED"];
    let row = |death: &Death| {
        [
            death.at.clone(),
            short(&death.node),
            death.addr.to_string(),
            death.name.clone(),
            names(&death.reporters),
            death.probe.clone(),
            names(&death.voters),
        ]
    };
    args.list.show("/v1/deaths", args.filter.as_deref(), head, row).await
}

/// The first digits of each id.
fn names(nodes: &[String]) -> String {
    let short: Vec<_> = nodes.iter().map(|node| short(node)).collect();
    short.join(",")
}
