//! `seed set`: who the seeds are, and one more or one less of them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tidings_proto::wire::frame::{AdminAnswer, AdminCommand, MemberState, SetMember, SetView};
use tidings_proto::wire::record::SeedPlace;
use tidings_runtime::table::{Table, mark, print_json};

use crate::commands::data::Data;
use crate::commands::operator::Operator;
use crate::failure::Failure;

const HELP: &str = "\
Whoever can read the key in a seed's data directory may do this, on the host of that seed; the
seed must be running. Any seed of the set will do.

Start a new seed first, with a configuration that names the present seeds and --listen with its
own address: it waits to be added. Then `seed set add` it. Seeds are added and removed one at a
time, while the cluster runs; until a change is over, decisions need a majority of the seeds
before it and one of those after it. A change that does not get over, because the new seed is
not there, is taken back by its opposite.

Exit codes: 0 done, 1 failed, 2 usage, 3 refused, 4 unreachable or no quorum. With 4 a change may
have begun: `seed set` says so.";

/// Show who the seeds are, or add or remove one while the cluster runs
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    data: Data,
    /// One JSON object
    #[arg(long, global = true)]
    json: bool,
    /// How many seconds to wait until a change is over; 0 for not at all
    #[arg(long, global = true, default_value_t = 60, value_name = "SECONDS")]
    wait: u32,
}

#[derive(Clone, Copy, Debug, clap::Subcommand)]
enum What {
    /// Show the seeds (what is done when nothing is said)
    Show,
    /// One more seed, which is running and waits for it
    Add {
        /// Its overlay address
        addr: SocketAddr,
        /// Its HTTP address, for people and views
        http: Option<SocketAddr>,
    },
    /// One seed less; it votes no more, and may be stopped afterwards
    Remove {
        /// Its overlay address
        addr: SocketAddr,
    },
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let (config, directory) = args.data.find()?;
    let seed = Operator::of(&directory, config.cluster.name)?;
    let command = match args.what {
        None | Some(What::Show) => AdminCommand::ShowSet,
        Some(What::Add { addr: address, http }) => {
            AdminCommand::AddSeed(SeedPlace { address, http })
        }
        Some(What::Remove { addr }) => AdminCommand::RemoveSeed(addr),
    };
    if let AdminCommand::AddSeed(place) = command {
        let new = seed.look(place.address).await?;
        may_be_added(place.address, &new, &ask(&seed, AdminCommand::ShowSet).await?)?;
    }
    let is_change = command != AdminCommand::ShowSet;
    let mut view = ask(&seed, command).await?;
    if is_change {
        view = follow(&seed, view, Duration::from_secs(args.wait.into())).await?;
    }
    if args.json { Ok(print_json(&as_json(&view))?) } else { print(&view) }
}

/// A seed that does not find the others, or is not found by them, would keep the change from
/// getting over.
fn may_be_added(address: SocketAddr, new: &SetView, set: &SetView) -> Result<(), Failure> {
    if new.own != address {
        let own = new.own;
        let text = format!("the seed at {address} says that it is at {own}: add it as that");
        return Err(Failure::refused(text));
    }
    let present = |member: &&SetMember| member.reachable && member.place.address != address;
    let present: Vec<_> = set.seeds.iter().filter(present).map(|m| m.place.address).collect();
    if new.seeds.iter().any(|known| present.contains(&known.place.address)) {
        return Ok(());
    }
    let (known, present) = (list(new.seeds.iter().map(|m| m.place.address)), list(present));
    let text = format!(
        "the seed at {address} would find none of the seeds that are there, {present}: it knows \
         {known}; start it with a configuration that names one of them"
    );
    Err(Failure::refused(text))
}

fn list(addresses: impl IntoIterator<Item = SocketAddr>) -> String {
    let addresses: Vec<_> = addresses.into_iter().map(|address| address.to_string()).collect();
    addresses.join(", ")
}

/// Waits until the change is over.
async fn follow(seed: &Operator, mut view: SetView, limit: Duration) -> Result<SetView, Failure> {
    let begun = Instant::now();
    if view.changing && limit > Duration::ZERO {
        eprintln!("decided; waiting until the seeds have settled what they hold");
    }
    while view.changing && limit > Duration::ZERO {
        if begun.elapsed() >= limit {
            let missing = missing(&view);
            let limit = limit.as_secs();
            let text = format!("not over after {limit} s: {missing}{}", opposite(&view));
            return Err(Failure::unreachable(text));
        }
        tokio::time::sleep(LOOK_EVERY).await;
        view = ask(seed, AdminCommand::ShowSet).await?;
    }
    Ok(view)
}

async fn ask(seed: &Operator, command: AdminCommand) -> Result<SetView, Failure> {
    let no_quorum = "no majority of the seeds took part; it may be done all the same";
    match seed.ask(command, no_quorum).await? {
        AdminAnswer::Set(view) => Ok(view),
        _ => Err(Failure::failed("the seed answered something else")),
    }
}

/// Who keeps a change from getting over.
fn missing(view: &SetView) -> String {
    let is_missing = |member: &&SetMember| !member.settled;
    let waits = view.seeds.iter().filter(is_missing).map(|member| {
        let word = if member.reachable { "still works" } else { "is not reachable" };
        format!("{} {word}", member.place.address)
    });
    waits.collect::<Vec<_>>().join(", ")
}

/// What takes the change back.
fn opposite(view: &SetView) -> String {
    let changed = view.seeds.iter().find(|member| member.state != MemberState::Stays);
    let word = |member: &SetMember| match member.state {
        MemberState::Goes => "add",
        _ => "remove",
    };
    changed.map_or_else(String::new, |member| {
        format!("; 'seed set {} {}' takes it back", word(member), member.place.address)
    })
}

fn word(state: MemberState) -> &'static str {
    match state {
        MemberState::Stays => "member",
        MemberState::Joins => "joins",
        MemberState::Goes => "goes",
    }
}

fn as_json(view: &SetView) -> serde_json::Value {
    let member = |member: &SetMember| {
        let SetMember { place, reachable, state, settled } = member;
        json!({
            "addr": place.address, "http": place.http, "state": word(*state),
            "reachable": reachable, "settled": settled, "own": place.address == view.own,
        })
    };
    let seeds: Vec<_> = view.seeds.iter().map(member).collect();
    json!({ "version": view.version, "changing": view.changing, "seeds": seeds })
}

fn print(view: &SetView) -> Result<(), Failure> {
    let mut table = Table::new(["ADDRESS", "HTTP", "STATE", "REACHABLE", "SETTLED"]);
    for member in &view.seeds {
        let SetMember { place, reachable, state, settled } = member;
        table.row([
            place.address.to_string(),
            place.http.map_or_else(String::new, |http| http.to_string()),
            word(*state).to_owned(),
            mark(*reachable),
            mark(*settled && view.changing),
        ]);
    }
    table.print()?;
    let state = if view.changing { "changing" } else { "in force" };
    eprintln!("version {}, {state}", view.version);
    Ok(())
}

const LOOK_EVERY: Duration = Duration::from_millis(100);
