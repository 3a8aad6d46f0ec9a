//! S1: no message reaches an application twice; nor, after a restart, one that is long past.

use std::time::Duration;

use tidings_proto::Instant;

use super::Verdicts;
use crate::grid::Grid;

/// The rule's name.
pub const RULE: &str = "S1 duplicate";

/// Who has which message.
#[derive(Debug)]
pub struct Dedup {
    has: Grid,
    surprise: Duration,
    duplicates: u64,
}

impl Dedup {
    /// Nobody has anything. What was published longer before a subscription than `surprise`
    /// may not be delivered to it.
    pub fn new(peers: usize, surprise: Duration) -> Self {
        Self { has: Grid::new(peers), surprise, duplicates: 0 }
    }

    /// A message that was published at `published` reached a peer that asked for its topic at
    /// `asked`.
    pub fn delivered(
        &mut self,
        verdicts: &mut Verdicts,
        now: Instant,
        peer: u32,
        message: u32,
        [published, asked]: [Instant; 2],
    ) {
        if !self.has.set(message as usize, peer) {
            self.duplicates += 1;
            verdicts.report(RULE, now, peer, format_args!("message {message} again"));
        }
        if published + self.surprise < asked {
            self.duplicates += 1;
            let text = format_args!(
                "message {message} of {published:?} was delivered to a subscription of {asked:?}"
            );
            verdicts.report(RULE, now, peer, text);
        }
    }

    /// The application of a peer died with it.
    pub fn forget(&mut self, peer: u32) {
        self.has.clear(peer);
    }

    /// Who has which message.
    pub fn grid(&self) -> &Grid {
        &self.has
    }

    /// How many there were.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_on_the_second_delivery_and_on_the_long_past() {
        let mut verdicts = Verdicts::default();
        let mut judge = Dedup::new(10, Duration::from_secs(5));
        let at = Instant::from_millis;
        judge.delivered(&mut verdicts, at(10), 3, 0, [at(5), at(1)]);
        judge.delivered(&mut verdicts, at(10), 4, 0, [at(5), at(1)]);
        judge.forget(3);
        judge.delivered(&mut verdicts, at(12), 3, 0, [at(5), at(11)]);
        assert_eq!(verdicts.total, 0);
        judge.delivered(&mut verdicts, at(13), 4, 0, [at(5), at(1)]);
        assert!(verdicts.broke(RULE) && judge.duplicates() == 1);
        judge.delivered(&mut verdicts, at(9_000), 5, 0, [at(5), at(8_000)]);
        assert_eq!(judge.duplicates(), 2);
    }
}
