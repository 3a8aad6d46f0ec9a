//! Whether the next batches of a stream are on their way.
//!
//! A link carries what is pushed on it in order. Under load batches queue on the links of their
//! tree and their announcements overtake them on others: as long as the link that pushes a stream
//! makes progress in it, what comes later in the stream is behind, not lost. To fetch it elsewhere
//! would put the same load on further links.

use core::time::Duration;

use crate::id::LinkId;
use crate::time::Instant;

/// A link that pushed nothing of the stream for so long makes no progress: the time after which an
/// announced batch is fetched at the latest, twice.
const PROGRESS: Duration = Duration::from_millis(300);
/// What was announced longer ago is fetched though there is progress: a tenth of the time after
/// which a hole is given up.
const PATIENCE: Duration = Duration::from_secs(3);

/// How far a stream was pushed here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    last: Option<Push>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Push {
    link: LinkId,
    at: Instant,
    seq: u64,
}

impl Flow {
    /// A link pushed a new batch that ends with this number.
    pub(crate) fn pushed(&mut self, now: Instant, link: LinkId, seq: u64) {
        self.last = Some(Push { link, at: now, seq });
    }

    /// Whether the batch that begins with `first_seq`, announced at `since`, is behind what
    /// `parent` pushes.
    pub(crate) fn brings(
        &self,
        now: Instant,
        parent: LinkId,
        (first_seq, since): (u64, Instant),
    ) -> bool {
        now.since(since) < PATIENCE
            && self.last.is_some_and(|push| {
                push.link == parent && now.since(push.at) < PROGRESS && push.seq < first_seq
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: LinkId = LinkId(1);

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn what_comes_later_in_a_stream_that_makes_progress_is_behind() {
        let mut flow = Flow::default();
        assert!(!flow.brings(at(0), PARENT, (1, at(0))), "nothing was pushed");
        flow.pushed(at(0), PARENT, 10);
        assert!(flow.brings(at(100), PARENT, (11, at(50))));
        assert!(!flow.brings(at(100), LinkId(2), (11, at(50))), "another parent");
        assert!(!flow.brings(at(100), PARENT, (10, at(50))), "passed over");
        assert!(!flow.brings(at(300), PARENT, (11, at(50))), "no progress");
    }

    #[test]
    fn patience_ends() {
        let mut flow = Flow::default();
        flow.pushed(at(3_000), PARENT, 10);
        assert!(flow.brings(at(3_000), PARENT, (20, at(1))));
        assert!(!flow.brings(at(3_000), PARENT, (20, at(0))));
    }
}
