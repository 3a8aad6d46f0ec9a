//! L1: in the end, every live subscriber has every message that was published while it was
//! subscribed and that somebody alive has.

use std::collections::BTreeSet;
use std::time::Duration;

use tidings_proto::Instant;

use super::Verdicts;
use crate::grid::Grid;
use crate::ledger::{Ledger, State};

/// The rule's name.
pub const RULE: &str = "L1 delivery";
/// The rule's name when the message was given up explicitly where that is not allowed.
pub const GAP_RULE: &str = "L1 gap";

/// The rule's name where a part may be missing.
pub const SHARE_RULE: &str = "L1 share";

/// What the judge is told at the end.
#[derive(Debug)]
pub struct Ending<'a> {
    /// The publications.
    pub ledger: &'a Ledger,
    /// Who has which.
    pub has: &'a Grid,
    /// Messages that were given up: (message, peer).
    pub gaps: &'a BTreeSet<(u32, u32)>,
    /// Messages that were published before are left out.
    pub from: Instant,
    /// How long a new subscriber may take to find its neighbours.
    pub grace: Duration,
    /// An explicit gap is no violation.
    pub gaps_allowed: bool,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Deliveries that were due, times the peers.
    pub expected: u64,
    /// Messages that some peer lacks, times those peers.
    pub missed: u64,
    /// Messages that were given up explicitly, times the peers that gave them up.
    pub gaps: u64,
    /// Messages that nobody alive has: their publisher died with them.
    pub lost: u64,
}

impl Found {
    /// Which part of what was due took place; 1 when nothing was due.
    pub fn share(&self) -> f64 {
        if self.expected == 0 {
            return 1.0;
        }
        1.0 - (self.missed + self.gaps) as f64 / self.expected as f64
    }
}

/// L1, where a part may be missing: at least `min_ppm` of what was due took place.
pub fn share(verdicts: &mut Verdicts, now: Instant, found: Found, min_ppm: u32) {
    if found.share() * 1e6 < f64::from(min_ppm) {
        let text = format_args!("only {:.4}% of what was due", found.share() * 100.0);
        verdicts.report(SHARE_RULE, now, 0, text);
    }
}

/// Compares what peers have with what they should have. `since(peer, topic)` is when a live
/// peer's subscription was answered; `alive_since(peer)` is when a live peer started.
pub fn judge(
    ending: &Ending<'_>,
    verdicts: &mut Verdicts,
    now: Instant,
    since: impl Fn(u32, u16) -> Option<Instant>,
    alive: &[Option<Instant>],
) -> Found {
    let mut found = Found::default();
    for (number, message) in (0..).zip(&ending.ledger.all) {
        if !matches!(message.state, State::Accepted(_)) || message.at < ending.from {
            continue;
        }
        let row = ending.has.row(number as usize);
        let origin_lives =
            alive[message.origin as usize].is_some_and(|started| started <= message.at);
        if !origin_lives && row.iter().all(|word| *word == 0) {
            found.lost += 1;
            continue;
        }
        for peer in 0..u32::try_from(alive.len()).expect("fewer than 2^24 peers") {
            let expected = alive[peer as usize].is_some()
                && since(peer, message.topic)
                    .is_some_and(|since| since + ending.grace <= message.at);
            if !expected {
                continue;
            }
            found.expected += 1;
            let word = row.get(peer as usize / 64).copied().unwrap_or(0);
            if word & 1 << (peer % 64) != 0 {
                continue;
            }
            let text = format_args!("message {number}: {message:?}");
            if ending.gaps.contains(&(number, peer)) {
                found.gaps += 1;
                if !ending.gaps_allowed {
                    verdicts.report(GAP_RULE, now, peer, text);
                }
            } else {
                found.missed += 1;
                verdicts.report(RULE, now, peer, text);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_for_those_that_were_there_and_only_for_them() {
        let at = Instant::from_millis;
        let mut ledger = Ledger::default();
        for origin in [0, 1, 1] {
            let (number, _) = ledger.publish(at(5_000), origin, 0, 8);
            ledger.all[number as usize].state = State::Accepted(1);
        }
        ledger.all[2].state = State::Refused;
        let mut has = Grid::new(6);
        // Peer 2 has message 0, so it is not lost although its publisher 0 is dead.
        has.set(0, 2);
        let gaps = BTreeSet::from([(0, 3)]);
        let alive = [None, Some(at(6_000)), Some(at(0)), Some(at(0)), Some(at(0)), Some(at(0))];
        let since = |peer: u32, _| match peer {
            1 => Some(at(6_500)),
            2 | 3 => Some(at(100)),
            4 => Some(at(4_500)),
            5 => Some(at(200)),
            _ => None,
        };
        let grace = Duration::from_secs(1);
        let from = Instant::ZERO;
        let gaps_allowed = false;
        let ending = Ending { ledger: &ledger, has: &has, gaps: &gaps, from, grace, gaps_allowed };
        let mut verdicts = Verdicts::default();
        let found = judge(&ending, &mut verdicts, at(9_000), since, &alive);
        // Message 1 is lost: its publisher 1 has restarted since and nobody else has it.
        assert_eq!(found, Found { expected: 3, missed: 1, gaps: 1, lost: 1 });
        assert!(verdicts.broke(RULE) && verdicts.broke(GAP_RULE));
        assert_eq!(verdicts.kept.iter().map(|v| v.node).collect::<Vec<_>>(), [3, 5]);
        share(&mut verdicts, at(9_000), found, 330_000);
        assert!(!verdicts.broke(SHARE_RULE));
        share(&mut verdicts, at(9_000), found, 340_000);
        assert!(verdicts.broke(SHARE_RULE));
    }
}
