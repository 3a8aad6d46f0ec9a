//! What a node's links have carried and shed since it started: all links together, also those
//! that are gone.

use tidings_proto::Class;
use tidings_proto::wire::kind::FrameKind;

/// How many classes there are.
pub(crate) const CLASSES: usize = Class::ALL.len();
const KINDS: usize = FrameKind::ALL.len();
const REASONS: usize = ShedReason::ALL.len();

/// Frames and their bytes, before encryption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Frames.
    pub frames: u64,
    /// Bytes, lengths and kinds included.
    pub bytes: u64,
}

impl Count {
    pub(crate) fn add(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }
}

/// Why a frame was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShedReason {
    /// Its class has a share of the link's queue, which was full.
    ClassFull,
    /// The queue as a whole was full, and nothing less urgent was in it, or something more urgent
    /// needed the room.
    QueueFull,
    /// The link was closed before its turn came.
    LinkClosed,
}

impl ShedReason {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::ClassFull, Self::QueueFull, Self::LinkClosed];

    /// Its name in metrics and views.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClassFull => "class_full",
            Self::QueueFull => "queue_full",
            Self::LinkClosed => "link_closed",
        }
    }
}

/// Counters of all links of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    sent: [Count; KINDS],
    received: [Count; KINDS],
    shed: [[Count; CLASSES]; REASONS],
    /// Frames received of a kind that this version does not know.
    pub unknown_frames: u64,
    /// Links closed because not even control frames had room.
    pub links_overflowed: u64,
}

impl Traffic {
    /// Frames of a kind that were handed to TLS.
    pub fn sent(&self, kind: FrameKind) -> Count {
        self.sent[kind as usize]
    }

    /// Frames of a kind that were received.
    pub fn received(&self, kind: FrameKind) -> Count {
        self.received[kind as usize]
    }

    /// Frames of a class that were not sent.
    pub fn shed(&self, reason: ShedReason, class: Class) -> Count {
        self.shed[reason as usize][class as usize]
    }

    pub(crate) fn count_sent(&mut self, kind: FrameKind, bytes: usize) {
        self.sent[kind as usize].add(bytes);
    }

    pub(crate) fn count_received(&mut self, kind: FrameKind, bytes: usize) {
        self.received[kind as usize].add(bytes);
    }

    pub(crate) fn count_shed(&mut self, reason: ShedReason, class: Class, bytes: usize) {
        self.shed[reason as usize][class as usize].add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cell_is_its_own() {
        let mut traffic = Traffic::default();
        traffic.count_sent(FrameKind::Tables, 5);
        traffic.count_sent(FrameKind::Tables, 7);
        traffic.count_received(FrameKind::Push, 3);
        traffic.count_shed(ShedReason::LinkClosed, Class::Announce, 9);
        assert_eq!(traffic.sent(FrameKind::Tables), Count { frames: 2, bytes: 12 });
        assert_eq!(traffic.received(FrameKind::Push), Count { frames: 1, bytes: 3 });
        let shed = traffic.shed(ShedReason::LinkClosed, Class::Announce);
        assert_eq!(shed, Count { frames: 1, bytes: 9 });
        assert_eq!(traffic.sent(FrameKind::Push), Count::default());
        assert_eq!(traffic.shed(ShedReason::ClassFull, Class::Announce), Count::default());
        for (number, reason) in ShedReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
        }
    }
}
