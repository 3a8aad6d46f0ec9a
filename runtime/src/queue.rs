//! What waits to be sent on one link: bounded in bytes, in all and by class; urgent classes first.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use tidings_proto::Class;
use tidings_proto::machine::SHED_BATCHES_MAX;
use tidings_proto::wire::batch::Batch;
use tidings_proto::wire::codec::{self, Encoded};
use tidings_proto::wire::frame::{Cause, Frame};
use tidings_proto::wire::kind::FrameKind;

use crate::traffic::{CLASSES, Count, ShedReason, Traffic};

/// The send queue of a link.
#[derive(Debug)]
pub(crate) struct SendQueue {
    /// One queue per class, in the order of [`Class::ALL`].
    classes: [VecDeque<Queued>; CLASSES],
    /// The frame that is partly sent and so can be neither overtaken nor shed.
    current: Option<Current>,
    bytes: usize,
    /// What is left to send of each class, the current frame included.
    depths: [usize; CLASSES],
    bytes_max: usize,
    shed: [u64; CLASSES],
    shed_unreported: [u32; CLASSES],
    shed_batches: Vec<(Class, Arc<Batch>)>,
}

/// A frame that waits.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    bytes: Encoded,
    kind: FrameKind,
    /// The batch that it pushes, which is announced instead if there is no room.
    batch: Option<Arc<Batch>>,
}

impl Queued {
    pub(crate) fn new(frame: &Frame) -> Self {
        let batch = match frame {
            Frame::Batch(frame) if frame.cause == Cause::Push => Some(Arc::clone(&frame.batch)),
            _ => None,
        };
        Self { bytes: codec::encode(frame), kind: FrameKind::of(frame), batch }
    }
}

#[derive(Debug)]
struct Current {
    frame: Queued,
    class: Class,
    sent: usize,
}

/// The queue is full of frames that may not be shed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

impl SendQueue {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            classes: Default::default(),
            current: None,
            bytes: 0,
            depths: [0; CLASSES],
            bytes_max,
            shed: [0; CLASSES],
            shed_unreported: [0; CLASSES],
            shed_batches: Vec::new(),
        }
    }

    /// Queues a frame. When its class has had its share, it is shed. When there is no room, less
    /// urgent frames are shed, the oldest of the least urgent class first, then the frame itself.
    /// An error means that a control frame has no room: the other end does not read, and the link
    /// is of no use.
    pub(crate) fn push(
        &mut self,
        class: Class,
        frame: Queued,
        traffic: &mut Traffic,
    ) -> Result<(), Overflow> {
        let length = frame.bytes.len();
        let depth = self.depths[class as usize];
        // A share that is smaller than a frame takes one all the same.
        if depth > 0 && depth + length > self.bytes_max / 8 * SHARES[class as usize] {
            self.count_shed(class, frame, ShedReason::ClassFull, traffic);
            return if class == Class::Control { Err(Overflow) } else { Ok(()) };
        }
        while self.bytes + length > self.bytes_max {
            if !self.shed_below(class, traffic) {
                self.count_shed(class, frame, ShedReason::QueueFull, traffic);
                return if class == Class::Control { Err(Overflow) } else { Ok(()) };
            }
        }
        self.bytes += length;
        self.depths[class as usize] += length;
        self.classes[class as usize].push_back(frame);
        Ok(())
    }

    /// Fills `slices` with what is to be sent next, up to `bytes_max`, and returns how many.
    pub(crate) fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>], bytes_max: usize) -> usize {
        let mut count = 0;
        let mut bytes = 0;
        let current = self.current.iter().map(|current| (&current.frame.bytes, current.sent));
        let queued = self.classes.iter().flatten().map(|frame| (&frame.bytes, 0));
        for (frame, sent) in current.chain(queued) {
            if count + 2 > slices.len() || bytes >= bytes_max {
                break;
            }
            let in_head = sent.min(frame.head.len());
            for part in [&frame.head[in_head..], &frame.tail[sent - in_head..]] {
                if !part.is_empty() {
                    slices[count] = IoSlice::new(part);
                    count += 1;
                    bytes += part.len();
                }
            }
        }
        count
    }

    /// Removes the next `sent` bytes, which were handed on.
    pub(crate) fn advance(&mut self, mut sent: usize, traffic: &mut Traffic) {
        self.bytes -= sent;
        while sent > 0 {
            let Some(mut current) = self.current.take().or_else(|| self.pop()) else { return };
            let step = sent.min(current.frame.bytes.len() - current.sent);
            current.sent += step;
            sent -= step;
            self.depths[current.class as usize] -= step;
            if current.sent < current.frame.bytes.len() {
                self.current = Some(current);
            } else {
                traffic.count_sent(current.frame.kind, current.sent);
            }
        }
    }

    fn pop(&mut self) -> Option<Current> {
        let first = |(class, queue): (Class, &mut VecDeque<Queued>)| {
            Some(Current { frame: queue.pop_front()?, class, sent: 0 })
        };
        Class::ALL.into_iter().zip(&mut self.classes).find_map(first)
    }

    /// Keeps only control frames, and the frame that is partly sent.
    pub(crate) fn keep_control(&mut self, traffic: &mut Traffic) {
        Class::ALL[1..].iter().for_each(|class| self.drop_class(*class, traffic));
    }

    /// Drops all but the frame that is partly sent.
    pub(crate) fn clear(&mut self, traffic: &mut Traffic) {
        Class::ALL.iter().for_each(|class| self.drop_class(*class, traffic));
    }

    fn drop_class(&mut self, class: Class, traffic: &mut Traffic) {
        for frame in self.classes[class as usize].drain(..) {
            let length = frame.bytes.len();
            self.bytes -= length;
            self.depths[class as usize] -= length;
            traffic.count_shed(ShedReason::LinkClosed, class, length);
        }
    }

    /// The most urgent class with frames shed since the last call that named it, how many, and
    /// the new batches among them.
    pub(crate) fn take_shed(&mut self) -> Option<(Class, u32, Vec<Arc<Batch>>)> {
        let at = self.shed_unreported.iter().position(|frames| *frames > 0)?;
        let class = Class::ALL[at];
        let batches = self.shed_batches.extract_if(.., |(of, _)| *of == class);
        let batches = batches.map(|(_, batch)| batch).collect();
        Some((class, std::mem::take(&mut self.shed_unreported[at]), batches))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Whether something waits that is more urgent than announcements.
    pub(crate) fn is_urgent(&self) -> bool {
        self.bytes > self.depths[Class::Announce as usize]
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What waits, by class.
    pub(crate) fn depths(&self) -> [Count; CLASSES] {
        Class::ALL.map(|class| {
            let current = self.current.as_ref().is_some_and(|current| current.class == class);
            Count {
                frames: self.classes[class as usize].len() as u64 + u64::from(current),
                bytes: self.depths[class as usize] as u64,
            }
        })
    }

    /// Frames shed, by class.
    pub(crate) fn shed(&self) -> [u64; CLASSES] {
        self.shed
    }

    /// Gives back memory that a burst needed.
    pub(crate) fn shrink(&mut self) {
        for class in &mut self.classes {
            if class.is_empty() && class.capacity() > FRAMES_KEPT {
                *class = VecDeque::new();
            }
        }
    }

    fn shed_below(&mut self, class: Class, traffic: &mut Traffic) -> bool {
        let lower = Class::ALL[class as usize + 1..].iter().rev();
        for &class in lower {
            if let Some(frame) = self.classes[class as usize].pop_front() {
                self.bytes -= frame.bytes.len();
                self.depths[class as usize] -= frame.bytes.len();
                self.count_shed(class, frame, ShedReason::QueueFull, traffic);
                return true;
            }
        }
        false
    }

    fn count_shed(
        &mut self,
        class: Class,
        frame: Queued,
        reason: ShedReason,
        traffic: &mut Traffic,
    ) {
        traffic.count_shed(reason, class, frame.bytes.len());
        self.shed[class as usize] += 1;
        let unreported = &mut self.shed_unreported[class as usize];
        *unreported = unreported.saturating_add(1);
        if let Some(batch) = frame.batch
            && self.shed_batches.len() < SHED_BATCHES_MAX
        {
            self.shed_batches.push((class, batch));
        }
    }
}

/// The most that a class may take of the queue, in eighths, in the order of [`Class::ALL`]. What
/// others forward leaves room for what is more urgent, and announcements, which are a hundredth
/// of what they announce, always have some.
const SHARES: [usize; CLASSES] = [8, 7, 7, 6, 1];
/// Room for as many frames stays allocated in an empty queue.
const FRAMES_KEPT: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use tidings_proto::crypto::Signer;
    use tidings_proto::wire::batch::{BatchHeader, Message};
    use tidings_proto::wire::frame::BatchFrame;
    use tidings_proto::{Incarnation, Origin, Topic};

    fn frame(name: u8, head: usize, tail: usize) -> Queued {
        let bytes = Encoded { head: vec![name; head], tail: Bytes::from(vec![name; tail]) };
        Queued { bytes, kind: FrameKind::Push, batch: None }
    }

    fn batch() -> Arc<Batch> {
        let signer = Signer::ed25519(&[1; 32]);
        let header = BatchHeader {
            topic: Topic::overlay(),
            origin: Origin { node: signer.node(), incarnation: Incarnation(1) },
            address: ([127, 0, 0, 1], 1).into(),
            generation: 1,
            first_seq: 1,
            published_at_us: 0,
            count: 1,
        };
        Batch::sign(header, &[Message::new("x")], &signer)
    }

    /// Sends everything in steps of `step` bytes, as a link would.
    fn send_all(queue: &mut SendQueue, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while !queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); 8];
            let count = queue.gather(&mut slices, 1_000);
            let bytes: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
            let sent = step.min(bytes.len());
            out.extend_from_slice(&bytes[..sent]);
            queue.advance(sent, &mut Traffic::default());
        }
        out
    }

    #[test]
    fn urgent_classes_go_first_but_never_inside_another_frame() {
        let mut traffic = Traffic::default();
        let mut queue = SendQueue::new(1_000);
        queue.push(Class::Forward, frame(b'f', 3, 4), &mut traffic).expect("room");
        queue.advance(2, &mut traffic);
        queue.push(Class::Announce, frame(b'a', 2, 0), &mut traffic).expect("room");
        queue.push(Class::Control, frame(b'c', 2, 0), &mut traffic).expect("room");
        queue.push(Class::Own, frame(b'o', 1, 1), &mut traffic).expect("room");
        assert_eq!(
            queue.depths().map(|d| (d.frames, d.bytes)),
            [(1, 2), (1, 2), (0, 0), (1, 5), (1, 2)]
        );
        assert!(queue.is_urgent());
        assert_eq!(send_all(&mut queue, 3), b"fffffccooaa");
        queue.push(Class::Announce, frame(b'a', 2, 0), &mut traffic).expect("room");
        assert!(!queue.is_urgent());
        assert_eq!(send_all(&mut queue, 3), b"aa");
        assert_eq!((queue.bytes(), queue.depths()), (0, Default::default()));
    }

    #[test]
    fn a_class_that_had_its_share_sheds_what_comes_and_says_which() {
        let mut traffic = Traffic::default();
        let mut queue = SendQueue::new(80);
        for name in [b'1', b'2', b'3'] {
            queue.push(Class::Announce, frame(name, 4, 0), &mut traffic).expect("shed at most");
        }
        assert_eq!(queue.take_shed(), Some((Class::Announce, 1, Vec::new())));
        queue.push(Class::Forward, frame(b'f', 50, 0), &mut traffic).expect("room");
        let batch = batch();
        let (cause, hop, tree, age_ms) = (Cause::Push, 1, 0, 0);
        let pushed = BatchFrame { cause, hop, tree, age_ms, batch: Arc::clone(&batch) };
        let pushed = Queued::new(&Frame::Batch(pushed));
        let length = pushed.bytes.len() as u64;
        queue.push(Class::Forward, pushed, &mut traffic).expect("shed at most");
        assert_eq!(queue.shed(), [0, 0, 0, 1, 1]);
        assert_eq!(queue.take_shed(), Some((Class::Forward, 1, vec![batch])));
        assert_eq!(queue.take_shed(), None);
        let shed = |class| traffic.shed(ShedReason::ClassFull, class);
        assert_eq!(shed(Class::Announce), Count { frames: 1, bytes: 4 });
        assert_eq!(shed(Class::Forward), Count { frames: 1, bytes: length });
        assert_eq!(queue.bytes(), 58);
    }

    #[test]
    fn a_full_queue_sheds_the_least_urgent_and_counts_it() {
        let mut traffic = Traffic::default();
        let mut queue = SendQueue::new(80);
        queue.push(Class::Announce, frame(b'a', 5, 0), &mut traffic).expect("room");
        queue.push(Class::Announce, frame(b'b', 5, 0), &mut traffic).expect("room");
        queue.push(Class::Forward, frame(b'f', 50, 0), &mut traffic).expect("room");
        queue.push(Class::Own, frame(b'o', 25, 0), &mut traffic).expect("an announcement is shed");
        assert_eq!(queue.take_shed(), Some((Class::Announce, 1, Vec::new())));
        queue.push(Class::Own, frame(b'p', 45, 0), &mut traffic).expect("and all the rest");
        assert_eq!(queue.shed(), [0, 0, 0, 1, 2]);
        let shed = |class| traffic.shed(ShedReason::QueueFull, class);
        assert_eq!(shed(Class::Announce), Count { frames: 2, bytes: 10 });
        assert_eq!(shed(Class::Forward), Count { frames: 1, bytes: 50 });
        queue.push(Class::Repair, frame(b'r', 20, 0), &mut traffic).expect("shed itself");
        let itself = traffic.shed(ShedReason::QueueFull, Class::Repair);
        assert_eq!(itself, Count { frames: 1, bytes: 20 });
        assert_eq!(queue.bytes(), 70);
    }

    #[test]
    fn control_frames_evict_all_others_and_then_overflow() {
        let mut traffic = Traffic::default();
        let mut queue = SendQueue::new(80);
        queue.push(Class::Own, frame(b'o', 20, 50), &mut traffic).expect("room");
        queue.push(Class::Control, frame(b'c', 80, 0), &mut traffic).expect("the other is shed");
        assert_eq!(queue.push(Class::Control, frame(b'd', 1, 0), &mut traffic), Err(Overflow));
        assert_eq!(send_all(&mut queue, 4), [b'c'; 80]);
    }

    #[test]
    fn a_frame_larger_than_its_share_is_taken_alone() {
        let mut traffic = Traffic::default();
        let mut queue = SendQueue::new(80);
        queue.push(Class::Forward, frame(b'f', 75, 0), &mut traffic).expect("room");
        queue.push(Class::Forward, frame(b'g', 1, 0), &mut traffic).expect("shed at most");
        assert_eq!(queue.shed(), [0, 0, 0, 1, 0]);
    }

    #[test]
    fn what_is_sent_and_what_a_closed_link_drops_is_counted() {
        let mut traffic = Traffic::default();
        let mut queue = SendQueue::new(800);
        queue.push(Class::Own, frame(b'o', 10, 0), &mut traffic).expect("room");
        queue.push(Class::Own, frame(b'p', 10, 0), &mut traffic).expect("room");
        queue.push(Class::Forward, frame(b'f', 7, 0), &mut traffic).expect("room");
        queue.advance(15, &mut traffic);
        assert_eq!(traffic.sent(FrameKind::Push), Count { frames: 1, bytes: 10 });
        queue.clear(&mut traffic);
        let shed = traffic.shed(ShedReason::LinkClosed, Class::Forward);
        assert_eq!((shed, queue.bytes()), (Count { frames: 1, bytes: 7 }, 5));
        queue.advance(5, &mut traffic);
        assert_eq!(traffic.sent(FrameKind::Push), Count { frames: 2, bytes: 20 });
    }

    #[test]
    fn a_closing_link_keeps_control_frames_only() {
        let mut traffic = Traffic::default();
        let mut queue = SendQueue::new(100);
        queue.push(Class::Own, frame(b'o', 5, 5), &mut traffic).expect("room");
        queue.advance(1, &mut traffic);
        queue.push(Class::Repair, frame(b'r', 5, 5), &mut traffic).expect("room");
        queue.push(Class::Control, frame(b'c', 3, 0), &mut traffic).expect("room");
        queue.keep_control(&mut traffic);
        assert_eq!(send_all(&mut queue, 100), b"oooooooooccc");
    }
}
