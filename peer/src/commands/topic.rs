//! `peer topic`: create, delete, list, look at and keep topics.

use std::time::Duration;

use clap::Subcommand;
use tidings::TopicPolicy;
use tidings::control::{Keep, List, Request, Subscribe, TopicView, TopicsView};
use tidings_runtime::table::{self, Table, printable, short};

use crate::commands::begin::{Begin, Unread};
use crate::commands::common::Common;
use crate::commands::facts::facts;
use crate::failure::Failure;
use crate::{size, span};

const CREATE_EXAMPLES: &str = "\
Examples:
  peer topic create Sports
  peer topic create ledger --durable --retention-age 30d --retention-bytes 64MiB";

/// Create, delete, list and look at topics
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Host a new topic on this peer
    #[command(after_help = CREATE_EXAMPLES)]
    Create {
        /// The topic, e.g. sport/football
        topic: String,
        /// A topic that this peer hosts already is fine
        #[arg(long)]
        exist_ok: bool,
        #[command(flatten)]
        kept: Kept,
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
        /// An MQTT filter, e.g. 'sport/#'; what begins with '$' needs one that does: '$reply/#'
        #[arg(default_value = "#")]
        filter: String,
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
        #[command(flatten)]
        begin: Begin,
        #[command(flatten)]
        unread: Unread,
        /// Keep the log of a durable topic on this peer's disk too
        #[arg(long)]
        durable: bool,
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

/// How much of a topic is kept.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Kept {
    /// The host keeps the log on its disk, and so do subscribers that ask for it: it is there
    /// after all were killed
    #[arg(long)]
    durable: bool,
    /// Keep at most so much, e.g. 16MiB, 500KB, 1000000 [default: as each peer is configured]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    retention_bytes: Option<u64>,
    /// Keep nothing that is older, e.g. 10m, 36h [default: as each peer is configured]
    #[arg(long, value_name = "DURATION", value_parser = span::parse)]
    retention_age: Option<Duration>,
}

impl Kept {
    fn policy(self) -> Keep {
        let age_ms = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Keep(TopicPolicy {
            retention_bytes: self.retention_bytes,
            retention_age_ms: self.retention_age.map(age_ms),
            durable: self.durable,
        })
    }
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Create { topic, exist_ok, kept, common } => {
            let request = Request::CreateTopic { topic, exist_ok, policy: kept.policy() };
            let created: TopicView = common.control.connect().await?.call(&request).await?;
            match common.json {
                true => Ok(table::print_json(&created)?),
                false => print(&[created]),
            }
        }
        Action::Info { topic, common } => {
            let request = Request::TopicInfo { topic };
            let found: TopicView = common.control.connect().await?.call(&request).await?;
            match common.json {
                true => Ok(table::print_json(&found)?),
                false => print_one(&found),
            }
        }
        Action::List { filter, common } => list(filter, &common).await,
        Action::Delete { topic, common } => {
            let said = format!("deleted '{}'", printable(&topic));
            common.change(&Request::DeleteTopic { topic }, &said).await
        }
        Action::Subscribe { topic, begin, unread, durable, common } => {
            let said = format!("keeping '{}' for pull", printable(&topic));
            let mut subscribe = Subscribe::new(topic).starting(begin.start());
            subscribe.policy = unread.policy()?;
            subscribe.durable = durable;
            common.change(&Request::Subscribe(subscribe), &said).await
        }
        Action::Unsubscribe { topic, common } => {
            let said = format!("keeping '{}' no more", printable(&topic));
            common.change(&Request::Unsubscribe { topic }, &said).await
        }
    }
}

async fn list(filter: String, common: &Common) -> Result<(), Failure> {
    let request = Request::ListTopics(List { filter, ..List::default() });
    let found: TopicsView = common.control.connect().await?.call(&request).await?;
    if common.json {
        return Ok(table::print_json(&found)?);
    }
    print(&found.topics)?;
    if found.total > found.topics.len() {
        eprintln!("{} of {} topics", found.topics.len(), found.total);
    }
    Ok(())
}

/// Prints all that is known of a topic for people.
pub(super) fn print_one(topic: &TopicView) -> Result<(), Failure> {
    Ok(facts(topic).print()?)
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
