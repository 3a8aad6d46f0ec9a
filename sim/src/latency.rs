//! How long bytes travel: a fixed time per pair of nodes and direction, drawn from the model by
//! hashing, so that nothing has to be stored per pair.

use serde::Deserialize;

use crate::rng::mix;

/// Where the nodes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Latency {
    /// 10 to 50 ms one way: the model of the research that the targets come from.
    #[default]
    Uniform,
    /// 0.2 to 1 ms one way.
    Lan,
    /// Five regions, one-way times of public clouds between them, 0.2 to 2 ms within.
    Wan,
}

/// One-way milliseconds between Virginia, Oregon, Frankfurt, Singapore and São Paulo: half the
/// round trips that public monitors of clouds publish, rounded.
const REGIONS_MS: [[u32; 5]; 5] = [
    [0, 33, 45, 110, 57],
    [33, 0, 72, 83, 88],
    [45, 72, 0, 78, 102],
    [110, 83, 78, 0, 163],
    [57, 88, 102, 163, 0],
];

impl Latency {
    /// Microseconds from node `from` to node `to` in the run numbered `seed`.
    pub fn one_way_us(self, seed: u64, from: u32, to: u32) -> u32 {
        let drawn = mix(seed ^ mix(u64::from(from) << 32 | u64::from(to)));
        let between = |low: u32, high: u32| {
            low + u32::try_from(drawn % u64::from(high - low + 1)).expect("below a u32")
        };
        match self {
            Self::Uniform => between(10_000, 50_000),
            Self::Lan => between(200, 1_000),
            Self::Wan => {
                let region = |node: u32| usize::try_from(mix(seed ^ u64::from(node)) % 5);
                let (Ok(a), Ok(b)) = (region(from), region(to)) else { return 0 };
                // Jitter of the path, not of time: up to 2 ms within the region at each end.
                REGIONS_MS[a][b] * 1_000 + between(200, 2_000)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_in_range_and_differ_by_direction() {
        let all: Vec<u32> = (0..1_000).map(|i| Latency::Uniform.one_way_us(1, i, i + 1)).collect();
        assert!(all.iter().all(|us| (10_000..=50_000).contains(us)));
        let mean = all.iter().sum::<u32>() / 1_000;
        assert!((28_000..32_000).contains(&mean), "{mean}");
        assert_ne!(Latency::Lan.one_way_us(1, 2, 3), Latency::Lan.one_way_us(1, 3, 2));
        assert!((0..100).all(|i| Latency::Wan.one_way_us(1, i, i + 7) <= 165_000));
    }
}
