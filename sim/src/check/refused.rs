//! What needs a majority of the seeds is not refused while there is one.

use tidings_proto::Instant;

use super::Verdicts;

/// The rule's name.
pub const RULE: &str = "S9 majority";

/// Counts refusals for want of a majority.
#[derive(Debug)]
pub struct Refused {
    max: Option<u64>,
    count: u64,
}

impl Refused {
    /// So many are no violation; any number, without a limit.
    pub fn new(max: Option<u64>) -> Self {
        Self { max, count: 0 }
    }

    /// A command was refused.
    pub fn refused(&mut self, verdicts: &mut Verdicts, now: Instant, peer: u32, request: u64) {
        self.count += 1;
        if self.max.is_some_and(|max| self.count > max) {
            verdicts.report(RULE, now, peer, format_args!("{request:#x} found no majority"));
        }
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_when_more_are_refused_than_may_be() {
        let mut verdicts = Verdicts::default();
        let mut any = Refused::new(None);
        any.refused(&mut verdicts, Instant::ZERO, 0, 1);
        let mut one = Refused::new(Some(1));
        one.refused(&mut verdicts, Instant::ZERO, 0, 1);
        assert_eq!((verdicts.total, any.count()), (0, 1));
        one.refused(&mut verdicts, Instant::ZERO, 0, 2);
        assert!(verdicts.broke(RULE));
    }
}
