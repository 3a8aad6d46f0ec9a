//! `seed topics`: the topics that a seed lists.

use tidings_runtime::table::short;

use crate::commands::list::List;
use crate::failure::Failure;
use crate::http::views::Topic;

/// List the topics that a seed knows
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    list: List,
    /// An MQTT filter, as in 'sport/#' or '+/news'
    #[arg(long)]
    filter: Option<String>,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let head = ["TOPIC", "HOST", "SUBSCRIBERS", "CREATED"];
    let row = |topic: &Topic| {
        [
            topic.topic.clone(),
            short(&topic.host),
            topic.subscribers.len().to_string(),
            topic.created_at.clone(),
        ]
    };
    args.list.show("/v1/topics", args.filter.as_deref(), head, row).await
}
