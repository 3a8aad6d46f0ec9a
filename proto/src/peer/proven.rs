//! Which origins have signed what: so that a signature that stands for many batches is checked
//! once.

use std::collections::{BTreeMap, VecDeque};

use crate::crypto::{Key, Scheme};
use crate::id::NodeId;
use crate::wire::batch::Batch;
use crate::wire::proof::Claim;

/// The most origins whose keys and claims are remembered: half a kilobyte each. An origin beyond
/// costs what each batch would cost without this rule.
const ORIGINS_MAX: usize = 4_096;
/// Claims remembered per origin. Batches come in order, but for what is repaired.
const CLAIMS_MAX: usize = 4;

/// How a batch was found to be genuine, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The signature was checked, and is good.
    Checked,
    /// The signature is one that was checked before, for a batch signed together with this one.
    Known,
    /// The origin did not sign this.
    Forged,
}

/// What was checked lately.
#[derive(Debug, Default)]
pub(crate) struct Proven {
    origins: BTreeMap<NodeId, Origin>,
    /// In order of their first batch; the oldest is forgotten first.
    order: VecDeque<NodeId>,
}

#[derive(Debug)]
struct Origin {
    key: Key,
    /// Newest first. A signature is compared as well as its root: a batch that is passed on with
    /// another one would be a forgery to those who check it.
    claims: VecDeque<Claim>,
}

impl Proven {
    /// Whether the origin of `batch` signed it.
    pub(crate) fn check(&mut self, scheme: Scheme, batch: &Batch) -> Finding {
        let node = batch.header().origin.node;
        let claim = batch.claim();
        let known = self.origins.get_mut(&node);
        if known.as_ref().is_some_and(|origin| origin.claims.contains(&claim)) {
            return Finding::Known;
        }
        let key = known.as_ref().map_or_else(|| scheme.key(&node), |origin| origin.key);
        if !key.verify(&claim.root, &claim.signature) {
            return Finding::Forged;
        }
        // Only who can sign is remembered: forgeries push nobody out.
        let Some(origin) = known else {
            self.remember(node, Origin { key, claims: VecDeque::from([claim]) });
            return Finding::Checked;
        };
        origin.claims.truncate(CLAIMS_MAX - 1);
        origin.claims.push_front(claim);
        Finding::Checked
    }

    fn remember(&mut self, node: NodeId, origin: Origin) {
        if self.order.len() >= ORIGINS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.origins.remove(&oldest);
        }
        self.order.push_back(node);
        self.origins.insert(node, origin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Signer;
    use crate::id::{self, Incarnation, Topic};
    use crate::wire::batch::{BatchHeader, Message};
    use std::sync::Arc;

    fn together(signer: &Signer, count: u64) -> Vec<Arc<Batch>> {
        let messages = [Message::new("x")];
        let header = |first_seq| BatchHeader {
            topic: Topic::overlay(),
            origin: id::Origin { node: signer.node(), incarnation: Incarnation(1) },
            address: ([127, 0, 0, 1], 1).into(),
            generation: 1,
            first_seq,
            published_at_us: 0,
            count: 1,
        };
        Batch::sign_all((1..=count).map(|seq| (header(seq), &messages[..])).collect(), signer)
    }

    #[test]
    fn what_was_signed_together_is_checked_once() {
        let mut proven = Proven::default();
        let batches = together(&Signer::ed25519(&[7; 32]), 5);
        let found: Vec<_> =
            batches.iter().map(|batch| proven.check(Scheme::Ed25519, batch)).collect();
        assert_eq!(found[0], Finding::Checked);
        assert!(found[1..].iter().all(|finding| *finding == Finding::Known));
    }

    #[test]
    fn a_known_root_with_another_signature_is_forged() {
        let mut proven = Proven::default();
        let batch = together(&Signer::ed25519(&[7; 32]), 1).remove(0);
        assert_eq!(proven.check(Scheme::Ed25519, &batch), Finding::Checked);
        let mut bytes = batch.bytes().to_vec();
        *bytes.last_mut().expect("not empty") ^= 1;
        let changed = Batch::decode(bytes.into()).expect("its structure is legal");
        assert_eq!(proven.check(Scheme::Ed25519, &changed), Finding::Forged);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgeries_push_nobody_out() {
        let mut proven = Proven::default();
        let signer = |n: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_be_bytes());
            Signer::Checksum(NodeId(id))
        };
        for n in 0..ORIGINS_MAX + 5 {
            let batch = &together(&signer(n), 1)[0];
            assert_eq!(proven.check(Scheme::Checksum, batch), Finding::Checked);
            assert_eq!(
                proven.check(Scheme::Ed25519, &together(&signer(n + 9_000_000), 1)[0]),
                Finding::Forged
            );
        }
        assert_eq!((proven.origins.len(), proven.order.len()), (ORIGINS_MAX, ORIGINS_MAX));
        let last = signer(ORIGINS_MAX + 4);
        for _ in 0..CLAIMS_MAX + 3 {
            together(&last, 2).iter().for_each(|batch| {
                proven.check(Scheme::Checksum, batch);
            });
        }
        assert!(proven.origins[&last.node()].claims.len() <= CLAIMS_MAX);
    }
}
