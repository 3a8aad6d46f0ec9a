//! `peer name`: names that belong to one peer of the cluster.

use clap::Subcommand;
use tidings::control::{List, NameView, NamesView, Request};
use tidings_runtime::table::{self, Table, printable, short};

use crate::commands::common::Common;
use crate::commands::facts::facts_of_name;
use crate::failure::Failure;

const EXAMPLES: &str = "\
A name belongs to one peer of the cluster: a majority of the seeds decides. It is kept over a
restart of that peer; once that has been gone for `topic_orphan_after` another one may register it.

Examples:
  peer name register ada
  peer name info ada
  peer name list 'team/#'";

/// Register a name for this peer, give it up, list names, and see who has one
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Have a name that no other peer of the cluster has
    Register {
        /// The name, e.g. ada or team/ada
        name: String,
        /// Refuse a name that this peer has already
        #[arg(long)]
        new: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Give up a name of this peer
    Unregister {
        /// The name
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// List the names that the seeds know
    List {
        /// An MQTT filter, e.g. 'team/#'
        #[arg(default_value = "#")]
        filter: String,
        #[command(flatten)]
        common: Common,
    },
    /// Show which peer has a name, and where it is
    Info {
        /// The name
        name: String,
        #[command(flatten)]
        common: Common,
    },
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Register { name, new, common } => {
            one(&common, &Request::Register { name, exist_ok: !new }).await
        }
        Action::Info { name, common } => one(&common, &Request::NameInfo { name }).await,
        Action::Unregister { name, common } => {
            let said = format!("gave up '{}'", printable(&name));
            common.change(&Request::Unregister { name }, &said).await
        }
        Action::List { filter, common } => {
            let request = Request::Names(List { filter, ..List::default() });
            let found: NamesView = common.control.connect().await?.call(&request).await?;
            match common.json {
                true => Ok(table::print_json(&found)?),
                false => show(&found),
            }
        }
    }
}

async fn one(common: &Common, request: &Request) -> Result<(), Failure> {
    let found: NameView = common.control.connect().await?.call(request).await?;
    match common.json {
        true => Ok(table::print_json(&found)?),
        false => show_one(&found),
    }
}

/// Prints all that is known of a name for people.
pub(super) fn show_one(name: &NameView) -> Result<(), Failure> {
    Ok(facts_of_name(name).print()?)
}

/// Prints names for people.
pub(super) fn show(found: &NamesView) -> Result<(), Failure> {
    let mut rows = Table::new(["NAME", "HOST", "REGISTERED"]);
    for name in &found.names {
        rows.row([name.name.clone(), short(&name.host), name.registered_at.clone()]);
    }
    rows.print()?;
    if found.total > found.names.len() {
        eprintln!("{} of {} names", found.names.len(), found.total);
    }
    Ok(())
}
