//! `peer forget`: a peer that is gone is listed no more.

use tidings::control::{ForgottenView, PeerView, Request};
use tidings_runtime::table::{print_json, printable, short};

use crate::cli::Control;
use crate::failure::Failure;

const HELP: &str = "\
A peer that crashes is declared dead within 6 s by itself and then still listed as dead for some
time, and one that no neighbour misses is listed until its lease is over. This takes it off the
lists of the seeds at once. The seeds look for themselves first, which takes 2 s: a peer that
answers is not forgotten. What it subscribed to goes with it, its topics stay; if it lives, it may
return with a new start.

Exit codes: 0 done, 3 refused (no such peer, several such peers, or it answers), 4 unreachable or
no quorum of seeds.";

/// Take a peer that is gone off the lists of the seeds
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Its id or at least 8 of its first digits, its address, or its name
    #[arg(value_name = "NODE|ADDR|NAME")]
    peer: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: Control,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let Args { peer, json, control } = args;
    let request = Request::Forget { peer };
    let forgotten: ForgottenView = control.connect().await?.call(&request).await?;
    if json {
        return Ok(print_json(&forgotten)?);
    }
    show(&forgotten);
    Ok(())
}

/// Tells people.
pub(super) fn show(forgotten: &ForgottenView) {
    let PeerView { node, addr, name, state, .. } = &forgotten.peer;
    let (node, name) = (short(node), printable(name));
    eprintln!("forgot {name} {addr} ({node}), which was listed as {state}");
}
