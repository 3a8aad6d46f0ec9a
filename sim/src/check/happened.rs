//! The proof that a run hurt: faults that were planned took place. A run that nothing happened
//! to proves nothing.

use tidings_proto::Instant;

use super::Verdicts;

/// The rule's name.
pub const RULE: &str = "no chaos";

/// Of so many planned faults of a kind at least one must take place. Fewer may all hit nodes that
/// are down already.
const PLANNED_MIN: u64 = 8;

/// A kind of faults: how many were planned, and how many took place.
pub fn judge(
    verdicts: &mut Verdicts,
    now: Instant,
    kinds: impl IntoIterator<Item = (&'static str, u64, u64)>,
) {
    for (kind, planned, happened) in kinds {
        if planned >= PLANNED_MIN && happened == 0 {
            let text = format_args!("{planned} {kind} were planned and none took place");
            verdicts.report(RULE, now, 0, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_when_nothing_of_a_kind_took_place() {
        let mut verdicts = Verdicts::default();
        let kinds = [("pauses", 3, 0), ("cuts", 9, 1), ("leaves", 0, 0)];
        judge(&mut verdicts, Instant::ZERO, kinds);
        assert_eq!(verdicts.total, 0);
        judge(&mut verdicts, Instant::ZERO, [("pauses", 8, 0)]);
        assert!(verdicts.broke(RULE));
    }
}
