//! L4: seeds that can reach each other hold the same, also those that were restarted or wiped.

use std::time::Duration;

use tidings_proto::Instant;

use super::Verdicts;

/// The rule's name.
pub const RULE: &str = "L4 tables";

/// How the tables of the seeds compare over time.
#[derive(Debug)]
pub struct Converge {
    bound: Duration,
    /// Since when they have been different although nothing is wrong.
    since: Option<Instant>,
    longest: Duration,
    compared: u64,
}

impl Converge {
    /// Tables may differ for at most `bound`.
    pub fn new(bound: Duration) -> Self {
        Self { bound, since: None, longest: Duration::ZERO, compared: 0 }
    }

    /// The hashes of the tables of all seeds that run, by seed. `calm` says that nothing is wrong
    /// with any of them; the time begins anew when it is.
    pub fn look(
        &mut self,
        verdicts: &mut Verdicts,
        now: Instant,
        hashes: &[(u32, [u8; 32])],
        calm: bool,
    ) {
        let odd = hashes.iter().find(|(_, hash)| *hash != hashes[0].1);
        let Some((seed, _)) = odd.filter(|_| calm) else {
            self.compared += u64::from(calm && hashes.len() > 1);
            self.since = None;
            return;
        };
        let since = *self.since.get_or_insert(now);
        let lasted = now.since(since);
        self.longest = self.longest.max(lasted);
        if lasted >= self.bound {
            let text = format_args!("its table differs from that of others since {since:?}");
            verdicts.report(RULE, now, *seed, text);
            self.since = Some(now);
        }
    }

    /// How long tables differed at most.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// How often several tables were seen to be the same.
    pub fn compared(&self) -> u64 {
        self.compared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_when_tables_differ_for_too_long() {
        let at = Instant::from_millis;
        let (same, different) = ([(0, [1; 32]), (1, [1; 32])], [(0, [1; 32]), (2, [2; 32])]);
        let mut verdicts = Verdicts::default();
        let mut judge = Converge::new(Duration::from_secs(5));
        judge.look(&mut verdicts, at(0), &different, false);
        judge.look(&mut verdicts, at(6_000), &different, true);
        judge.look(&mut verdicts, at(10_000), &different, true);
        judge.look(&mut verdicts, at(10_500), &same, true);
        judge.look(&mut verdicts, at(11_000), &different, true);
        judge.look(&mut verdicts, at(15_999), &different, true);
        assert_eq!((verdicts.total, judge.compared()), (0, 1));
        judge.look(&mut verdicts, at(16_000), &different, true);
        assert!(verdicts.broke(RULE));
        assert_eq!((verdicts.kept[0].node, judge.longest()), (2, Duration::from_secs(5)));
        judge.look(&mut verdicts, at(17_000), &[], true);
        assert_eq!(verdicts.total, 1);
    }
}
