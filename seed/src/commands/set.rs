//! `seed set`: who the seeds are, and one more or one less of them.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use tidings_proto::wire::frame::{AdminAnswer, AdminCommand, MemberState, SetMember, SetView};
use tidings_proto::wire::record::SeedPlace;
use tidings_runtime::NodeKey;
use tidings_runtime::admin::{self, AdminError};
use tidings_runtime::data::KEY;
use tidings_runtime::ports_file::Ports;
use tidings_runtime::table::{Table, mark, print_json};

use crate::commands::data::Data;
use crate::commands::run::PORTS;
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
        seed.look(place.address).await?;
    }
    let mut view = seed.ask(command).await?;
    if command != AdminCommand::ShowSet {
        view = seed.follow(view, Duration::from_secs(args.wait.into())).await?;
    }
    if args.json { Ok(print_json(&as_json(&view))?) } else { print(&view) }
}

/// The way to a seed of which one has the key.
struct Operator {
    key: NodeKey,
    address: SocketAddr,
    cluster: String,
}

impl Operator {
    fn of(directory: &Path, cluster: String) -> Result<Self, Failure> {
        let key = NodeKey::load(&directory.join(KEY));
        let key = key.map_err(|error| Failure::failed(error.to_string()))?;
        let path = directory.join(PORTS);
        let ports = Ports::read(&path).map_err(|error| {
            let path = path.display();
            Failure::unreachable(format!("{path}: {error}; the seed has not run there yet"))
        })?;
        Ok(Self { key, address: ports.listen, cluster })
    }

    /// A seed that is not there would keep the change from getting over.
    async fn look(&self, address: SocketAddr) -> Result<(), Failure> {
        match admin::look(address, &self.key, &self.cluster).await {
            Ok(()) => Ok(()),
            Err(AdminError::Refused(text)) => Err(Failure::refused(format!("{address}: {text}"))),
            Err(error) => {
                let text = format!("no seed answers at {address}, start it first: {error}");
                Err(Failure::unreachable(text))
            }
        }
    }

    async fn ask(&self, command: AdminCommand) -> Result<SetView, Failure> {
        let address = self.address;
        match admin::ask(address, (&self.key, &self.cluster), command).await {
            Ok(AdminAnswer::Set(view)) => Ok(view),
            Ok(AdminAnswer::Refused(text)) => Err(Failure::refused(text)),
            Ok(AdminAnswer::NoQuorum) => {
                let text = "no majority of the seeds took part; it may be done all the same";
                Err(Failure::unreachable(text))
            }
            Err(AdminError::Refused(text)) => Err(Failure::refused(format!("{address}: {text}"))),
            Err(error) => {
                let text = format!("no answer from the seed at {address}: {error}");
                Err(Failure::unreachable(text))
            }
        }
    }

    /// Waits until the change is over.
    async fn follow(&self, mut view: SetView, limit: Duration) -> Result<SetView, Failure> {
        let begun = Instant::now();
        if view.changing && limit > Duration::ZERO {
            eprintln!("decided; waiting until the seeds have settled what they hold");
        }
        while view.changing && limit > Duration::ZERO {
            if begun.elapsed() >= limit {
                let missing = missing(&view);
                let text = format!("not over after {} s: {missing}", limit.as_secs());
                return Err(Failure::unreachable(text));
            }
            tokio::time::sleep(LOOK_EVERY).await;
            view = self.ask(AdminCommand::ShowSet).await?;
        }
        Ok(view)
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
