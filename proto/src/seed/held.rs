//! What the machine wants done, kept back until what it depends on is on disk.
//!
//! Anything that tells others of the tables depends on them. So every frame waits until all that
//! was changed up to the input which made it is on disk, but for those that say nothing: pings,
//! greetings, questions. A disk that is slow for a moment makes nobody suspect.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::LinkId;
use crate::machine::Output;
use crate::seed::event::{Durable, Event};
use crate::wire::frame::Frame;

/// Frames that wait for the disk. About 50 MB of usual ones; a disk that syncs once in 2 ms and
/// 20,000 frames a second make 40.
pub(super) const HELD_MAX: usize = 131_072;
/// Of these, on one link: a peer that repeats all its topics gets 10,000 answers. Who asks for more
/// than that while the disk stands still takes the room of nobody else.
const HELD_PER_LINK_MAX: usize = HELD_MAX / 8;

type Out = Output<Event, Durable>;

/// Outputs that wait, in order.
#[derive(Debug, Default)]
pub(super) struct Held {
    queue: VecDeque<(u64, Out)>,
    /// How many outputs of a link wait.
    links: BTreeMap<LinkId, usize>,
    /// The token of the last change.
    token: u64,
    /// Everything up to this token is on disk.
    kept: u64,
    /// Links whose frames found no room.
    overflowed: BTreeSet<LinkId>,
}

impl Held {
    /// The token of a change that goes out now.
    pub(super) fn next_token(&mut self) -> u64 {
        self.token += 1;
        self.token
    }

    /// How many outputs wait.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Returns the output if it may be done now; otherwise it waits for what was changed so far.
    pub(super) fn pass(&mut self, output: Out) -> Option<Out> {
        let link = link_of(&output);
        let waits = self.kept < self.token && self.depends(&output);
        if !waits {
            return Some(output);
        }
        if let Some(link) = link {
            let of_link = self.links.get(&link).copied().unwrap_or(0);
            if of_link >= HELD_PER_LINK_MAX || self.queue.len() >= HELD_MAX {
                self.overflowed.insert(link);
                return None;
            }
            self.links.insert(link, of_link + 1);
        }
        self.queue.push_back((self.token, output));
        None
    }

    fn depends(&self, output: &Out) -> bool {
        match output {
            Output::Send { frame, .. } => !says_nothing(frame),
            // The last words come after what was said before them.
            Output::Close { link, goodbye: Some(_) } => self.links.contains_key(link),
            Output::Event(Event::Left { .. }) => true,
            _ => false,
        }
    }

    /// Everything up to `token` is on disk.
    pub(super) fn persisted(&mut self, token: u64) {
        self.kept = self.kept.max(token.min(self.token));
    }

    /// The next output that has waited long enough.
    pub(super) fn release(&mut self) -> Option<Out> {
        self.queue.front().filter(|(token, _)| *token <= self.kept)?;
        let (_, output) = self.queue.pop_front()?;
        if let Some(link) = link_of(&output)
            && let Some(count) = self.links.get_mut(&link)
        {
            *count -= 1;
            if *count == 0 {
                self.links.remove(&link);
            }
        }
        Some(output)
    }

    /// Links whose frames found no room, each once.
    pub(super) fn take_overflowed(&mut self) -> BTreeSet<LinkId> {
        std::mem::take(&mut self.overflowed)
    }
}

fn link_of(output: &Out) -> Option<LinkId> {
    match output {
        Output::Send { link, .. } | Output::Close { link, .. } => Some(*link),
        _ => None,
    }
}

/// Whether a frame tells nothing of what is kept.
fn says_nothing(frame: &Frame) -> bool {
    matches!(
        frame,
        Frame::Hello(_)
            | Frame::Ping(_)
            | Frame::Pong(_)
            | Frame::VotesRequest
            | Frame::RecordsRequest(_)
            | Frame::VoteAsked(..)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Class;
    use crate::wire::frame::{Goodbye, Reason};

    fn send(link: u64, frame: Frame) -> Out {
        Output::Send { link: LinkId(link), class: Class::Control, frame }
    }

    fn close(link: u64) -> Out {
        let goodbye = Some(Goodbye { reason: Reason::Leaving, text: String::new() });
        Output::Close { link: LinkId(link), goodbye }
    }

    fn released(held: &mut Held) -> usize {
        std::iter::from_fn(|| held.release()).count()
    }

    #[test]
    fn what_depends_waits_in_order_and_the_rest_does_not() {
        let mut held = Held::default();
        assert!(held.pass(send(1, Frame::VotesRequest)).is_some());
        assert!(held.pass(send(1, Frame::Watched(crate::id::RequestId(1)))).is_some());
        let first = held.next_token();
        assert!(held.pass(send(1, Frame::Watched(crate::id::RequestId(2)))).is_none());
        assert!(held.pass(send(1, Frame::Ping(1))).is_some());
        assert!(held.pass(close(2)).is_some(), "nothing of that link waits");
        let second = held.next_token();
        assert!(held.pass(close(1)).is_none());
        held.persisted(first);
        assert!(matches!(held.release(), Some(Output::Send { .. })));
        assert_eq!((released(&mut held), held.len()), (0, 1));
        held.persisted(second + 7);
        assert!(matches!(held.release(), Some(Output::Close { .. })));
        assert!(held.links.is_empty() && held.pass(close(1)).is_some());
    }

    #[test]
    fn a_disk_that_stands_still_costs_a_bounded_memory() {
        let mut held = Held::default();
        held.next_token();
        for n in 0..HELD_MAX + 5 {
            held.pass(send(n as u64, Frame::Watched(crate::id::RequestId(1))));
        }
        assert_eq!((held.len(), held.take_overflowed().len()), (HELD_MAX, 5));
    }

    #[test]
    fn who_asks_for_too_much_takes_the_room_of_nobody_else() {
        let mut held = Held::default();
        held.next_token();
        for _ in 0..HELD_MAX {
            held.pass(send(1, Frame::Watched(crate::id::RequestId(1))));
        }
        assert!(held.pass(send(2, Frame::Watched(crate::id::RequestId(1)))).is_none());
        assert_eq!(held.len(), HELD_PER_LINK_MAX + 1);
        assert_eq!(held.take_overflowed(), BTreeSet::from([LinkId(1)]));
    }
}
