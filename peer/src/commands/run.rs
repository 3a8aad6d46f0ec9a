//! `peer run`: a peer, its control port, its HTTP port, until a signal.

use std::path::PathBuf;

use tidings::control::{Options, Server};
use tidings::{Config, Overrides, Peer};
use tidings_runtime::listen::bind;
use tidings_runtime::ports_file::Ports;
use tidings_runtime::{http, logging, shutdown};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// Run a peer until SIGINT or SIGTERM, which make it leave the cluster
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Settings,
    /// Write {"node","pid","listen","control","http"} here once the peer serves
    #[arg(long, value_name = "FILE")]
    ports_file: Option<PathBuf>,
}

/// The flags that stand over the file and the environment. Port 0 takes a free port.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Configuration file [default: config.toml, when there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address that other peers dial
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Address that others are told to dial, if not the one listened on
    #[arg(long, value_name = "ADDR")]
    advertise: Option<String>,
    /// Address for applications
    #[arg(long, value_name = "ADDR")]
    control: Option<String>,
    /// Address for health, metrics and views; none unless configured
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    /// Directory for the key and what must survive a restart
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
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
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let mut overrides = Overrides::new();
        overrides
            .set("--listen", "peer.listen", self.listen.as_ref())
            .set("--advertise", "peer.advertise", self.advertise.as_ref())
            .set("--control", "peer.control", self.control.as_ref())
            .set("--http", "peer.http", self.http.as_ref())
            .set("--data", "peer.data", path(&self.data))
            .set("--log-dir", "log.dir", path(&self.log_dir))
            .set("--name", "peer.name", self.name.as_ref());
        Ok(Config::load(self.config.as_deref(), &overrides)?)
    }
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let config = args.settings.load()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ran = runtime.block_on(serve(config, args.ports_file));
    // What still runs is cut off: the cluster has been told already.
    runtime.shutdown_background();
    ran
}

/// The sockets of a peer: all taken, or none used.
struct Sockets {
    overlay: TcpListener,
    control: TcpListener,
    http: Option<TcpListener>,
}

impl Sockets {
    fn bind(config: &Config) -> Result<Self, Failure> {
        let bind = |address| bind(address).map_err(|error| Failure::failed(error.to_string()));
        Ok(Self {
            overlay: bind(config.peer.listen)?,
            control: bind(config.peer.control)?,
            http: config.peer.http.map(bind).transpose()?,
        })
    }
}

async fn serve(config: Config, ports_file: Option<PathBuf>) -> Result<(), Failure> {
    let signals = shutdown::signals()?;
    let sockets = Sockets::bind(&config)?;
    let port = sockets.overlay.local_addr()?.port();
    let log = logging::init(&config.log, &format!("peer-{port}"))
        .map_err(|error| Failure::failed(error.to_string()))?;
    let served = serve_on(sockets, config, ports_file, signals).await;
    if let Err(failure) = &served {
        tracing::error!(cause = failure.message(), "failed");
    }
    log.flush();
    served
}

async fn serve_on(
    sockets: Sockets,
    config: Config,
    ports_file: Option<PathBuf>,
    signals: CancellationToken,
) -> Result<(), Failure> {
    let options = Options {
        http: sockets.http.as_ref().map(TcpListener::local_addr).transpose()?,
        connections_max: config.limits.control_connections,
        line_max: config.limits.control_line,
        subscriptions_max: config.limits.subscriptions,
        ..Options::default()
    };
    let cluster = config.cluster.name.clone();
    let peer = Peer::join_on(sockets.overlay, config).await?;
    let control = Server::start(peer.clone(), sockets.control, options)?;
    let about = peer.about();
    if let Some(listener) = sockets.http {
        let views = tidings::http::router(peer.clone(), Some(control.address()), options.http);
        tokio::spawn(http::serve(listener, views, signals.clone()));
    }
    let mut ports = Ports::new(about.node, about.listen);
    ports.control = Some(control.address());
    ports.http = options.http;
    tracing::info!(
        node = %about.node, name = about.name, cluster, listen = %about.listen,
        control = %control.address(), pid = std::process::id(),
        version = env!("CARGO_PKG_VERSION"), "started"
    );
    if let Some(path) = ports_file {
        let written = ports.write(&path);
        written.map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
    }
    let broken = tokio::select! {
        () = signals.cancelled() => false,
        () = peer.stopped() => true,
    };
    tracing::info!("stopping");
    tokio::join!(control.stop(), peer.leave());
    if broken {
        return Err(Failure::failed("the peer broke; its log says why"));
    }
    tracing::info!("stopped");
    Ok(())
}
