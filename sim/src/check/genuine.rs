//! S3: what is delivered was signed by its origin and published as it is; what was refused is
//! delivered to nobody.

use tidings_proto::crypto::Scheme;
use tidings_proto::wire::batch::Batch;
use tidings_proto::{Instant, NodeId};

use super::Verdicts;
use crate::ledger::{Publication, State};

/// The rule's name.
pub const RULE: &str = "S3 genuine";

/// Checks signatures, each batch once while it is shared.
#[derive(Debug)]
pub struct Genuine {
    scheme: Scheme,
    /// Where the bytes of the batch that was verified last for a message were, by message.
    verified: Vec<usize>,
}

impl Genuine {
    /// Nothing is verified.
    pub fn new(scheme: Scheme) -> Self {
        Self { scheme, verified: Vec::new() }
    }

    /// A batch that begins with `message` is delivered at a peer; `id` is the node that has the
    /// address in it.
    pub fn delivered(
        &mut self,
        verdicts: &mut Verdicts,
        now: Instant,
        peer: u32,
        batch: &Batch,
        (message, id): (u32, Option<NodeId>),
    ) {
        let origin = batch.header().origin.node;
        if id != Some(origin) {
            let text = format_args!("{batch:?}: {:?} is not {origin:?}", batch.header().address);
            verdicts.report(RULE, now, peer, text);
        }
        if self.verified.len() <= message as usize {
            self.verified.resize(message as usize + 1, 0);
        }
        // In most runs all peers share one copy: checking it once is checking it everywhere.
        let place = batch.bytes().as_ptr() as usize;
        if self.verified[message as usize] == place {
            return;
        }
        if batch.verify(self.scheme) {
            self.verified[message as usize] = place;
        } else {
            verdicts.report(RULE, now, peer, format_args!("{batch:?} is not signed by its origin"));
        }
    }

    /// A message with this sequence number is delivered as `publication`, from this origin and
    /// topic.
    pub fn message(
        &self,
        verdicts: &mut Verdicts,
        now: Instant,
        peer: u32,
        publication: &Publication,
        (seq, origin, topic): (u64, Option<u32>, u16),
    ) {
        let right = match publication.state {
            State::Asked => true,
            State::Accepted(accepted) => accepted == seq,
            State::Refused => false,
        };
        if !right || origin != Some(publication.origin) || topic != publication.topic {
            let text = format_args!("{publication:?} as {seq} of {origin:?} in topic {topic}");
            verdicts.report(RULE, now, peer, text);
        }
    }

    /// A message whose body is not that of any publication is delivered.
    pub fn unknown(&self, verdicts: &mut Verdicts, now: Instant, peer: u32, batch: &Batch) {
        verdicts.report(RULE, now, peer, format_args!("{batch:?} has a body nobody published"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tidings_proto::crypto::Signer;
    use tidings_proto::wire::batch::{BatchHeader, Message};
    use tidings_proto::{Incarnation, Origin, Topic};

    fn batch(signer: &Signer, claims: NodeId) -> Arc<Batch> {
        let header = BatchHeader {
            topic: Topic::new("t").expect("legal"),
            origin: Origin { node: claims, incarnation: Incarnation(1) },
            address: crate::network::address(1),
            generation: 1,
            first_seq: 1,
            published_at_us: 0,
            count: 0,
        };
        Batch::sign(header, &[Message::new("x")], signer)
    }

    #[test]
    fn fires_on_forgery_and_on_a_wrong_address() {
        let (own, other) = (NodeId([1; 32]), NodeId([2; 32]));
        let mut verdicts = Verdicts::default();
        let mut judge = Genuine::new(Scheme::Checksum);
        let now = Instant::ZERO;
        let honest = batch(&Signer::Checksum(own), own);
        judge.delivered(&mut verdicts, now, 0, &honest, (0, Some(own)));
        assert_eq!(verdicts.total, 0);
        judge.delivered(&mut verdicts, now, 0, &honest, (0, Some(other)));
        assert_eq!(verdicts.total, 1);
        let forged = batch(&Signer::Checksum(own), other);
        judge.delivered(&mut verdicts, now, 0, &forged, (1, Some(other)));
        assert_eq!(verdicts.total, 2);
        judge.unknown(&mut verdicts, now, 0, &honest);
        assert_eq!(verdicts.total, 3);
    }

    #[test]
    fn fires_on_refused_and_renumbered_messages() {
        let mut verdicts = Verdicts::default();
        let judge = Genuine::new(Scheme::Checksum);
        let now = Instant::ZERO;
        let accepted = State::Accepted(4);
        let publication =
            Publication { at: now, origin: 2, topic: 0, state: accepted, last: now, receivers: 0 };
        let mut tell = |publication: Publication, delivered| {
            judge.message(&mut verdicts, now, 0, &publication, delivered);
            verdicts.total
        };
        assert_eq!(tell(publication, (4, Some(2), 0)), 0);
        assert_eq!(tell(publication, (5, Some(2), 0)), 1);
        assert_eq!(tell(publication, (4, Some(3), 0)), 2);
        assert_eq!(tell(publication, (4, Some(2), 1)), 3);
        assert_eq!(tell(Publication { state: State::Refused, ..publication }, (4, Some(2), 0)), 4);
    }
}
