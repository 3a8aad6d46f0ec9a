//! `seed topics`: the topics that a seed lists.

use tidings_runtime::table::{Table, print_json, short};

use crate::commands::{Ask, Part};
use crate::failure::Failure;
use crate::http::views::{Items, Topic};

/// List the topics that a seed knows
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    ask: Ask,
    #[command(flatten)]
    part: Part,
    /// An MQTT filter, as in 'sport/#' or '+/news'
    #[arg(long)]
    filter: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let path = format!("/v1/topics{}", args.part.query(args.filter.as_deref()));
    let page: Items<Topic> = args.ask.get(&path).await?;
    if args.json {
        return Ok(print_json(&page)?);
    }
    let mut table = Table::new(["TOPIC", "HOST", "SUBSCRIBERS", "CREATED"]);
    for topic in &page.items {
        table.row([
            topic.topic.clone(),
            short(&topic.host),
            topic.subscribers.len().to_string(),
            topic.created_at.clone(),
        ]);
    }
    table.print()?;
    args.part.note(page.items.len(), page.total);
    Ok(())
}
