//! S9: every command is answered, once.

use std::time::Duration;

use tidings_proto::Instant;

use super::Verdicts;

/// The rule's name.
pub const RULE: &str = "S9 answers";

/// The commands that wait for an answer, by peer.
#[derive(Debug)]
pub struct Answers {
    waiting: Vec<Vec<(u64, Instant)>>,
}

impl Answers {
    /// Nobody has asked.
    pub fn new(peers: usize) -> Self {
        Self { waiting: vec![Vec::new(); peers] }
    }

    /// A command was given.
    pub fn asked(&mut self, now: Instant, peer: u32, request: u64) {
        self.waiting[peer as usize].push((request, now));
    }

    /// A command was not taken after all.
    pub fn withdrawn(&mut self, peer: u32, request: u64) {
        self.waiting[peer as usize].retain(|(asked, _)| *asked != request);
    }

    /// An answer came.
    pub fn answered(&mut self, verdicts: &mut Verdicts, now: Instant, peer: u32, request: u64) {
        let waiting = &mut self.waiting[peer as usize];
        if let Some(at) = waiting.iter().position(|(asked, _)| *asked == request) {
            waiting.swap_remove(at);
        } else {
            let text = format_args!("an answer to {request:#x}, which nobody waits for");
            verdicts.report(RULE, now, peer, text);
        }
    }

    /// The process of a peer died.
    pub fn forget(&mut self, peer: u32) {
        self.waiting[peer as usize].clear();
    }

    /// At the end: nobody of `alive` may have waited longer than `limit`.
    pub fn finish(
        &self,
        verdicts: &mut Verdicts,
        now: Instant,
        limit: Duration,
        alive: impl Fn(u32) -> bool,
    ) {
        for (peer, waiting) in (0..).zip(&self.waiting) {
            for (request, asked) in waiting {
                if alive(peer) && *asked + limit < now {
                    let text = format_args!("no answer to {request:#x} of {asked:?}");
                    verdicts.report(RULE, now, peer, text);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_on_two_answers_and_on_none() {
        let at = Instant::from_millis;
        let mut verdicts = Verdicts::default();
        let mut judge = Answers::new(2);
        judge.asked(at(1), 0, 7);
        judge.asked(at(1), 0, 8);
        judge.asked(at(1), 1, 7);
        judge.answered(&mut verdicts, at(2), 0, 7);
        assert_eq!(verdicts.total, 0);
        judge.answered(&mut verdicts, at(2), 0, 7);
        assert_eq!(verdicts.total, 1);
        let limit = Duration::from_secs(1);
        judge.finish(&mut verdicts, at(500), limit, |_| true);
        assert_eq!(verdicts.total, 1);
        judge.finish(&mut verdicts, at(5_000), limit, |peer| peer == 0);
        assert_eq!(verdicts.total, 2);
        judge.forget(0);
        judge.withdrawn(1, 7);
        judge.finish(&mut verdicts, at(5_000), limit, |_| true);
        assert_eq!(verdicts.total, 2);
    }
}
