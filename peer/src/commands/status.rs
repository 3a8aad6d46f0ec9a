//! `peer status`: one peer at a glance.

use std::time::Duration;

use tidings::control::{Request, StatusView, TrafficView};
use tidings_runtime::table::{self, Table, mark, printable, short};

use crate::cli::Control;
use crate::failure::Failure;
use crate::span;

/// Show the peer: its seeds, neighbours, topics and counters
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: Control,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let status: StatusView = args.control.connect().await?.call(&Request::Status).await?;
    if args.json {
        return Ok(table::print_json(&status)?);
    }
    show(&status)
}

/// Prints it for people.
pub(super) fn show(status: &StatusView) -> Result<(), Failure> {
    facts(status)?;
    neighbors(status)?;
    topics(status)?;
    traffic(status)?;
    waiting(status)?;
    streams(status)
}

fn facts(status: &StatusView) -> Result<(), Failure> {
    let mut rows = Table::new(["PEER", ""]);
    let mut fact = |name: &str, value: String| rows.row([name.to_owned(), value]);
    let joined = if status.joined { "joined" } else { "not joined" };
    let StatusView { seeds_joined, quorum, .. } = status;
    fact("node", status.node.clone());
    fact("name", status.name.clone());
    fact("listen", status.listen.to_string());
    fact("control", status.control.map_or_else(String::new, |control| control.to_string()));
    fact("http", status.http.map_or_else(String::new, |http| http.to_string()));
    fact("seeds", format!("{joined}: {seeds_joined}, {quorum} needed"));
    fact("uptime", span::show(Duration::from_millis(status.uptime_ms)));
    fact("version", status.version.clone());
    for (name, value) in status.counters.iter().filter(|(_, value)| **value > 0) {
        fact(name, value.to_string());
    }
    Ok(rows.print()?)
}

fn neighbors(status: &StatusView) -> Result<(), Failure> {
    let mut rows = Table::new(["NEIGHBOUR", "ADDRESS", "NAME", "DIALLED", "TOPICS"]);
    for neighbor in &status.neighbors {
        rows.row([
            short(&neighbor.node),
            neighbor.addr.to_string(),
            neighbor.name.clone(),
            mark(neighbor.outbound),
            neighbor.topics.to_string(),
        ]);
    }
    println_blank()?;
    Ok(rows.print()?)
}

fn topics(status: &StatusView) -> Result<(), Failure> {
    let mut rows = Table::new(["TOPIC", "SUBSCRIBED", "HOSTED", "NEIGHBOURS", "RETAINED"]);
    for topic in &status.topics {
        rows.row([
            printable(&topic.topic),
            mark(topic.subscribed),
            mark(topic.hosted),
            topic.neighbors.to_string(),
            format!("{} bytes", topic.retained_bytes),
        ]);
    }
    println_blank()?;
    Ok(rows.print()?)
}

/// Frames by what they were for; those that were never seen are left out.
fn traffic(status: &StatusView) -> Result<(), Failure> {
    let mut rows = Table::new(["FRAMES", "SENT", "BYTES", "RECEIVED", "BYTES"]);
    for (kind, TrafficView { sent, received }) in &status.network.traffic {
        if sent.frames + received.frames > 0 {
            let cells = [sent.frames, sent.bytes, received.frames, received.bytes];
            let [a, b, c, d] = cells.map(|n| n.to_string());
            rows.row([kind.clone(), a, b, c, d]);
        }
    }
    rows_after_blank(&rows)
}

/// What waits on links and what was shed, if anything was.
fn waiting(status: &StatusView) -> Result<(), Failure> {
    let network = &status.network;
    let mut rows = Table::new(["QUEUE", "LINK", "CLASS", "FRAMES", "BYTES"]);
    for link in &network.links {
        for (class, count) in link.queued.iter().filter(|(_, count)| count.frames > 0) {
            let (frames, bytes) = (count.frames.to_string(), count.bytes.to_string());
            rows.row(["waiting".to_owned(), short(&link.node), class.clone(), frames, bytes]);
        }
    }
    for (reason, classes) in &network.shed {
        for (class, count) in classes.iter().filter(|(_, count)| count.frames > 0) {
            let (frames, bytes) = (count.frames.to_string(), count.bytes.to_string());
            rows.row([format!("shed: {reason}"), "all".to_owned(), class.clone(), frames, bytes]);
        }
    }
    if rows.is_empty() { Ok(()) } else { rows_after_blank(&rows) }
}

/// The streams that need a look most.
fn streams(status: &StatusView) -> Result<(), Failure> {
    if status.streams.is_empty() {
        return Ok(());
    }
    let mut rows = Table::new(["STREAM", "ORIGIN", "SEQ", "MISSING", "HELD BACK", "LAG"]);
    for stream in status.streams.iter().take(STREAMS_MAX) {
        rows.row([
            printable(&stream.topic),
            short(&stream.origin),
            stream.seq.to_string(),
            stream.missing.to_string(),
            format!("{} batches", stream.held_batches),
            stream.lag_us.map_or_else(String::new, |us| format!("{:.1} ms", us as f64 / 1e3)),
        ]);
    }
    rows_after_blank(&rows)?;
    let more = status.streams_total.saturating_sub(STREAMS_MAX);
    if more > 0 {
        use std::io::Write as _;
        writeln!(std::io::stdout(), "and {more} more: --json shows up to 256")?;
    }
    Ok(())
}

fn rows_after_blank<const N: usize>(rows: &Table<N>) -> Result<(), Failure> {
    println_blank()?;
    Ok(rows.print()?)
}

/// Streams shown to people.
const STREAMS_MAX: usize = 10;

/// An empty line, without the panic of `println!` on a closed pipe.
fn println_blank() -> Result<(), Failure> {
    use std::io::Write as _;
    Ok(writeln!(std::io::stdout())?)
}
