//! `seed run`: a seed and its HTTP port, until a signal.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidings_proto::seed::event::Command;
use tidings_proto::seed::memory::Memory;
use tidings_proto::{RequestId, Seed};
use tidings_runtime::config::SeedEntry;
use tidings_runtime::listen::bind;
use tidings_runtime::logging::LogGuard;
use tidings_runtime::ports_file::Ports;
use tidings_runtime::tls::Encryption;
use tidings_runtime::{
    Clock, Config, DataDir, Node, NodeOptions, Overrides, advertised, http, identity, logging,
    node, shutdown,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::host::SeedHost;
use crate::http::{About, Pages, router};
use crate::store::{Found, News, Owner, Store};

/// Run a seed until SIGINT or SIGTERM, which make it leave the cluster
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Settings,
    /// Address that other nodes dial; picks this seed's [[seeds]] entry, or is one more seed.
    /// Port 0 takes a free port [default: the first seed of the configuration]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Address for health, metrics and views [default: `http` of this seed's entry]
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Directory for the key and for what the seed keeps [default: data/seed-PORT]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Write {"node","pid","listen","control","http"} here once the seed serves
    #[arg(long, value_name = "FILE")]
    ports_file: Option<PathBuf>,
}

/// The flags that stand over the file and the environment.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Configuration file [default: config.toml, when there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address that others are told to dial, when it is not the one listened on
    #[arg(long, value_name = "ADDR")]
    advertise: Option<String>,
    /// Directory for the log file
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,
    /// Name for people
    #[arg(long)]
    name: Option<String>,
}

impl Settings {
    /// What is in force.
    pub(crate) fn load(&self) -> Result<Config, Failure> {
        let log_dir = self.log_dir.as_ref().map(|path| path.display().to_string());
        let mut overrides = Overrides::new();
        overrides
            .set("--advertise", "seed.advertise", self.advertise.as_ref())
            .set("--log-dir", "log.dir", log_dir)
            .set("--name", "seed.name", self.name.as_ref());
        Ok(Config::load(self.config.as_deref(), &overrides)?)
    }
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let config = args.settings.load()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ran = runtime.block_on(serve(config, args));
    // What still runs is cut off: the cluster has been told already.
    runtime.shutdown_background();
    ran
}

async fn serve(mut config: Config, args: Args) -> Result<(), Failure> {
    let signals = shutdown::signals()?;
    let listen = listen_address(&config, args.listen)?;
    let entry = own_entry(&config, listen);
    let http = args.http.or_else(|| entry.and_then(|at| config.seeds[at].http));

    let overlay = bind(listen)?;
    let bound = overlay.local_addr()?;
    let address = advertised(bound, config.seed.advertise)?;
    let pages = http.map(bind).transpose()?;
    let http = pages.as_ref().map(TcpListener::local_addr).transpose()?;
    let own = SeedEntry { addr: address, http };
    match entry {
        Some(at) => config.seeds[at] = own,
        None => config.seeds.push(own),
    }
    let data = DataDir::open(&args.data.unwrap_or_else(|| config.seed_data(bound.port())))?;
    let log = logging::init(&config.log, &format!("seed-{}", bound.port()))?;

    let (store, memory, news) = open_store(&config, &data)?;
    let seed = Running::start(&config, overlay, address, &data, (store, memory))?;
    if let Some(listener) = pages {
        let router = router(seed.pages(&config, address, &log));
        let connections = config.limits.http_connections;
        tokio::spawn(http::serve_up_to(connections, listener, router, signals.clone()));
    }
    let node = data.key().node_id();
    tracing::info!(
        %node, name = config.seed.name, cluster = config.cluster.name, admission = "open",
        listen = %bound, %address, http = http.map(tracing::field::display),
        seeds = config.seeds.len(), pid = std::process::id(),
        version = env!("CARGO_PKG_VERSION"), "started"
    );
    // An operator finds the seed by its data directory.
    let ports = Ports { http, ..Ports::new(node, bound) };
    let known = data.path().join(PORTS);
    ports
        .write(&known)
        .map_err(|error| Failure::failed(format!("{}: {error}", known.display())))?;
    if let Some(path) = args.ports_file {
        ports
            .write(&path)
            .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
    }
    let served = seed.until(signals, news).await;
    log.flush();
    served
}

/// A seed's machine at work.
struct Running {
    node: Node<Seed>,
    clock: Clock,
    /// The machine has said its goodbyes.
    left: CancellationToken,
}

impl Running {
    fn start(
        config: &Config,
        listener: TcpListener,
        address: SocketAddr,
        data: &DataDir,
        (store, memory): (Store, Memory),
    ) -> Result<Self, Failure> {
        let clock = Clock::start();
        let (cluster, name) = (&config.cluster.name, &config.seed.name);
        let identity = identity(cluster, name, address, data.incarnation(), &clock)?;
        let machine =
            Seed::new(config.seed_config(identity), data.key().signer(), memory, clock.now());
        let left = CancellationToken::new();
        let host = SeedHost::new(clock, address, store, left.clone());
        let (key, limits) = (data.key().clone(), config.limits.links);
        let encryption = Encryption::Always;
        let options = NodeOptions { key, listener, clock, limits, encryption };
        let node = node::spawn(machine, host, options);
        Ok(Self { node, clock, left })
    }

    fn pages(&self, config: &Config, address: SocketAddr, log: &LogGuard) -> Pages {
        let about = About {
            cluster: config.cluster.name.clone(),
            name: config.seed.name.clone(),
            address,
            seeds: config.seeds.clone(),
        };
        let seed = self.node.handle.clone();
        Pages { seed, clock: self.clock, about: Arc::new(about), log: log.counters().clone() }
    }

    /// Runs until a signal comes, then leaves. Where something cannot be written it ends at once:
    /// what was not acknowledged is all that is lost.
    async fn until(
        mut self,
        signals: CancellationToken,
        mut news: Receiver<News>,
    ) -> Result<(), Failure> {
        loop {
            tokio::select! {
                () = signals.cancelled() => break,
                () = self.node.ended() => {
                    tracing::error!("broken");
                    return Err(Failure::failed("the seed broke; its log says why"));
                }
                Some(told) = news.recv() => match told {
                    News::Damaged(rows) => {
                        tracing::warn!(rows, "rows_damaged");
                        // A node that has ended is noticed above.
                        let _ = self.node.handle.command(Command::Rewrite).await;
                    }
                    News::Failed(cause) => {
                        tracing::error!(cause, "not_written");
                        let text = "what the seed keeps cannot be written, so it ends";
                        return Err(Failure::failed(format!("{text}: {cause}")));
                    }
                },
            }
        }
        tracing::info!("stopping");
        let leave = Command::Leave { request: RequestId(1) };
        let leaving = async {
            if self.node.handle.command(leave).await.is_ok() {
                self.left.cancelled().await;
            }
        };
        // A machine that does not answer in time is stopped all the same.
        let _ = tokio::time::timeout(LEAVE_TIME, leaving).await;
        self.node.stop().await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Opens what the seed keeps, and says in the log what was found.
fn open_store(config: &Config, data: &DataDir) -> Result<(Store, Memory, Receiver<News>), Failure> {
    let owner = Owner { cluster: config.cluster.name.clone(), node: data.key().node_id() };
    let (store, found, news) = Store::open(data.path(), &owner)?;
    let Found { memory, is_new, damaged } = found;
    let path = data.path().display();
    if damaged > 0 {
        tracing::warn!(%path, damaged, "rows_damaged");
    }
    tracing::info!(%path, is_new, rows = memory.rows.len(), damaged, "store");
    Ok((store, memory, news))
}

pub(super) fn listen_address(
    config: &Config,
    flag: Option<SocketAddr>,
) -> Result<SocketAddr, Failure> {
    let first = config.seeds.first().map(|seed| seed.addr);
    let none = "the configuration has no seeds; say with --listen IP:PORT where this one listens";
    flag.or(first).ok_or_else(|| Failure::usage(none))
}

/// The place of this seed in the configuration: the entry that it listens on, or advertises.
fn own_entry(config: &Config, listen: SocketAddr) -> Option<usize> {
    let is_own = |seed: &SeedEntry| seed.addr == listen || config.seed.advertise == Some(seed.addr);
    config.seeds.iter().position(is_own)
}

/// The file in the data directory that says where the seed listens.
pub(super) const PORTS: &str = "ports";

/// The machine's own part of leaving takes microseconds.
const LEAVE_TIME: Duration = Duration::from_millis(500);
