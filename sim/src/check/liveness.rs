//! L3: a peer that died leaves every seed's list within a bound; the living stay listed.

use std::time::Duration;

use tidings_proto::Instant;

use super::Verdicts;

/// The rule's name for the dead.
pub const RULE: &str = "L3 delisted";
/// The rule's name for the living.
pub const ALIVE_RULE: &str = "L3 listed";

/// A peer that was seen to end.
#[derive(Clone, Copy, Debug)]
pub struct Death {
    /// The peer's node.
    pub node: u32,
    /// When it ended.
    pub at: Instant,
}

/// A seed still lists (`listed`) or does not list a peer that died.
pub fn dead(
    verdicts: &mut Verdicts,
    now: Instant,
    seed: u32,
    death: Death,
    (bound, listed): (Duration, bool),
) {
    if listed && death.at + bound <= now {
        let text = format_args!("seed {seed} lists it, dead since {:?}", death.at);
        verdicts.report(RULE, now, death.node, text);
    }
}

/// At the end, a seed lists (`listed`) or does not list a peer that lives since `started`.
pub fn alive(
    verdicts: &mut Verdicts,
    now: Instant,
    seed: u32,
    (node, started): (u32, Instant),
    (bound, listed): (Duration, bool),
) {
    if !listed && started + bound <= now {
        let text = format_args!("seed {seed} does not list it as alive, up since {started:?}");
        verdicts.report(ALIVE_RULE, now, node, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_on_the_dead_that_are_listed_and_the_living_that_are_not() {
        let at = Instant::from_millis;
        let bound = Duration::from_secs(8);
        let mut verdicts = Verdicts::default();
        let death = Death { node: 9, at: at(1_000) };
        dead(&mut verdicts, at(8_000), 0, death, (bound, true));
        dead(&mut verdicts, at(9_000), 0, death, (bound, false));
        alive(&mut verdicts, at(9_000), 0, (3, at(2_000)), (bound, false));
        alive(&mut verdicts, at(9_000), 0, (3, at(500)), (bound, true));
        assert_eq!(verdicts.total, 0);
        dead(&mut verdicts, at(9_000), 0, death, (bound, true));
        assert!(verdicts.broke(RULE));
        alive(&mut verdicts, at(9_000), 0, (3, at(1_000)), (bound, false));
        assert!(verdicts.broke(ALIVE_RULE));
    }
}
