//! The configuration: file, environment and flags to values that are legal.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tidings_proto::config::{
    Identity, LivenessConfig, PeerConfig, RepairConfig, RetentionConfig, SeedConfig, ViewsConfig,
};

use crate::logging::LogConfig;
use crate::node::LinkLimits;

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
    /// A named session without a connection is kept this long.
    pub session_expiry: Duration,
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
    /// exist.
    ///
    /// # Errors
    /// The first thing that is wrong, with where it stands and what is allowed.
    pub fn load(_explicit: Option<&Path>, _overrides: &Overrides) -> Result<Self, ConfigError> {
        Ok(Self::default())
    }

    /// What a peer's machine is told, but for the known peers.
    pub fn peer_config(&self, identity: Identity) -> PeerConfig {
        PeerConfig::new(identity, self.seeds.iter().map(|seed| seed.addr).collect())
    }

    /// What a seed's machine is told. The seed's own address is added to the list of seeds when
    /// it is not there.
    pub fn seed_config(&self, identity: Identity) -> SeedConfig {
        SeedConfig::new(identity, self.seeds.iter().map(|seed| seed.addr).collect())
    }

    /// What is in force, as a file that gives the same configuration.
    pub fn to_toml(&self) -> String {
        String::new()
    }
}

impl Default for Config {
    fn default() -> Self {
        let local = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
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
                session_expiry: Duration::from_secs(60),
            },
            seed: SeedSection {
                data: "data/seed-{port}".into(),
                advertise: None,
                name: String::new(),
                lease: Duration::from_secs(90),
                sample: 64,
                probe_timeout: Duration::from_secs(2),
                sync_interval: Duration::from_secs(5),
                dead_kept: Duration::from_secs(600),
            },
            liveness: LivenessConfig::default(),
            views: ViewsConfig::default(),
            retention: RetentionConfig::default(),
            repair: RepairConfig::default(),
            log: LogConfig::default(),
            limits: LimitsSection {
                links: LinkLimits::default(),
                topics: 10_000,
                streams: 65_536,
                records: 1_000_000,
                records_per_peer: 10_000,
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

    /// Sets `key` (`section.key`, as in the file) to what was typed after `flag` (`--listen`).
    /// `None` sets nothing.
    pub fn set(&mut self, flag: &str, key: &str, value: Option<impl ToString>) -> &mut Self {
        if let Some(value) = value {
            self.values.push((flag.to_owned(), key.to_owned(), value.to_string()));
        }
        self
    }
}

/// What is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ConfigError(String);
