//! `peer status`: one peer at a glance.

use std::time::Duration;

use tidings::control::{Request, StatusView};

use crate::cli::Control;
use crate::failure::Failure;
use crate::span;
use crate::table::{self, Table, mark, printable, short};

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
    facts(&status)?;
    neighbors(&status)?;
    topics(&status)
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

/// An empty line, without the panic of `println!` on a closed pipe.
fn println_blank() -> Result<(), Failure> {
    use std::io::Write as _;
    Ok(writeln!(std::io::stdout())?)
}
