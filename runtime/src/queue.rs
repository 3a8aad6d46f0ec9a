//! What waits to be sent on one link: bounded in bytes, urgent classes first.

use std::collections::VecDeque;
use std::io::IoSlice;

use tidings_proto::Class;
use tidings_proto::wire::codec::Encoded;

/// The send queue of a link.
#[derive(Debug)]
pub(crate) struct SendQueue {
    /// One queue per class, in the order of [`Class::ALL`].
    classes: [VecDeque<Encoded>; CLASSES],
    /// The frame that is partly sent and so can be neither overtaken nor shed.
    current: Option<Current>,
    bytes: usize,
    bytes_max: usize,
    shed: [u64; CLASSES],
    shed_unreported: [u32; CLASSES],
}

#[derive(Debug)]
struct Current {
    frame: Encoded,
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
            bytes_max,
            shed: [0; CLASSES],
            shed_unreported: [0; CLASSES],
        }
    }

    /// Queues a frame. When there is no room, less urgent frames are shed, the oldest of the
    /// least urgent class first, then the frame itself. An error means that a control frame has
    /// no room: the other end does not read, and the link is of no use.
    pub(crate) fn push(&mut self, class: Class, frame: Encoded) -> Result<(), Overflow> {
        let length = frame.len();
        while self.bytes + length > self.bytes_max {
            if !self.shed_below(class) {
                if class == Class::Control {
                    return Err(Overflow);
                }
                self.count_shed(class as usize);
                return Ok(());
            }
        }
        self.bytes += length;
        self.classes[class as usize].push_back(frame);
        Ok(())
    }

    /// Fills `slices` with what is to be sent next, up to `bytes_max`, and returns how many.
    pub(crate) fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>], bytes_max: usize) -> usize {
        let mut count = 0;
        let mut bytes = 0;
        let current = self.current.iter().map(|current| (&current.frame, current.sent));
        let queued = self.classes.iter().flatten().map(|frame| (frame, 0));
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
    pub(crate) fn advance(&mut self, mut sent: usize) {
        self.bytes -= sent;
        while sent > 0 {
            let mut current = match self.current.take() {
                Some(current) => current,
                None => match self.classes.iter_mut().find_map(VecDeque::pop_front) {
                    Some(frame) => Current { frame, sent: 0 },
                    None => return,
                },
            };
            let step = sent.min(current.frame.len() - current.sent);
            current.sent += step;
            sent -= step;
            if current.sent < current.frame.len() {
                self.current = Some(current);
            }
        }
    }

    /// Keeps only control frames, and the frame that is partly sent.
    pub(crate) fn keep_control(&mut self) {
        for class in &mut self.classes[1..] {
            self.bytes -= class.drain(..).map(|frame| frame.len()).sum::<usize>();
        }
    }

    /// Drops all but the frame that is partly sent.
    pub(crate) fn clear(&mut self) {
        self.keep_control();
        self.bytes -= self.classes[0].drain(..).map(|frame| frame.len()).sum::<usize>();
    }

    /// The most urgent class with frames shed since the last call that named it, and how many.
    pub(crate) fn take_shed(&mut self) -> Option<(Class, u32)> {
        let at = self.shed_unreported.iter().position(|frames| *frames > 0)?;
        Some((Class::ALL[at], std::mem::take(&mut self.shed_unreported[at])))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn frames(&self) -> usize {
        self.classes.iter().map(VecDeque::len).sum::<usize>() + usize::from(self.current.is_some())
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

    fn shed_below(&mut self, class: Class) -> bool {
        let lower = (class as usize + 1..CLASSES).rev();
        for at in lower {
            if let Some(frame) = self.classes[at].pop_front() {
                self.bytes -= frame.len();
                self.count_shed(at);
                return true;
            }
        }
        false
    }

    fn count_shed(&mut self, at: usize) {
        self.shed[at] += 1;
        self.shed_unreported[at] = self.shed_unreported[at].saturating_add(1);
    }
}

/// How many classes there are.
pub(crate) const CLASSES: usize = Class::ALL.len();
/// Room for as many frames stays allocated in an empty queue.
const FRAMES_KEPT: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn frame(name: u8, head: usize, tail: usize) -> Encoded {
        Encoded { head: Bytes::from(vec![name; head]), tail: Bytes::from(vec![name; tail]) }
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
            queue.advance(sent);
        }
        out
    }

    #[test]
    fn urgent_classes_go_first_but_never_inside_another_frame() {
        let mut queue = SendQueue::new(1_000);
        queue.push(Class::Forward, frame(b'f', 3, 4)).expect("room");
        queue.advance(2);
        queue.push(Class::Announce, frame(b'a', 2, 0)).expect("room");
        queue.push(Class::Control, frame(b'c', 2, 0)).expect("room");
        queue.push(Class::Own, frame(b'o', 1, 1)).expect("room");
        assert_eq!(queue.frames(), 4);
        assert_eq!(send_all(&mut queue, 3), b"fffffccooaa");
        assert_eq!((queue.bytes(), queue.frames()), (0, 0));
    }

    #[test]
    fn a_full_queue_sheds_the_least_urgent_and_counts_it() {
        let mut queue = SendQueue::new(10);
        queue.push(Class::Announce, frame(b'1', 4, 0)).expect("room");
        queue.push(Class::Announce, frame(b'2', 4, 0)).expect("room");
        queue.push(Class::Forward, frame(b'f', 5, 0)).expect("one announcement is shed");
        queue.push(Class::Announce, frame(b'3', 2, 0)).expect("shed itself");
        assert_eq!(queue.shed(), [0, 0, 0, 0, 2]);
        assert_eq!(queue.take_shed(), Some((Class::Announce, 2)));
        assert_eq!(queue.take_shed(), None);
        assert_eq!(send_all(&mut queue, 100), b"fffff2222");
    }

    #[test]
    fn control_frames_evict_all_others_and_then_overflow() {
        let mut queue = SendQueue::new(10);
        queue.push(Class::Own, frame(b'o', 5, 5)).expect("room");
        queue.push(Class::Control, frame(b'c', 10, 0)).expect("the other one is shed");
        assert_eq!(queue.push(Class::Control, frame(b'd', 1, 0)), Err(Overflow));
        assert_eq!(send_all(&mut queue, 4), b"cccccccccc");
    }

    #[test]
    fn a_closing_link_keeps_control_frames_only() {
        let mut queue = SendQueue::new(100);
        queue.push(Class::Own, frame(b'o', 5, 5)).expect("room");
        queue.advance(1);
        queue.push(Class::Repair, frame(b'r', 5, 5)).expect("room");
        queue.push(Class::Control, frame(b'c', 3, 0)).expect("room");
        queue.keep_control();
        assert_eq!(send_all(&mut queue, 100), b"oooooooooccc");
    }
}
