//! Whose a topic is: which record may follow which.

use crate::wire::record::TopicRecord;

/// What a new record of a topic meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// It is to be kept.
    Accepted,
    /// It is what is kept already.
    Known,
    /// What is kept stands against it.
    Against,
}

/// Whether a topic's host is gone for good, as far as others are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Abandoned {
    /// It is not.
    No,
    /// Anybody may take the topic over, and it goes on.
    Orphaned,
    /// The topic is there no more: anybody may create it anew.
    Dropped,
}

/// A host may be ahead of what the seeds know of a topic by so many changes. Far less than what is
/// left above [`FIRST_MAX`], so that nobody uses a name up.
const AHEAD_MAX: u64 = 1_000;
/// The highest generation and version of a name of which the seeds know nothing: those of a topic
/// that was deleted and created again each millisecond for weeks before they forgot it.
const FIRST_MAX: u64 = 1 << 32;

/// Whether a host may have come to the generation and the version of `new`.
pub(super) fn is_plausible(current: Option<&TopicRecord>, new: &TopicRecord) -> bool {
    match current {
        None => new.generation.max(new.version) <= FIRST_MAX,
        Some(old) if new.generation == old.generation => new.version <= old.version + AHEAD_MAX,
        Some(old) => new.generation <= old.generation + AHEAD_MAX && new.version <= AHEAD_MAX,
    }
}

/// Whether `new` may follow `current`. Nobody takes a living topic from another host, unless the
/// topic is `abandoned`; nothing of a deleted generation comes back; and a host's own records
/// follow each other by their versions.
pub(super) fn judge(
    current: Option<&TopicRecord>,
    new: &TopicRecord,
    abandoned: Abandoned,
) -> Judged {
    let Some(old) = current else { return Judged::Accepted };
    if old == new {
        return Judged::Known;
    }
    let follows = if new.generation == old.generation {
        let is_heir = abandoned != Abandoned::No && !new.deleted;
        !old.deleted && new.version > old.version && (new.host == old.host || is_heir)
    } else {
        let may_begin = old.deleted || old.host == new.host || abandoned == Abandoned::Dropped;
        new.generation > old.generation && may_begin && !new.deleted
    };
    // What is created anew begins above all that was forgotten of other topics.
    let is_anew = old.deleted || abandoned == Abandoned::Dropped;
    let begins = is_anew && new.generation <= FIRST_MAX && new.version <= AHEAD_MAX;
    let is_plausible = is_plausible(current, new) || (new.generation > old.generation && begins);
    if follows && is_plausible { Judged::Accepted } else { Judged::Against }
}

#[cfg(test)]
mod tests {
    use super::Abandoned::{Dropped, No, Orphaned};
    use super::*;
    use crate::id::{NodeId, Topic};
    use crate::wire::record::TopicPolicy;

    fn record(generation: u64, version: u64, host: u8, deleted: bool) -> TopicRecord {
        TopicRecord {
            topic: Topic::new("t").expect("legal"),
            generation,
            version,
            host: NodeId([host; 32]),
            created_at_us: 0,
            policy: TopicPolicy::default(),
            deleted,
        }
    }

    #[test]
    fn a_topic_is_its_hosts_until_it_is_deleted_or_orphaned() {
        let live = record(1, 2, 1, false);
        let dead = record(1, 3, 1, true);
        for (current, new, abandoned, expected) in [
            (None, &live, No, Judged::Accepted),
            (Some(&live), &live, No, Judged::Known),
            (Some(&live), &dead, No, Judged::Accepted),
            (Some(&live), &record(1, 1, 1, false), No, Judged::Against),
            (Some(&live), &record(1, 1, 1, true), No, Judged::Against),
            (Some(&live), &record(1, 3, 2, false), No, Judged::Against),
            (Some(&live), &record(2, 1, 2, false), No, Judged::Against),
            (Some(&live), &record(1, 9, 2, true), No, Judged::Against),
            (Some(&live), &record(1, 3, 2, false), Orphaned, Judged::Accepted),
            (Some(&live), &record(1, 2, 2, false), Orphaned, Judged::Against),
            (Some(&live), &record(1, 3, 2, true), Orphaned, Judged::Against),
            (Some(&live), &record(2, 1, 2, false), Orphaned, Judged::Against),
            (Some(&live), &record(2, 1, 2, false), Dropped, Judged::Accepted),
            (Some(&dead), &record(1, 9, 1, false), Orphaned, Judged::Against),
            (Some(&dead), &record(2, 1, 2, false), No, Judged::Accepted),
            (Some(&dead), &record(2, 1, 2, true), No, Judged::Against),
            (Some(&live), &record(1, 3_000, 1, false), No, Judged::Against),
            (Some(&live), &record(3_000, 1, 1, false), No, Judged::Against),
            (Some(&dead), &record(3_000, 1, 2, false), No, Judged::Accepted),
            (Some(&dead), &record(1 << 33, 1, 2, false), No, Judged::Against),
            (Some(&dead), &record(2, 3_000, 2, false), No, Judged::Against),
        ] {
            assert_eq!(judge(current, new, abandoned), expected, "{current:?} then {new:?}");
        }
    }
}
