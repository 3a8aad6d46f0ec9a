//! What goes wrong on purpose, as scenarios say it.

use serde::Deserialize;

/// Peers that crash at the same instant.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crashes {
    /// When.
    pub at_ms: u64,
    /// Which part of all peers.
    pub ppm: u32,
    /// Seeds crash instead of peers.
    #[serde(default)]
    pub seeds: bool,
    /// The host vanishes; otherwise only the process dies.
    #[serde(default)]
    pub silent: bool,
    /// They come back without their disks.
    #[serde(default)]
    pub disk_lost: bool,
    /// Seeds: rows of their disks are damaged meanwhile.
    #[serde(default)]
    pub disk_damaged: bool,
    /// They start again this long after; never, when it is absent.
    pub back_after_ms: Option<u64>,
}

/// Peers that die at random times and come back.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Churn {
    /// Nobody dies before.
    pub from_ms: u64,
    /// Nobody dies at this time or later.
    pub until_ms: u64,
    /// Which part of all peers dies in an hour.
    pub ppm_per_hour: u32,
    /// The host vanishes; otherwise only the process dies.
    #[serde(default)]
    pub silent: bool,
    /// They start again this long after.
    pub back_after_ms: u64,
}

/// Peers with a slow processor or slow links.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// When.
    pub at_ms: u64,
    /// How long.
    pub for_ms: u64,
    /// Which part of all peers, at least one.
    pub ppm: u32,
    /// An input keeps the processor busy this long; 0 for no time.
    #[serde(default)]
    pub input_us: u32,
    /// Bytes a second on each of its links; absent for any number.
    pub bytes_per_s: Option<u64>,
}

/// Packets from one node to another vanish; those of the other way arrive.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// When.
    pub at_ms: u64,
    /// How long; for ever, when it is absent.
    pub for_ms: Option<u64>,
    /// The node that sends; seeds have the first numbers, from 0.
    pub from: u32,
    /// The node that receives nothing.
    pub to: u32,
}

/// Processes that are stopped, and go on later.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// When.
    pub at_ms: u64,
    /// How long.
    pub for_ms: u64,
    /// Which part of all peers, at least one.
    pub ppm: u32,
}

/// Seeds that fail together, one minority after the other, while all others are well.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trouble {
    /// The first failure.
    pub from_ms: u64,
    /// All are over.
    pub until_ms: u64,
    /// Seeds that crash are away for this, and up to as much again.
    pub away_ms: u64,
    /// Seeds that are stopped, or apart from all others, are so for this.
    pub stopped_ms: u64,
    /// From the end of a failure to the next one: the time to learn all again.
    pub rest_ms: u64,
    /// All the time an input keeps the processor of each seed busy this long.
    #[serde(default)]
    pub input_us: u32,
    /// So many fail at most; absent for the largest minority. More break what is promised.
    pub seeds_max: Option<u32>,
}

/// Nodes that lie about a peer, which is the last one: all other peers report again and again that
/// it does not answer, and some seeds vote for its death without having looked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Liars {
    /// The first lies.
    pub from_ms: u64,
    /// No lies at this time or later.
    pub until_ms: u64,
    /// Between two lies of each liar.
    pub every_ms: u64,
    /// So many seeds lie, the first ones; absent for the largest minority.
    pub seeds: Option<u32>,
}

/// A part of all nodes is apart from the rest.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// When.
    pub at_ms: u64,
    /// How long.
    pub for_ms: u64,
    /// Which part.
    pub ppm: u32,
    /// Seeds reach both sides.
    #[serde(default)]
    pub seeds_on_both_sides: bool,
}

/// Random faults: at each step, each kind of fault begins with its probability.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chaos {
    /// The first step.
    pub from_ms: u64,
    /// All faults are over.
    pub until_ms: u64,
    /// Between steps.
    pub step_ms: u64,
    /// A fault lasts at most this long.
    pub longest_ms: u64,
    /// A peer crashes, and is back later.
    #[serde(default)]
    pub crash_peer_ppm: u32,
    /// A crashed peer stays away, of those that crash.
    #[serde(default)]
    pub stay_away_ppm: u32,
    /// A seed crashes, and is back later.
    #[serde(default)]
    pub crash_seed_ppm: u32,
    /// So many seeds at most are away, or back for less than `seeds_rest_ms`, after a crash that
    /// took of their disk; absent for any number. Any number may be away with their disks.
    pub seeds_away_max: Option<u32>,
    /// See `seeds_away_max`: the time that a seed has to learn all again.
    #[serde(default)]
    pub seeds_rest_ms: u64,
    /// A crash takes the host along, of those that crash.
    #[serde(default)]
    pub silent_ppm: u32,
    /// A crash takes the disk along, of those that crash.
    #[serde(default)]
    pub disk_lost_ppm: u32,
    /// A crash of a seed damages rows of its disk, of those that do not take it along.
    #[serde(default)]
    pub disk_damaged_ppm: u32,
    /// A node leaves in order, and is back later.
    #[serde(default)]
    pub leave_ppm: u32,
    /// A process is stopped for a while.
    #[serde(default)]
    pub pause_ppm: u32,
    /// A path is cut in one direction.
    #[serde(default)]
    pub cut_ppm: u32,
    /// The network splits.
    #[serde(default)]
    pub partition_ppm: u32,
    /// A link is reset.
    #[serde(default)]
    pub reset_ppm: u32,
    /// A node's processor is slow: 1 to 20 ms for each input.
    #[serde(default)]
    pub slow_ppm: u32,
    /// A node's links are slow: 4 to 64 kB a second each.
    #[serde(default)]
    pub throttle_ppm: u32,
    /// Packets are lost for a while.
    #[serde(default)]
    pub loss_ppm: u32,
    /// Frames are damaged for a while.
    #[serde(default)]
    pub damage_ppm: u32,
}
