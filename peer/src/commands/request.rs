//! `peer request`: publish a message and print the replies to it.

use std::io::{self, BufWriter, IsTerminal as _, Read as _, Write as _};
use std::time::Duration;

use bytes::Bytes;
use tidings::control::{
    Ask, Body, ClientError, Code, REPLIES_MAX, RepliesView, Request, TIMEOUT_MS_MAX,
};
use tidings_runtime::table;

use crate::cli::Control;
use crate::commands::headers;
use crate::commands::message::Style;
use crate::failure::Failure;
use crate::span;

/// No longer message can be published.
const BODY_BYTES_MAX: u64 = 1 << 20;
/// The header in which `peer reply` says that its command failed.
pub(crate) const ERROR: &str = "error";

/// Publish a request and print the replies to it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peer request time now
  peer request time now --raw --timeout 500ms
  echo '2+2' | peer request sums --raw
  peer request census 'who is there?' --replies 10 --timeout 2s

Exit code 27 when fewer replies than wanted come in time; those that came are printed.")]
pub(crate) struct Args {
    /// The topic
    topic: String,
    /// The message; without it all of standard input
    body: Option<String>,
    /// A header of the request, e.g. -H priority:high; may be repeated
    #[arg(short = 'H', long, value_name = "KEY:VALUE", value_parser = headers::parse)]
    header: Vec<(String, String)>,
    /// Give up after this
    #[arg(long, value_name = "DURATION", value_parser = span::parse, default_value = "5s")]
    timeout: Duration,
    /// Wait for so many replies, of different peers
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(REPLIES_MAX)))]
    replies: u32,
    #[command(flatten)]
    style: Style,
    #[command(flatten)]
    control: Control,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let millis = u64::try_from(args.timeout.as_millis()).unwrap_or(TIMEOUT_MS_MAX);
    let ask = Ask {
        topic: args.topic,
        body: Body(body(args.body)?),
        headers: headers::of(args.header)?,
        timeout_ms: millis.clamp(1, TIMEOUT_MS_MAX),
        replies: args.replies,
    };
    let mut client = args.control.connect().await?;
    let answered: RepliesView = match client.call(&Request::Request(ask)).await {
        Err(ClientError::Refused(problem)) if problem.code == Code::Timeout => {
            return Err(Failure::timed_out(problem.message));
        }
        answered => answered?,
    };
    print(args.style, &answered)?;
    let failed = answered.replies.iter().find_map(|reply| reply.headers.get(ERROR));
    if let Some(error) = failed {
        return Err(Failure::failed(format!("a reply says: {}", table::printable(error))));
    }
    let came = answered.replies.len();
    match args.replies as usize {
        wanted if came < wanted => {
            let waited = span::show(args.timeout);
            Err(Failure::timed_out(format!("{came} of {wanted} replies came in {waited}")))
        }
        _ => Ok(()),
    }
}

/// The argument, or all of standard input unless a person would have to type it unasked.
fn body(argument: Option<String>) -> Result<Bytes, Failure> {
    if let Some(body) = argument {
        return Ok(body.into());
    }
    if io::stdin().is_terminal() {
        return Err(Failure::usage("nothing to ask: give a BODY, '' for none, or pipe it into it"));
    }
    let mut body = Vec::new();
    io::stdin().lock().take(BODY_BYTES_MAX + 1).read_to_end(&mut body)?;
    Ok(body.into())
}

fn print(style: Style, answered: &RepliesView) -> Result<(), Failure> {
    if style.json {
        return Ok(table::print_json(answered)?);
    }
    let mut out = BufWriter::new(io::stdout());
    for reply in &answered.replies {
        style.write(&mut out, reply)?;
    }
    Ok(out.flush()?)
}
