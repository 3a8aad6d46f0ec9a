//! `seed forget`: a peer that is gone is listed no more.

use serde_json::json;
use tidings_proto::wire::frame::{AdminAnswer, AdminCommand, PeerItem};
use tidings_runtime::table::{print_json, printable, short};

use crate::commands::data::Data;
use crate::commands::operator::Operator;
use crate::failure::Failure;
use crate::http::views::state as state_name;

const HELP: &str = "\
Whoever can read the key in a seed's data directory may do this, on the host of that seed; the
seed must be running. `peer forget` does the same through a peer.

A peer that crashes is declared dead within 6 s by itself and then still listed as dead for some
time (dead_kept), and one that no neighbour misses is listed until its lease is over. This takes it
off the lists of a majority of the seeds at once. They look for themselves first, which takes 2 s: a
peer that answers is not forgotten. What it subscribed to goes with it, its topics stay; if it
lives, it may return with a new start.

Exit codes: 0 done, 1 failed, 2 usage, 3 refused (no such peer, several such peers, or it answers),
4 unreachable or no quorum.";

/// Take a peer that is gone off the lists of the seeds
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Its id or at least 8 of its first digits, its address, or its name
    #[arg(value_name = "NODE|ADDR|NAME")]
    peer: String,
    #[command(flatten)]
    data: Data,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let (config, directory) = args.data.find()?;
    let seed = Operator::of(&directory, config.cluster.name)?;
    let no_quorum = "no majority of the seeds has found it gone in time: try again";
    let answer = seed.ask(AdminCommand::Forget(args.peer), no_quorum).await?;
    let AdminAnswer::Forgotten(PeerItem { node, incarnation, address, name, state }) = answer
    else {
        return Err(Failure::failed("the seed answered something else"));
    };
    let (node, state) = (node.to_string(), state_name(state));
    if args.json {
        return Ok(print_json(&json!({ "peer": {
            "node": node, "addr": address, "name": name, "incarnation": incarnation.0,
            "state": state,
        } }))?);
    }
    let (node, name) = (short(&node), printable(&name));
    eprintln!("forgot {name} {address} ({node}), which was listed as {state}");
    Ok(())
}
