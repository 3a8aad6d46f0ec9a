//! `peer pull`: take messages that the peer's permanent session has kept.

use std::io::{self, BufWriter, Write as _};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidings::control::{
    Client, ClientError, Code, PULL_DEFAULT, PULL_MAX, Pull, PullView, Request, Subscribe,
};
use tidings_runtime::table;

use crate::cli::Control;
use crate::commands::message::{Style, note_gap};
use crate::failure::Failure;
use crate::span;

/// A pull waits at the peer for at most this: one that is interrupted must not take a message
/// long afterwards.
const STEP: Duration = Duration::from_secs(1);

/// Take the messages of a topic that the peer has kept since the session subscribed to it
///
/// The first pull of a topic subscribes the session; `peer topic unsubscribe` ends that.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peer pull Sports
  peer pull Sports --max 10 --wait 5s    exit code 27 when nothing comes in 5 s")]
pub(crate) struct Args {
    /// The topic
    topic: String,
    /// Take at most so many
    #[arg(long, value_name = "N", default_value_t = PULL_DEFAULT)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(PULL_MAX)))]
    max: u32,
    /// Wait for the first one, e.g. 5s
    #[arg(long, value_name = "DURATION", value_parser = span::parse)]
    wait: Option<Duration>,
    #[command(flatten)]
    style: Style,
    #[command(flatten)]
    control: Control,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let mut client = args.control.connect().await?;
    let pulled = pull(&mut client, &args).await?;
    print(&args, &pulled)?;
    match args.wait {
        Some(wait) if is_empty(&pulled) => {
            Err(Failure::timed_out(format!("no message in {}", span::show(wait))))
        }
        _ => Ok(()),
    }
}

async fn pull(client: &mut Client, args: &Args) -> Result<PullView, Failure> {
    let until = Instant::now() + args.wait.unwrap_or_default();
    loop {
        let wait = until.saturating_duration_since(Instant::now()).min(STEP);
        let request = Request::Pull(Pull {
            topic: Some(args.topic.clone()),
            max: args.max,
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(0),
        });
        match client.call::<PullView>(&request).await {
            Err(ClientError::Refused(problem)) if problem.code == Code::NotSubscribed => {
                subscribe(client, &args.topic).await?;
            }
            Ok(pulled) if is_empty(&pulled) && Instant::now() < until => {}
            result => return Ok(result?),
        }
    }
}

async fn subscribe(client: &mut Client, topic: &str) -> Result<(), Failure> {
    let topic = topic.to_owned();
    let shown = table::printable(&topic);
    let request = Request::Subscribe(Subscribe::new(topic));
    client.call::<Value>(&request).await?;
    eprintln!("subscribed to '{shown}': what is published from now on is kept for pull");
    Ok(())
}

fn is_empty(pulled: &PullView) -> bool {
    pulled.messages.is_empty() && pulled.gaps.is_empty() && pulled.topics_deleted.is_empty()
}

fn print(args: &Args, pulled: &PullView) -> Result<(), Failure> {
    if args.style.json {
        return Ok(table::print_json(pulled)?);
    }
    let mut out = BufWriter::new(io::stdout());
    for message in &pulled.messages {
        args.style.write(&mut out, message)?;
    }
    out.flush()?;
    pulled.gaps.iter().for_each(note_gap);
    for topic in &pulled.topics_deleted {
        eprintln!("peer: topic '{}' was deleted", table::printable(topic));
    }
    if pulled.remaining > 0 {
        eprintln!("{} more wait", pulled.remaining);
    }
    Ok(())
}
