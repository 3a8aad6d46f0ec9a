//! What frames are for: the kinds in which traffic is counted.

use crate::wire::frame::{Cause, Frame};

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameKind {
    /// A batch, sent because it is new.
    Push,
    /// A batch, sent because it was pulled, grafted or asked for as history.
    Repair,
    /// Batches that can be had.
    Announce,
    /// A link becomes lazy.
    Prune,
    /// A link becomes eager.
    Graft,
    /// How far a stream has come, for who pushes it.
    Frontier,
    /// A hash of how far streams are.
    Digest,
    /// How far streams are.
    Heads,
    /// A request for missing or former batches, or the end of its answer.
    Pull,
    /// A ping or its answer.
    Liveness,
    /// Links and views: greetings, interests, shuffles, goodbyes.
    Overlay,
    /// Between peers and seeds.
    Seeds,
    /// Between seeds.
    Tables,
}

impl FrameKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Push,
        Self::Repair,
        Self::Announce,
        Self::Prune,
        Self::Graft,
        Self::Frontier,
        Self::Digest,
        Self::Heads,
        Self::Pull,
        Self::Liveness,
        Self::Overlay,
        Self::Seeds,
        Self::Tables,
    ];

    /// The kind of a frame.
    pub fn of(frame: &Frame) -> Self {
        match frame {
            Frame::Batch(batch) if batch.cause == Cause::Push => Self::Push,
            Frame::Batch(_) => Self::Repair,
            Frame::Announce(_) => Self::Announce,
            Frame::Prune(_) => Self::Prune,
            Frame::Graft(_) | Frame::GraftAll(_) => Self::Graft,
            Frame::Reached(_) => Self::Frontier,
            Frame::Digest(_) => Self::Digest,
            Frame::Heads(_) => Self::Heads,
            Frame::Pull(_) | Frame::PullDone(_) | Frame::History(_) | Frame::HistoryDone(_) => {
                Self::Pull
            }
            Frame::Ping(_) | Frame::Pong(_) => Self::Liveness,
            Frame::Hello(_)
            | Frame::Goodbye(_)
            | Frame::Accept
            | Frame::Refuse(_)
            | Frame::Interests(_)
            | Frame::Shuffle(_)
            | Frame::ShuffleReply(_) => Self::Overlay,
            Frame::Register(_)
            | Frame::Registered(_)
            | Frame::RegisterRefused(_)
            | Frame::Renew(_)
            | Frame::Renewed(_)
            | Frame::Put(_)
            | Frame::PutDone(_)
            | Frame::SampleRequest(_)
            | Frame::Sample(_)
            | Frame::Lookup(_)
            | Frame::Found(_)
            | Frame::List(_)
            | Frame::PeerPage(_)
            | Frame::TopicPage(_)
            | Frame::Report(_)
            | Frame::Dead(_)
            | Frame::Propose(_)
            | Frame::Proposed(_)
            | Frame::Watch(_)
            | Frame::Watched(_)
            | Frame::TopicNews(_)
            | Frame::SeedSet(_)
            | Frame::Admin(..)
            | Frame::AdminDone(..) => Self::Seeds,
            Frame::Records(_)
            | Frame::Leases(_)
            | Frame::TableDigest(_)
            | Frame::RecordsRequest(_)
            | Frame::Decree(_)
            | Frame::VotesRequest
            | Frame::VoteWithdrawn(..)
            | Frame::VoteAsked(..)
            | Frame::VoteStands(..)
            | Frame::Settled(_)
            | Frame::Forgetting(_)
            | Frame::Votes(_) => Self::Tables,
        }
    }

    /// Its name in metrics and views.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Repair => "repair",
            Self::Announce => "announce",
            Self::Prune => "prune",
            Self::Graft => "graft",
            Self::Frontier => "frontier",
            Self::Digest => "digest",
            Self::Heads => "heads",
            Self::Pull => "pull",
            Self::Liveness => "liveness",
            Self::Overlay => "overlay",
            Self::Seeds => "seeds",
            Self::Tables => "tables",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_numbered_in_order_and_named_apart() {
        for (number, kind) in FrameKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
        }
        let mut names = FrameKind::ALL.map(FrameKind::as_str).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FrameKind::ALL.len());
        assert_eq!(FrameKind::of(&Frame::Ping(1)), FrameKind::Liveness);
    }
}
