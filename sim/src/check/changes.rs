//! The set of seeds comes to be what was asked for, and everybody who is in it agrees.

use std::collections::BTreeSet;

use tidings_proto::Instant;

use super::Verdicts;

/// The rule's name.
pub const RULE: &str = "L6 seed set";

/// What a seed that runs says of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The seed.
    pub seed: u32,
    /// How many decisions it knows.
    pub version: u64,
    /// It is in the set.
    pub member: bool,
    /// The set is being changed.
    pub changing: bool,
    /// Who is in it.
    pub seeds: BTreeSet<u32>,
}

/// In the end: all seeds that ought to be in the set run, know the same set, and it is that one;
/// the others know that they are not in it.
pub fn judge(verdicts: &mut Verdicts, now: Instant, said: &[Said], expected: &BTreeSet<u32>) {
    for of in said {
        let should = expected.contains(&of.seed);
        let fits = of.member == should && (!should || !of.changing && of.seeds == *expected);
        if !fits {
            let text = format_args!("it says {of:?}, and the set is to be {expected:?}");
            verdicts.report(RULE, now, of.seed, text);
        }
    }
    let there: BTreeSet<u32> = said.iter().map(|of| of.seed).collect();
    for missing in expected.difference(&there) {
        verdicts.report(RULE, now, *missing, format_args!("it does not run"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(seed: u32, member: bool, changing: bool, seeds: &[u32]) -> Said {
        let seeds = seeds.iter().copied().collect();
        Said { seed, version: 4, member, changing, seeds }
    }

    #[test]
    fn fires_on_sets_that_differ_and_changes_that_do_not_end() {
        let expected = BTreeSet::from([1, 2]);
        let broken = |said: &[Said]| {
            let mut verdicts = Verdicts::default();
            judge(&mut verdicts, Instant::ZERO, said, &expected);
            verdicts.broke(RULE)
        };
        let whole = [
            said(0, false, false, &[1, 2]),
            said(1, true, false, &[1, 2]),
            said(2, true, false, &[1, 2]),
        ];
        assert!(!broken(&whole));
        assert!(broken(&whole[..2]), "one is missing");
        for bad in [
            said(0, true, false, &[0, 1, 2]),
            said(1, true, true, &[1, 2]),
            said(1, true, false, &[1, 2, 3]),
            said(2, false, false, &[1]),
        ] {
            let mut all = whole.to_vec();
            let at = bad.seed as usize;
            all[at] = bad;
            assert!(broken(&all));
        }
    }
}
