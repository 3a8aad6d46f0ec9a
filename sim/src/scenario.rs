//! What a run consists of, as TOML files say it. Times are milliseconds of virtual time since
//! the start of the run; probabilities are parts per million.

mod expect;
mod faults;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use tidings_proto::config::{GossipConfig, Verify};
use tidings_proto::{PeerConfig, SeedConfig};

use crate::latency::Latency;
pub use expect::Expect;
pub use faults::{Chaos, Churn, Crashes, Cut, Liars, Partition, Pause, Slow, Trouble};

/// Scenarios that are part of the program, by name.
pub const BUILT_IN: [(&str, &str); 21] = [
    ("smoke", include_str!("../scenarios/smoke.toml")),
    ("chaos", include_str!("../scenarios/chaos.toml")),
    ("babble", include_str!("../scenarios/babble.toml")),
    ("seeds", include_str!("../scenarios/seeds.toml")),
    ("changes", include_str!("../scenarios/changes.toml")),
    ("minority", include_str!("../scenarios/minority.toml")),
    ("slow", include_str!("../scenarios/slow.toml")),
    ("overrun", include_str!("../scenarios/overrun.toml")),
    ("deaths", include_str!("../scenarios/deaths.toml")),
    ("liars", include_str!("../scenarios/liars.toml")),
    ("pauses", include_str!("../scenarios/pauses.toml")),
    ("warm-1k", include_str!("../scenarios/warm-1k.toml")),
    ("warm-10k", include_str!("../scenarios/warm-10k.toml")),
    ("oneshot-1k", include_str!("../scenarios/oneshot-1k.toml")),
    ("crash-30", include_str!("../scenarios/crash-30.toml")),
    ("crash-50", include_str!("../scenarios/crash-50.toml")),
    ("crash-80", include_str!("../scenarios/crash-80.toml")),
    ("delay-5", include_str!("../scenarios/delay-5.toml")),
    ("partition", include_str!("../scenarios/partition.toml")),
    ("no-seeds", include_str!("../scenarios/no-seeds.toml")),
    ("scale-100k", include_str!("../scenarios/scale-100k.toml")),
];

/// A run, but for its seed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// How it is called.
    pub name: String,
    /// What it shows, in a sentence.
    #[expect(dead_code, reason = "read by people")]
    about: String,
    /// Seeds; they start at 0.
    pub seeds: u32,
    /// So many of the seeds are configured, and the others wait to be added; all, when absent.
    pub seeds_first: Option<u32>,
    /// Peers.
    pub peers: u32,
    /// Peers start at random times until this one.
    pub join_ms: u64,
    /// The run ends, and the judges speak.
    pub end_ms: u64,
    /// Topics, each hosted by one peer.
    #[serde(default = "one")]
    pub topics: u16,
    /// Topics that each peer subscribes to; 0 for all.
    #[serde(default)]
    pub topics_per_peer: u16,
    /// Clocks run fast or slow by at most this much.
    #[serde(default)]
    pub skew_ppm: u32,
    /// The disks of seeds say that all is written, and forget it: for tests of the judges.
    #[serde(default)]
    pub disks_lie: bool,
    /// Changes of the peers' configuration, to compare rules.
    #[serde(default)]
    pub tune: Tune,
    /// The same run is repeated in other ways, for comparison.
    #[serde(default)]
    pub beside: Vec<Beside>,
    /// The network.
    #[serde(default)]
    pub network: Network,
    /// Who publishes what.
    #[serde(default)]
    pub publish: Vec<Publish>,
    /// Names that several peers want to own.
    #[serde(default)]
    pub claim: Vec<Claim>,
    /// Further names, which several peers create, delete and read without regard for each other.
    #[serde(default)]
    pub contest: Vec<Claim>,
    /// Changes of the set of seeds, one after the other.
    #[serde(default)]
    pub change: Vec<Change>,
    /// Operators have random peers forgotten, dead or not, one each so many milliseconds.
    pub forget_every_ms: Option<u64>,
    /// Crashes of many peers at once.
    #[serde(default)]
    pub crash: Vec<Crashes>,
    /// Peers that die and come back one by one.
    #[serde(default)]
    pub churn: Vec<Churn>,
    /// Peers that are slow for a while.
    #[serde(default)]
    pub slow: Vec<Slow>,
    /// Processes that are stopped for a while.
    #[serde(default)]
    pub pause: Vec<Pause>,
    /// Paths that are cut in one direction.
    #[serde(default)]
    pub cut: Vec<Cut>,
    /// Splits of the network.
    #[serde(default)]
    pub partition: Vec<Partition>,
    /// Minorities of the seeds that fail.
    #[serde(default)]
    pub trouble: Vec<Trouble>,
    /// Nodes that want a living peer to be taken for dead.
    #[serde(default)]
    pub liars: Option<Liars>,
    /// Random faults.
    #[serde(default)]
    pub chaos: Option<Chaos>,
    /// What the judges expect.
    #[serde(default)]
    pub expect: Expect,
}

/// What differs from the defaults of a peer's configuration.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tune {
    /// A dial is given up after this.
    pub dial_timeout_ms: Option<u64>,
    /// Dials under way at once.
    pub dials_max: Option<usize>,
    /// A topic with fewer neighbours looks for more.
    pub degree: Option<usize>,
    /// A link that was silent this long is pinged.
    pub liveness_ms: Option<u64>,
    /// A hole is pulled after this.
    pub repair_delay_ms: Option<u64>,
    /// Heads are compared this often.
    pub digest_ms: Option<u64>,
    /// Peers check so many per cent of what neighbours push, and trust them with the rest. The
    /// judges go on to check all that is delivered.
    pub verify_share: Option<u8>,
    /// Seeds: an accused peer has this long to answer a probe.
    pub probe_timeout_ms: Option<u64>,
}

impl Tune {
    /// Makes the changes.
    pub fn apply(&self, config: &mut PeerConfig) {
        let set = |to: &mut Duration, ms: Option<u64>| {
            *to = ms.map_or(*to, Duration::from_millis);
        };
        set(&mut config.views.dial_timeout, self.dial_timeout_ms);
        set(&mut config.liveness.interval, self.liveness_ms);
        set(&mut config.repair.delay, self.repair_delay_ms);
        set(&mut config.repair.digest_interval, self.digest_ms);
        if let Some(verify_share) = self.verify_share {
            config.gossip = GossipConfig { verify: Verify::Links, verify_share };
        }
        config.views.dials_max = self.dials_max.unwrap_or(config.views.dials_max);
        config.views.degree_target = self.degree.unwrap_or(config.views.degree_target);
    }

    /// Makes the changes that concern seeds.
    pub fn apply_to_seed(&self, config: &mut SeedConfig) {
        if let Some(ms) = self.probe_timeout_ms {
            config.probe_timeout = Duration::from_millis(ms);
        }
    }
}

/// A way to run a scenario that its results are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Beside {
    /// Batches go out on all links: the fastest that the overlay allows.
    Flood,
    /// No packet is lost.
    Lossless,
    /// Nobody is slow.
    Unslowed,
}

/// The network all the time.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Where the nodes are.
    pub latency: Latency,
    /// Frames that are late because a packet was lost.
    pub loss_ppm: u32,
    /// Frames that a faulty sender sends twice.
    pub duplicate_ppm: u32,
    /// Each frame takes up to this much longer: links overtake each other.
    pub jitter_ms: u32,
    /// Every frame is written and read as bytes.
    pub encode: bool,
    /// A link whose stream is stopped this long breaks.
    pub break_after_ms: u64,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            latency: Latency::Uniform,
            loss_ppm: 0,
            duplicate_ppm: 0,
            jitter_ms: 0,
            encode: false,
            break_after_ms: 20_000,
        }
    }
}

/// A pattern of publications: one message each `every_ms`, the origins taking turns.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// Number of the topic, from 0.
    #[serde(default)]
    pub topic: u16,
    /// How many peers take turns.
    pub origins: u32,
    /// Between two messages.
    pub every_ms: u64,
    /// The first message.
    pub from_ms: u64,
    /// No message at this time or later.
    pub until_ms: u64,
    /// Bytes of a message.
    #[serde(default = "hundred")]
    pub bytes: usize,
}

/// What the command line changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overrides {
    /// Peers.
    pub peers: Option<u32>,
    /// Seeds.
    pub seeds: Option<u32>,
    /// Messages of each pattern; the run ends as long after the last as before.
    pub messages: Option<u64>,
}

/// Names that peers contest: at each step one of them is created by several peers at once, read,
/// or deleted by its owner; in a contest, several peers do something each.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// How many names.
    pub names: u32,
    /// How many peers create a name, or do something, at the same time.
    pub contenders: u32,
    /// Between two steps.
    pub every_ms: u64,
    /// The first step.
    pub from_ms: u64,
    /// No step at this time or later.
    pub until_ms: u64,
}

/// A seed is added or removed.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Not before, nor before the change ahead of it has come about.
    pub at_ms: u64,
    /// The seed, from 0.
    pub seed: u32,
    /// It is added; otherwise it is removed.
    pub add: bool,
}

impl Scenario {
    /// A built-in scenario, or that in the file of this name.
    ///
    /// # Errors
    /// There is none, or it is not legal.
    pub fn load(name: &str) -> anyhow::Result<Self> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            return Self::parse(text).with_context(|| format!("scenario {name}"));
        }
        let path = Path::new(name);
        if !path.exists() {
            let names = BUILT_IN.map(|(name, _)| name).join(", ");
            bail!("no scenario {name:?}: neither a file nor one of {names}");
        }
        let text = fs::read_to_string(path).with_context(|| format!("reading {name}"))?;
        Self::parse(&text).with_context(|| format!("scenario {name}"))
    }

    /// Reads and checks a scenario.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let scenario: Self = toml::from_str(text)?;
        scenario.check()?;
        Ok(scenario)
    }

    /// This scenario with other sizes.
    ///
    /// # Errors
    /// The result is not legal.
    pub fn with(mut self, overrides: Overrides) -> anyhow::Result<Self> {
        self.peers = overrides.peers.unwrap_or(self.peers);
        self.seeds = overrides.seeds.unwrap_or(self.seeds);
        for publish in &mut self.publish {
            publish.origins = publish.origins.min(self.peers);
        }
        if let Some(messages) = overrides.messages {
            let last = |all: &[Publish]| all.iter().map(|p| p.until_ms).max().unwrap_or(0);
            let before = last(&self.publish);
            for publish in &mut self.publish {
                publish.until_ms = publish.from_ms + messages * publish.every_ms;
            }
            self.end_ms = (self.end_ms + last(&self.publish)).saturating_sub(before);
        }
        self.check()?;
        Ok(self)
    }

    /// Whether a node subscribes to a topic.
    pub fn wants(&self, node: u32, topic: u16) -> bool {
        if node < self.seeds {
            return false;
        }
        let wanted = if self.topics_per_peer == 0 { self.topics } else { self.topics_per_peer };
        let first = node % u32::from(self.topics);
        let behind = (u32::from(topic) + u32::from(self.topics) - first) % u32::from(self.topics);
        behind < u32::from(wanted)
    }

    /// How many names are claimed; the contested ones come after them.
    pub fn claimed_names(&self) -> u32 {
        self.claim.iter().map(|claim| claim.names).max().unwrap_or(0)
    }

    /// When many peers have just crashed, or a partition has just ended.
    pub fn disturbances_ms(&self) -> impl Iterator<Item = u64> + '_ {
        let crashes = self.crash.iter().filter(|crash| !crash.seeds).map(|crash| crash.at_ms);
        crashes.chain(self.partition.iter().map(|split| split.at_ms + split.for_ms))
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(self.peers >= 1, "peers: at least 1");
        ensure!(u64::from(self.peers) + u64::from(self.seeds) < 1 << 24, "nodes: below 2^24");
        ensure!(self.topics >= 1, "topics: at least 1");
        ensure!(self.seeds >= 1, "seeds: at least 1, topics are created through them");
        ensure!(self.topics_per_peer <= self.topics, "topics_per_peer: at most topics");
        ensure!(self.skew_ppm < 1_000_000, "skew_ppm: below 1,000,000");
        for publish in &self.publish {
            ensure!(publish.topic < self.topics, "publish.topic: below topics");
            ensure!(publish.every_ms >= 1, "publish.every_ms: at least 1");
            ensure!((1..=self.peers).contains(&publish.origins), "publish.origins: 1 to peers");
            ensure!(publish.until_ms <= self.end_ms, "publish.until_ms: at most end_ms");
            ensure!((8..=1 << 20).contains(&publish.bytes), "publish.bytes: 8 to 1 MiB");
        }
        let first = self.seeds_first.unwrap_or(self.seeds);
        ensure!((1..=self.seeds).contains(&first), "seeds_first: 1 to seeds");
        ensure!(self.change.iter().all(|change| change.seed < self.seeds), "change.seed: a seed");
        for cut in &self.cut {
            let nodes = self.seeds + self.peers;
            ensure!(cut.from.max(cut.to) < nodes, "cut: nodes are numbered below {nodes}");
        }
        if let Some(liars) = &self.liars {
            ensure!(liars.every_ms >= 1, "liars.every_ms: at least 1");
            ensure!(self.peers >= 2, "liars: they need a peer to lie about");
        }
        ensure!(self.forget_every_ms != Some(0), "forget_every_ms: at least 1");
        for claim in self.claim.iter().chain(&self.contest) {
            ensure!(claim.names >= 1, "names of claims and contests: at least 1");
            ensure!(claim.every_ms >= 1, "every_ms of claims and contests: at least 1");
            ensure!((1..=self.peers).contains(&claim.contenders), "contenders: 1 to peers");
        }
        ensure!(
            self.expect.bystanders_more_ppm.is_none() || self.beside.contains(&Beside::Unslowed),
            "expect.bystanders_more_ppm: needs beside = [\"unslowed\"]"
        );
        if let Some(chaos) = &self.chaos {
            ensure!(chaos.step_ms >= 1, "chaos.step_ms: at least 1");
            ensure!(chaos.longest_ms >= 1, "chaos.longest_ms: at least 1");
            ensure!(chaos.until_ms <= self.end_ms, "chaos.until_ms: at most end_ms");
        }
        Ok(())
    }
}

fn one() -> u16 {
    1
}

fn hundred() -> usize {
    100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_scenarios_are_legal_and_bear_their_names() {
        for (name, _) in BUILT_IN {
            let scenario = Scenario::load(name).expect("legal");
            assert_eq!(scenario.name, name);
        }
        let error = Scenario::load("nonsense").expect_err("no such scenario").to_string();
        assert!(error.contains("smoke"), "{error}");
    }

    #[test]
    fn unknown_keys_and_impossible_values_are_refused() {
        let (_, smoke) = BUILT_IN[0];
        assert!(Scenario::parse(&format!("colour = 1\n{smoke}")).is_err());
        assert!(Scenario::parse(&smoke.replace("peers = ", "peers = 0 # ")).is_err());
        let small = Overrides { peers: Some(2), messages: Some(3), ..Overrides::default() };
        let small = Scenario::parse(smoke).expect("legal").with(small).expect("legal");
        assert!(small.publish.iter().all(|publish| publish.origins <= 2));
    }
}
