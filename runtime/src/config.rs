//! The configuration: file, environment and flags to values that are legal.
//!
//! What a key is called, what is allowed and where it goes stands in one table (`keys`); relations
//! between values are checked once, after all are set (`check`). Defaults that the protocol has
//! are taken from `tidings_proto::config` and written nowhere else.

mod check;
mod error;
mod keys;
mod load;
#[cfg(test)]
mod tests;
mod value;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidings_proto::Incarnation;
use tidings_proto::config::{
    GossipConfig, Identity, LivenessConfig, PeerConfig, RepairConfig, RetentionConfig, SeedConfig,
    ViewsConfig,
};
use tidings_proto::crypto::Scheme;

pub use error::{ConfigError, Place};

use crate::logging::LogConfig;
use crate::node::LinkLimits;
use keys::{KEYS, SECTIONS};
use load::Loader;

/// Everything that can be configured, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[cluster]`
    pub cluster: ClusterSection,
    /// `[[seeds]]`
    pub seeds: Vec<SeedEntry>,
    /// `[peer]`
    pub peer: PeerSection,
    /// `[seed]`
    pub seed: SeedSection,
    /// `[liveness]`
    pub liveness: LivenessConfig,
    /// `[views]`
    pub views: ViewsConfig,
    /// `[gossip]`
    pub gossip: GossipConfig,
    /// `[retention]`
    pub retention: RetentionConfig,
    /// `[repair]`
    pub repair: RepairConfig,
    /// `[log]`
    pub log: LogConfig,
    /// `[limits]`
    pub limits: LimitsSection,
}

/// `[cluster]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSection {
    /// Nodes of another cluster are refused. 1 to 64 bytes.
    pub name: String,
}

/// One of `[[seeds]]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeedEntry {
    /// The overlay address.
    pub addr: SocketAddr,
    /// The HTTP address, if it serves HTTP.
    pub http: Option<SocketAddr>,
}

/// `[peer]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSection {
    /// Other peers dial this.
    pub listen: SocketAddr,
    /// What other peers are told to dial, when it is not what the node listens on.
    pub advertise: Option<SocketAddr>,
    /// JSON lines for applications.
    pub control: SocketAddr,
    /// Health and metrics, if wanted.
    pub http: Option<SocketAddr>,
    /// The data directory.
    pub data: PathBuf,
    /// A name for people.
    pub name: String,
    /// A named session is kept so long after its connection was lost.
    pub session_expiry: Duration,
    /// Subscribing and publishing to a topic that does not exist creates it.
    pub auto_create: bool,
    /// A request to a seed without an answer goes to another after this.
    pub request_timeout: Duration,
    /// The longest wait between two dials of a seed.
    pub seed_backoff_max: Duration,
}

/// `[seed]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedSection {
    /// The data directory; `{port}` in it is the port that the seed listens on.
    pub data: String,
    /// What others are told to dial, when it is not what the node listens on.
    pub advertise: Option<SocketAddr>,
    /// A name for people.
    pub name: String,
    /// A peer is listed this long after its last renewal.
    pub lease: Duration,
    /// Peers in a sample.
    pub sample: usize,
    /// An accused peer has this long to answer a probe.
    pub probe_timeout: Duration,
    /// Tables of seeds are compared this often.
    pub sync_interval: Duration,
    /// The dead stay listed this long.
    pub dead_kept: Duration,
    /// A topic whose host is away for so long may be taken over.
    pub topic_orphan_after: Duration,
    /// A topic without host and without subscriber for so long is dropped.
    pub topic_drop_after: Duration,
}

/// `[limits]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsSection {
    /// The bounds of links, for [`crate::node::NodeOptions`].
    pub links: LinkLimits,
    /// Topics that a peer knows.
    pub topics: usize,
    /// Streams remembered per topic.
    pub streams: usize,
    /// Records of each kind in a seed's tables.
    pub records: usize,
    /// Records that one peer may register.
    pub records_per_peer: usize,
    /// Connections to the control port.
    pub control_connections: usize,
    /// Bytes of a line on the control port.
    pub control_line: usize,
    /// Named sessions of a peer.
    pub sessions: usize,
    /// Subscriptions of a session.
    pub subscriptions: usize,
    /// Messages that wait for an application, per subscription or session.
    pub unread_messages: usize,
    /// Bytes of messages that wait for an application, per subscription or session.
    pub unread_bytes: usize,
    /// Connections to the HTTP port.
    pub http_connections: usize,
}

impl Config {
    /// Reads the configuration: the file, then the environment, then `overrides`, each over what
    /// came before. Without a file at the default path the defaults hold; an `explicit` path must
    /// exist. Looks up names of seeds, and so may take a while.
    ///
    /// # Errors
    /// The first thing that is wrong, with where it stands and what is allowed.
    pub fn load(explicit: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let path = explicit.unwrap_or_else(|| Path::new(DEFAULT_PATH));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && explicit.is_none() => None,
            Err(error) => {
                let cause = error.to_string();
                return Err(ConfigError::Unreadable { path: path.to_owned(), cause });
            }
        };
        let file = text.as_deref().map(|text| (path, text));
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::from_parts(file, variables, overrides)
    }

    /// As [`Self::load`], from what was read.
    ///
    /// # Errors
    /// As there.
    pub fn from_parts(
        file: Option<(&Path, &str)>,
        environment: impl Iterator<Item = (String, String)>,
        overrides: &Overrides,
    ) -> Result<Self, ConfigError> {
        let mut loader = Loader::new();
        if let Some((path, text)) = file {
            loader.file(path, text)?;
        }
        loader.environment(environment)?;
        for (flag, key, value) in &overrides.values {
            loader.typed(key, value, Place::Flag(flag.clone()))?;
        }
        check::check(&loader)?;
        Ok(loader.config)
    }

    /// What a peer's machine is told, but for the known peers.
    pub fn peer_config(&self, identity: Identity) -> PeerConfig {
        PeerConfig {
            liveness: self.liveness,
            views: self.views,
            gossip: self.gossip,
            retention: self.retention,
            repair: self.repair,
            topics_max: self.limits.topics,
            streams_max: self.limits.streams,
            auto_create: self.peer.auto_create,
            request_timeout: self.peer.request_timeout,
            seed_backoff_max: self.peer.seed_backoff_max,
            ..PeerConfig::new(identity, self.seed_addresses())
        }
    }

    /// What a seed's machine is told. The seed's own address is added to the list of seeds when
    /// it is not there.
    pub fn seed_config(&self, identity: Identity) -> SeedConfig {
        let mut seeds = self.seed_addresses();
        if !seeds.contains(&identity.address) {
            seeds.push(identity.address);
        }
        SeedConfig {
            liveness: self.liveness,
            lease: self.seed.lease,
            sample: self.seed.sample,
            records_max: self.limits.records,
            records_per_peer_max: self.limits.records_per_peer,
            probe_timeout: self.seed.probe_timeout,
            sync_interval: self.seed.sync_interval,
            dead_kept: self.seed.dead_kept,
            topic_orphan_after: self.seed.topic_orphan_after,
            topic_drop_after: self.seed.topic_drop_after,
            ..SeedConfig::new(identity, seeds)
        }
    }

    /// The data directory of the seed that listens on `port`.
    pub fn seed_data(&self, port: u16) -> PathBuf {
        PathBuf::from(self.seed.data.replace("{port}", &port.to_string()))
    }

    /// What is in force, as a file that gives the same configuration.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        for section in SECTIONS {
            if section == "seeds" {
                for seed in &self.seeds {
                    out.push_str(&format!("\n[[seeds]]\naddr = \"{}\"\n", seed.addr));
                    if let Some(http) = seed.http {
                        out.push_str(&format!("http = \"{http}\"\n"));
                    }
                }
                if self.seeds.is_empty() {
                    // Above all sections, where a key without one stands.
                    out.insert_str(0, "seeds = []\n\n");
                }
                continue;
            }
            let gap = if out.is_empty() { "" } else { "\n" };
            out.push_str(&format!("{gap}[{section}]\n"));
            for key in KEYS.iter().filter(|key| key.section == section) {
                out.push_str(&format!("{} = {}\n", key.name, (key.show)(self)));
            }
        }
        out
    }

    fn seed_addresses(&self) -> Vec<SocketAddr> {
        self.seeds.iter().map(|seed| seed.addr).collect()
    }
}

impl Default for Config {
    fn default() -> Self {
        let local = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let peer = PeerConfig::new(nobody(), Vec::new());
        let seed = SeedConfig::new(nobody(), Vec::new());
        Self {
            cluster: ClusterSection { name: "local".into() },
            seeds: (1..=3)
                .map(|i| SeedEntry { addr: local(7100 + i), http: Some(local(8100 + i)) })
                .collect(),
            peer: PeerSection {
                listen: local(7200),
                advertise: None,
                control: local(5555),
                http: None,
                data: "data/peer".into(),
                name: String::new(),
                request_timeout: peer.request_timeout,
                session_expiry: Duration::from_secs(60),
                auto_create: peer.auto_create,
                seed_backoff_max: peer.seed_backoff_max,
            },
            seed: SeedSection {
                data: "data/seed-{port}".into(),
                advertise: None,
                name: String::new(),
                lease: seed.lease,
                sample: seed.sample,
                probe_timeout: seed.probe_timeout,
                sync_interval: seed.sync_interval,
                dead_kept: seed.dead_kept,
                topic_orphan_after: seed.topic_orphan_after,
                topic_drop_after: seed.topic_drop_after,
            },
            liveness: peer.liveness,
            views: peer.views,
            gossip: peer.gossip,
            retention: peer.retention,
            repair: peer.repair,
            log: LogConfig::default(),
            limits: LimitsSection {
                links: LinkLimits::default(),
                topics: peer.topics_max,
                streams: peer.streams_max,
                records: seed.records_max,
                records_per_peer: seed.records_per_peer_max,
                control_connections: 4_096,
                control_line: 1 << 20,
                sessions: 4_096,
                subscriptions: 10_000,
                unread_messages: 65_536,
                unread_bytes: 64 << 20,
                http_connections: 1_024,
            },
        }
    }
}

/// An identity to take the protocol's defaults with.
fn nobody() -> Identity {
    Identity {
        cluster: String::new(),
        name: String::new(),
        address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
        incarnation: Incarnation(0),
        scheme: Scheme::Ed25519,
        wall_origin_us: 0,
        rng_seed: [0; 32],
    }
}

/// Values that flags put over the file and the environment.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    values: Vec<(String, String, String)>,
}

impl Overrides {
    /// No flag.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key` (`section.key` as in the file, or `seeds`: addresses with commas) to what was
    /// typed after `flag` (`--listen`). `None` sets nothing.
    pub fn set(&mut self, flag: &str, key: &str, value: Option<impl ToString>) -> &mut Self {
        if let Some(value) = value {
            self.values.push((flag.to_owned(), key.to_owned(), value.to_string()));
        }
        self
    }
}

/// Where the file is, when nobody says.
pub const DEFAULT_PATH: &str = "config.toml";
