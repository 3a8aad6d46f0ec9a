//! `seed deaths`: why peers were declared dead.

use tidings_runtime::table::{Table, print_json, short};

use crate::commands::{Ask, Part};
use crate::failure::Failure;
use crate::http::views::{Death, Items};

/// List the last 256 verdicts of death, the newest first: who reported a peer, how the seed's own
/// probe of it went, and which seeds voted
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
    let path = format!("/v1/deaths{}", args.part.query(args.filter.as_deref()));
    let page: Items<Death> = args.ask.get(&path).await?;
    if args.json {
        return Ok(print_json(&page)?);
    }
    let head = ["AT", "NODE", "ADDRESS", "NAME", "REPORTED BY", "PROBE", "VOTED"];
    let mut table = Table::new(head);
    for death in &page.items {
        table.row([
            death.at.clone(),
            short(&death.node),
            death.addr.to_string(),
            death.name.clone(),
            names(&death.reporters),
            death.probe.clone(),
            names(&death.voters),
        ]);
    }
    table.print()?;
    args.part.note(page.items.len(), page.total);
    Ok(())
}

/// The first digits of each id.
fn names(nodes: &[String]) -> String {
    let short: Vec<_> = nodes.iter().map(|node| short(node)).collect();
    short.join(",")
}
