//! `peer sessions`: who has a session at this peer, and how far it is.

use std::time::Duration;

use tidings::control::{
    LIST_DEFAULT, LIST_MAX, Request, SessionView, SessionsView, SubscriptionView,
};
use tidings_runtime::table::{self, Table, mark};

use crate::cli::Control;
use crate::failure::Failure;
use crate::span;

/// List the sessions of the peer: what each receives, how far it is, and when it expires
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
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
    let Args { offset, limit, json, control } = args;
    let request = Request::Sessions { offset, limit };
    let found: SessionsView = control.connect().await?.call(&request).await?;
    if json {
        return Ok(table::print_json(&found)?);
    }
    show(&found)
}

/// Prints them for people: a row for each topic of each session.
pub(super) fn show(found: &SessionsView) -> Result<(), Failure> {
    let mut rows =
        Table::new(["SESSION", "STATE", "TOPIC", "EVENTS", "CURSOR", "UNREAD", "UNCONFIRMED"]);
    for session in &found.sessions {
        let SessionView { name, live, expires_in_ms, topics, subscriptions, .. } = session;
        let name = name.clone().unwrap_or_else(|| "(the peer's own)".to_owned());
        let state = match expires_in_ms {
            Some(ms) => format!("ends in {}", span::show(Duration::from_millis(*ms))),
            None if *live => "in use".to_owned(),
            None => "lost".to_owned(),
        };
        if subscriptions.is_empty() {
            let nothing = String::new;
            rows.row([name, state, nothing(), nothing(), nothing(), nothing(), nothing()]);
            continue;
        }
        for subscription in subscriptions {
            let SubscriptionView { topic, stream, unread, cursor, unconfirmed, .. } = subscription;
            rows.row([
                name.clone(),
                state.clone(),
                topic.clone(),
                mark(*stream),
                cursor.to_string(),
                unread.to_string(),
                unconfirmed.to_string(),
            ]);
        }
        let more = topics.saturating_sub(subscriptions.len());
        if more > 0 {
            let rest = format!("and {more} more");
            let nothing = String::new;
            rows.row([name, state, rest, nothing(), nothing(), nothing(), nothing()]);
        }
    }
    rows.print()?;
    if found.total > found.sessions.len() {
        eprintln!("{} of {} sessions", found.sessions.len(), found.total);
    }
    Ok(())
}
