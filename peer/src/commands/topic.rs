//! `peer topic`: create, delete, list, look at and keep topics.

use clap::Subcommand;
use serde_json::Value;
use tidings::control::{
    Client, Done, Keep, List, Request, Start, Subscribe, TopicView, TopicsView,
};

use crate::cli::Control;
use crate::failure::Failure;
use crate::table::{self, Table, printable, short};

/// Create, delete, list and look at topics
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Host a new topic on this peer
    Create {
        /// The topic, e.g. sport/football
        topic: String,
        /// A topic that this peer hosts already is fine
        #[arg(long)]
        exist_ok: bool,
        #[command(flatten)]
        common: Common,
    },
    /// End a topic that this peer hosts, for all its subscribers
    Delete {
        /// The topic
        topic: String,
        #[command(flatten)]
        common: Common,
    },
    /// List the topics that the seeds know
    List {
        /// An MQTT filter, e.g. 'sport/#'
        filter: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Show what the seeds know of a topic
    Info {
        /// The topic
        topic: String,
        #[command(flatten)]
        common: Common,
    },
    /// Keep the messages of a topic for `peer pull`
    Subscribe {
        /// The topic
        topic: String,
        /// Begin with everything that the peer and its neighbours retain
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Keep the messages of a topic no more
    Unsubscribe {
        /// The topic
        topic: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: Control,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Create { topic, exist_ok, common } => {
            let request = Request::CreateTopic { topic, exist_ok, policy: Keep::default() };
            let created: TopicView = connect(&common).await?.call(&request).await?;
            show(&common, &created)
        }
        Action::Info { topic, common } => {
            let request = Request::TopicInfo { topic };
            let found: TopicView = connect(&common).await?.call(&request).await?;
            show(&common, &found)
        }
        Action::List { filter, common } => list(filter.unwrap_or_default(), &common).await,
        Action::Delete { topic, common } => {
            let said = format!("deleted '{}'", printable(&topic));
            change(&common, &Request::DeleteTopic { topic }, &said).await
        }
        Action::Subscribe { topic, all, common } => {
            let said = format!("keeping '{}' for pull", printable(&topic));
            let from = if all { Start::All } else { Start::New };
            change(&common, &Request::Subscribe(Subscribe::new(topic).starting(from)), &said).await
        }
        Action::Unsubscribe { topic, common } => {
            let said = format!("keeping '{}' no more", printable(&topic));
            change(&common, &Request::Unsubscribe { topic }, &said).await
        }
    }
}

async fn connect(common: &Common) -> Result<Client, Failure> {
    common.control.connect().await
}

/// Asks for a change that has nothing to show.
async fn change(common: &Common, request: &Request, said: &str) -> Result<(), Failure> {
    connect(common).await?.call::<Value>(request).await?;
    if common.json {
        return Ok(table::print_json(&Done {})?);
    }
    eprintln!("{said}");
    Ok(())
}

async fn list(filter: String, common: &Common) -> Result<(), Failure> {
    let request = Request::ListTopics(List { filter, ..List::default() });
    let found: TopicsView = connect(common).await?.call(&request).await?;
    if common.json {
        return Ok(table::print_json(&found)?);
    }
    print(&found.topics)?;
    if found.total > found.topics.len() {
        eprintln!("{} of {} topics", found.topics.len(), found.total);
    }
    Ok(())
}

fn show(common: &Common, topic: &TopicView) -> Result<(), Failure> {
    match common.json {
        true => Ok(table::print_json(topic)?),
        false => print(std::slice::from_ref(topic)),
    }
}

/// Prints topics for people.
pub(super) fn print(topics: &[TopicView]) -> Result<(), Failure> {
    let mut rows = Table::new(["TOPIC", "HOST", "CREATED", "SUBSCRIBERS"]);
    for topic in topics {
        let TopicView { topic, host, created_at, subscribers, .. } = topic;
        rows.row([topic.clone(), short(host), created_at.clone(), subscribers.to_string()]);
    }
    Ok(rows.print()?)
}
