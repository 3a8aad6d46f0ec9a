//! L2: in the end the live peers form one overlay.

use std::time::Duration;

use tidings_proto::Instant;

use super::Verdicts;

/// The rule's name.
pub const RULE: &str = "L2 overlay";

/// The parts that edges leave of a set of nodes.
#[derive(Debug)]
pub struct Parts {
    parent: Vec<u32>,
}

impl Parts {
    /// As many nodes, each alone.
    pub fn new(nodes: u32) -> Self {
        Self { parent: (0..nodes).collect() }
    }

    /// Two nodes are neighbours.
    pub fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        self.parent[a.max(b) as usize] = a.min(b);
    }

    /// The lowest node of the part that `node` is in.
    pub fn root(&mut self, mut node: u32) -> u32 {
        while self.parent[node as usize] != node {
            let up = self.parent[self.parent[node as usize] as usize];
            self.parent[node as usize] = up;
            node = up;
        }
        node
    }
}

/// The rule's name for an overlay that took too long to be whole.
pub const WHOLE_RULE: &str = "L2 whole in time";

/// In how many parts the `live` peers are.
pub fn parts(nodes: u32, live: &[u32], edges: &[(u32, u32)]) -> usize {
    roots(nodes, live, edges).len()
}

/// The overlay became whole, or is still in `parts`, `after` a disturbance.
pub fn whole(
    verdicts: &mut Verdicts,
    now: Instant,
    (after, bound): (Duration, Duration),
    parts: usize,
) {
    if parts > 1 && after >= bound {
        verdicts.report(WHOLE_RULE, now, 0, format_args!("{parts} parts after {after:?}"));
    }
}

fn roots(nodes: u32, live: &[u32], edges: &[(u32, u32)]) -> Vec<u32> {
    let mut parts = Parts::new(nodes);
    for &(a, b) in edges {
        parts.join(a, b);
    }
    let mut roots: Vec<u32> = live.iter().map(|&node| parts.root(node)).collect();
    roots.sort_unstable();
    roots.dedup();
    roots
}

/// Judges the links among `live` peers; returns in how many parts they are.
pub fn judge(
    verdicts: &mut Verdicts,
    now: Instant,
    nodes: u32,
    live: &[u32],
    edges: &[(u32, u32)],
) -> usize {
    let roots = roots(nodes, live, edges);
    if roots.len() > 1 {
        let text = format_args!("{} peers are in {} parts", live.len(), roots.len());
        verdicts.report(RULE, now, roots[1], text);
    }
    roots.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_on_a_split() {
        let mut verdicts = Verdicts::default();
        let whole = [(0, 1), (2, 1), (3, 2)];
        assert_eq!(judge(&mut verdicts, Instant::ZERO, 5, &[0, 1, 2, 3], &whole), 1);
        assert_eq!(verdicts.total, 0);
        assert_eq!(judge(&mut verdicts, Instant::ZERO, 5, &[0, 1, 2, 3, 4], &whole), 2);
        assert!(verdicts.broke(RULE));
        assert_eq!(verdicts.kept[0].node, 4);
    }
}
