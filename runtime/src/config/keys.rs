//! Every key of the configuration, but for the list of seeds: where it stands, what is allowed,
//! where it goes. Files, environment, flags and printing all use this table.

use super::Config;
use super::value::{
    Address, Count, FORMATS, File, Flag, Kind as _, LEVELS, MaybeAddress, Raw, Size, Span, Text,
    VERIFY,
};

/// A key.
pub(super) struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    pub(super) allowed: fn() -> String,
    /// `None`: the value is not allowed, and nothing was changed.
    pub(super) set: fn(&mut Config, &Raw<'_>) -> Option<()>,
    pub(super) show: fn(&Config) -> String,
}

impl Key {
    /// As people name it: `section.name`.
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// Its environment variable.
    pub(super) fn variable(&self) -> String {
        format!("TIDINGS_{}_{}", self.section, self.name).to_ascii_uppercase()
    }
}

pub(super) fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.section == section && key.name == name)
}

/// The sections of the file, in order.
pub(super) const SECTIONS: [&str; 11] = [
    "cluster",
    "seeds",
    "peer",
    "seed",
    "liveness",
    "views",
    "gossip",
    "retention",
    "repair",
    "log",
    "limits",
];

macro_rules! keys {
    ($($section:literal $name:literal => $($field:ident).+: $kind:expr;)+) => {
        &[$(Key {
            section: $section,
            name: $name,
            allowed: || $kind.allowed(),
            set: |config, raw| {
                config.$($field).+ = $kind.parse(raw)?;
                Some(())
            },
            show: |config| $kind.show(&config.$($field).+),
        },)+]
    };
}

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

pub(super) const KEYS: &[Key] = keys! {
    "cluster" "name" => cluster.name: Text(1, 64);

    "peer" "listen" => peer.listen: Address;
    "peer" "advertise" => peer.advertise: MaybeAddress;
    "peer" "control" => peer.control: Address;
    "peer" "http" => peer.http: MaybeAddress;
    "peer" "data" => peer.data: File;
    "peer" "name" => peer.name: Text(0, 64);
    "peer" "session_expiry" => peer.session_expiry: Span(10, 7 * 24 * HOUR);
    "peer" "auto_create" => peer.auto_create: Flag;
    "peer" "request_timeout" => peer.request_timeout: Span(50, 60 * SECOND);
    "peer" "seed_backoff_max" => peer.seed_backoff_max: Span(100, HOUR);

    "seed" "advertise" => seed.advertise: MaybeAddress;
    "seed" "data" => seed.data: Text(1, 4_096);
    "seed" "name" => seed.name: Text(0, 64);
    "seed" "lease" => seed.lease: Span(SECOND, HOUR);
    "seed" "sample" => seed.sample: Count(1, 64);
    "seed" "probe_timeout" => seed.probe_timeout: Span(50, 60 * SECOND);
    "seed" "sync_interval" => seed.sync_interval: Span(100, HOUR);
    "seed" "dead_kept" => seed.dead_kept: Span(SECOND, 24 * HOUR);
    "seed" "topic_orphan_after" => seed.topic_orphan_after: Span(SECOND, 7 * 24 * HOUR);
    "seed" "topic_drop_after" => seed.topic_drop_after: Span(SECOND, 365 * 24 * HOUR);

    "liveness" "interval" => liveness.interval: Span(10, 60 * SECOND);
    "liveness" "misses" => liveness.misses: Count(1, 100);

    "views" "degree_target" => views.degree_target: Count(1, 1_000);
    "views" "degree_max" => views.degree_max: Count(1, 1_000);
    "views" "links_max" => views.links_max: Count(1, 10_000);
    "views" "passive_max" => views.passive_max: Count(0, 10_000);
    "views" "dials_max" => views.dials_max: Count(1, 256);
    "views" "dial_timeout" => views.dial_timeout: Span(50, 60 * SECOND);
    "views" "shuffle_interval" => views.shuffle_interval: Span(100, HOUR);

    "gossip" "verify" => gossip.verify: VERIFY;
    "gossip" "verify_share" => gossip.verify_share: Count(0, 100);

    "retention" "bytes_max" => retention.bytes_max: Size(2 * MIB, 64 * GIB);
    "retention" "age_max" => retention.age_max: Span(SECOND, HOUR);

    "repair" "delay" => repair.delay: Span(1, 10 * SECOND);
    "repair" "timeout" => repair.timeout: Span(10, 60 * SECOND);
    "repair" "digest_interval" => repair.digest_interval: Span(100, HOUR);
    "repair" "gap_after" => repair.gap_after: Span(100, HOUR);

    "log" "dir" => log.dir: File;
    "log" "format" => log.format: FORMATS;
    "log" "level" => log.level: LEVELS;
    "log" "stderr" => log.stderr: Flag;
    "log" "rotate_bytes" => log.rotate_bytes: Size(64_u64 << 10, 1_u64 << 40);
    "log" "rotate_keep" => log.rotate_keep: Count(0, 1_000);

    "limits" "link_queue" => limits.links.queue_bytes: Size(2 * MIB, GIB);
    "limits" "links" => limits.links.links: Count(1, 1_000_000);
    "limits" "handshakes" => limits.links.handshakes: Count(1, 65_536);
    "limits" "handshake_timeout" => limits.links.handshake_timeout: Span(100, 60 * SECOND);
    "limits" "topics" => limits.topics: Count(1, 1_000_000);
    "limits" "streams" => limits.streams: Count(1, 1_000_000);
    "limits" "records" => limits.records: Count(1, 100_000_000);
    "limits" "records_per_peer" => limits.records_per_peer: Count(1, 1_000_000);
    "limits" "control_connections" => limits.control_connections: Count(1, 65_536);
    "limits" "control_line" => limits.control_line: Size(4 * KIB, 64 * MIB);
    "limits" "sessions" => limits.sessions: Count(1, 65_536);
    "limits" "subscriptions" => limits.subscriptions: Count(1, 1_000_000);
    "limits" "unread_messages" => limits.unread_messages: Count(1, 100_000_000);
    "limits" "unread_bytes" => limits.unread_bytes: Size(2 * MIB, 64 * GIB);
    "limits" "http_connections" => limits.http_connections: Count(1, 65_536);
};
