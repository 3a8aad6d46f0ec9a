//! S2: the messages of a stream reach an application in order, or it is told of the gap.

use tidings_proto::Instant;

use super::Verdicts;

/// The rule's name.
pub const RULE: &str = "S2 order";

/// The next sequence number of each stream at each peer.
#[derive(Debug)]
pub struct Order {
    /// 0 for a stream that a peer has not heard of.
    next: Vec<Vec<u64>>,
}

impl Order {
    /// Nobody has heard of anything.
    pub fn new(peers: usize) -> Self {
        Self { next: vec![Vec::new(); peers] }
    }

    /// The messages from `from` to `to` of a stream reached a peer, or were given up (`gap`).
    pub fn advanced(
        &mut self,
        verdicts: &mut Verdicts,
        now: Instant,
        peer: u32,
        stream: u32,
        (from, to, gap): (u64, u64, bool),
    ) {
        let streams = &mut self.next[peer as usize];
        if streams.len() <= stream as usize {
            streams.resize(stream as usize + 1, 0);
        }
        let next = &mut streams[stream as usize];
        let what = if gap { "a gap of" } else { "messages" };
        if from == 0 || to < from {
            let text = format_args!("stream {stream}: {what} {from}..={to}, which is no range");
            verdicts.report(RULE, now, peer, text);
        } else if *next != 0 && from != *next {
            let text = format_args!("stream {stream}: {what} {from}..={to} after {}", *next - 1);
            verdicts.report(RULE, now, peer, text);
        }
        *next = (*next).max(to.saturating_add(1));
    }

    /// The application of a peer died with it.
    pub fn forget(&mut self, peer: u32) {
        self.next[peer as usize].clear();
    }

    /// A subscription ended: the streams of its topic may be heard from anywhere again.
    pub fn forget_streams(&mut self, peer: u32, of: impl Fn(u32) -> bool) {
        for (stream, next) in (0..).zip(&mut self.next[peer as usize]) {
            if of(stream) {
                *next = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_on_holes_and_steps_back_but_not_on_gaps() {
        let mut verdicts = Verdicts::default();
        let mut judge = Order::new(2);
        let mut tell = |peer, range| {
            judge.advanced(&mut verdicts, Instant::ZERO, peer, 7, range);
            verdicts.total
        };
        assert_eq!(tell(0, (4, 5, false)), 0, "a late subscriber begins anywhere");
        assert_eq!(tell(0, (6, 8, true)), 0);
        assert_eq!(tell(0, (9, 9, false)), 0);
        assert_eq!(tell(0, (11, 11, false)), 1, "a silent hole");
        assert_eq!(tell(0, (10, 10, false)), 2, "a step back");
        assert_eq!(tell(1, (1, 0, false)), 3, "no range");
        judge.forget(0);
        judge.advanced(&mut verdicts, Instant::ZERO, 0, 7, (2, 2, false));
        assert_eq!(verdicts.total, 3);
    }
}
