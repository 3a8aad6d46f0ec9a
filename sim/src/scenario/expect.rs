//! What a scenario expects of a run.

use serde::Deserialize;

/// What the judges expect.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// L1: every live subscriber has every message in the end.
    pub complete: bool,
    /// A subscription counts for L1 this long after it was answered: the time that a new
    /// subscriber may take to find neighbours.
    pub grace_ms: u64,
    /// L1 is about messages that were published from here on: older ones may have left all
    /// retention before everybody could have them.
    pub complete_from_ms: u64,
    /// The least part of all deliveries due that must take place, where `complete` asks for less
    /// than all.
    pub delivered_min_ppm: u32,
    /// Messages may be given up as explicit gaps.
    pub gaps: bool,
    /// L3: a dead peer is in no seed's list after this.
    pub delisted_within_ms: Option<u64>,
    /// 99% of the crashed peers are declared dead within this.
    pub dead_within_ms: Option<u64>,
    /// So many living peers may be declared dead; absent for any number.
    pub evicted_max: Option<u64>,
    /// Nothing is delivered that was published this long before the subscription.
    pub surprise_ms: u64,
    /// The live peers form one overlay in the end.
    pub one_overlay: bool,
    /// L2: the live peers form one overlay this long after each crash of many and each partition.
    pub whole_within_ms: Option<u64>,
    /// L4: without faults, the tables of all seeds are the same at least once in such a time.
    pub tables_equal_within_ms: Option<u64>,
    /// S4: so many seeds may lose their memory at once without loss of what was acknowledged;
    /// absent for a minority, as the design promises. More is a way to break the promise.
    pub seeds_lost_max: Option<u32>,
    /// So many commands may be refused for want of a majority; absent for any number.
    pub no_quorum_max: Option<u64>,
    /// L5: the p99 of all but the slow ones is at most this much larger, in parts per million,
    /// than without slow ones; needs `beside = ["unslowed"]`.
    pub bystanders_more_ppm: Option<u32>,
    /// Every command has been answered after this.
    pub answered_within_ms: u64,
    /// Redundancy and latency count what is published from here on.
    pub measure_from_ms: u64,
    /// And until here.
    pub measure_until_ms: u64,
}

impl Default for Expect {
    fn default() -> Self {
        Self {
            complete: true,
            grace_ms: 2_000,
            complete_from_ms: 0,
            delivered_min_ppm: 0,
            gaps: false,
            delisted_within_ms: None,
            dead_within_ms: None,
            evicted_max: None,
            surprise_ms: 5_000,
            one_overlay: true,
            whole_within_ms: None,
            tables_equal_within_ms: None,
            seeds_lost_max: None,
            no_quorum_max: None,
            bystanders_more_ppm: None,
            answered_within_ms: 10_000,
            measure_from_ms: 0,
            measure_until_ms: u64::MAX,
        }
    }
}
