//! How a batch proves its origin: one signature for all batches that were signed together.
//!
//! They are the leaves of a hash tree, and its root is what is signed. Each batch carries the
//! signature and its own path to the root, so each can be checked alone, as soon as it is here and
//! by everybody; and who has checked the signature for one batch knows that it is good for all that
//! lead to the same root. A batch that is signed alone is its own root, and has no path.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | length of the path d, at most [`PATH_MAX`] |
//! | 1 | sides: bit i is set when the i-th sibling comes first; the other bits are 0 |
//! | d × 32 | siblings, from the leaf upwards |
//! | 64 | Ed25519 signature of the root |

use crate::crypto::{Digest, SIGNATURE_BYTES, Signature, Signer, digest};
use crate::wire::DecodeError;

/// The longest path. With 64 batches to a signature, the signature costs a hundredth of what
/// hashing them does.
pub const PATH_MAX: usize = 6;
/// The most batches that are signed together.
pub const BATCHES_MAX: usize = 1 << PATH_MAX;
/// The longest proof, in bytes.
pub const PROOF_BYTES_MAX: usize = HEAD_BYTES + PATH_MAX * SIBLING_BYTES + SIGNATURE_BYTES;

const HEAD_BYTES: usize = 2;
const SIBLING_BYTES: usize = 32;
const DOMAIN: &str = "tidings batches 1";

/// The signature of a root, and the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What is signed.
    pub root: Digest,
    /// By what the origin is said to have signed it.
    pub signature: Signature,
}

/// The encoded proofs of batches with these digests, in their order. At most [`BATCHES_MAX`] share
/// a signature.
pub(crate) fn prove(leaves: &[Digest], signer: &Signer) -> Vec<Vec<u8>> {
    leaves.chunks(BATCHES_MAX).flat_map(|leaves| prove_together(leaves, signer)).collect()
}

fn prove_together(leaves: &[Digest], signer: &Signer) -> Vec<Vec<u8>> {
    let mut proofs = vec![vec![0_u8; HEAD_BYTES]; leaves.len()];
    let mut level = leaves.to_vec();
    let mut height = 0;
    while level.len() > 1 {
        for (leaf, proof) in proofs.iter_mut().enumerate() {
            let place = leaf >> height;
            // The last of an odd number goes up as it is.
            if let Some(sibling) = level.get(place ^ 1) {
                proof[1] |= u8::from(place % 2 == 1) << proof[0];
                proof[0] += 1;
                proof.extend_from_slice(sibling);
            }
        }
        let parent = |pair: &[Digest]| match pair {
            [first, second] => above(first, second),
            single => single.concat().try_into().expect("one digest"),
        };
        level = level.chunks(2).map(parent).collect();
        height += 1;
    }
    if let Some(root) = level.first() {
        let signature = signer.sign_digest(root);
        proofs.iter_mut().for_each(|proof| proof.extend_from_slice(&signature.0));
    }
    proofs
}

/// Checks the structure of what follows the messages of a batch.
pub(crate) fn check(proof: &[u8]) -> Result<(), DecodeError> {
    let [depth, sides, ..] = *proof else { return Err(DecodeError::Truncated) };
    let depth = usize::from(depth);
    let legal = depth <= PATH_MAX
        && usize::from(sides) >> depth == 0
        && proof.len() == HEAD_BYTES + depth * SIBLING_BYTES + SIGNATURE_BYTES;
    if legal { Ok(()) } else { Err(DecodeError::Malformed("batch length")) }
}

/// What a batch with this digest claims by its proof, which was checked.
pub(crate) fn claim(leaf: Digest, proof: &[u8]) -> Claim {
    let (path, signed) = proof.split_at(proof.len() - SIGNATURE_BYTES);
    let mut signature = [0; SIGNATURE_BYTES];
    signature.copy_from_slice(signed);
    let sides = path[1];
    let siblings = path[HEAD_BYTES..].as_chunks::<SIBLING_BYTES>().0;
    let root = siblings.iter().enumerate().fold(leaf, |node, (at, sibling)| {
        if sides >> at & 1 == 1 { above(sibling, &node) } else { above(&node, sibling) }
    });
    Claim { root, signature: Signature(signature) }
}

fn above(first: &Digest, second: &Digest) -> Digest {
    digest(DOMAIN, [*first, *second].as_flattened())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Scheme;

    fn leaves(count: usize) -> Vec<Digest> {
        (0..count).map(|n| digest("leaf", &n.to_be_bytes())).collect()
    }

    #[test]
    fn all_that_were_signed_together_claim_one_root() {
        let signer = Signer::ed25519(&[7; 32]);
        let key = Scheme::Ed25519.key(&signer.node());
        for count in [1, 2, 3, 5, 8, 13, 33, BATCHES_MAX] {
            let leaves = leaves(count);
            let proofs = prove(&leaves, &signer);
            let claims: Vec<_> =
                leaves.iter().zip(&proofs).map(|(leaf, proof)| claim(*leaf, proof)).collect();
            assert!(proofs.iter().all(|proof| check(proof) == Ok(())), "{count}");
            assert!(proofs.iter().all(|proof| proof.len() <= PROOF_BYTES_MAX));
            assert!(claims.iter().all(|claim| *claim == claims[0]), "{count}");
            assert!(key.verify(&claims[0].root, &claims[0].signature), "{count}");
            assert_ne!(claim(digest("leaf", b"another"), &proofs[0]).root, claims[0].root);
        }
    }

    #[test]
    fn more_than_fit_have_several_signatures() {
        let signer = Signer::ed25519(&[7; 32]);
        let leaves = leaves(BATCHES_MAX + 1);
        let proofs = prove(&leaves, &signer);
        assert_eq!(proofs.len(), leaves.len());
        assert_eq!(claim(leaves[BATCHES_MAX], &proofs[BATCHES_MAX]).root, leaves[BATCHES_MAX]);
    }

    #[test]
    fn a_proof_has_one_encoding() {
        let proof = &prove(&leaves(3), &Signer::ed25519(&[7; 32]))[0];
        assert_eq!(check(proof), Ok(()));
        let changed = |at: usize, byte: u8| {
            let mut proof = proof.clone();
            proof[at] = byte;
            check(&proof).is_err()
        };
        assert!(changed(0, 1) && changed(0, 7) && changed(1, 0b100));
        assert!(check(&proof[..proof.len() - 1]).is_err() && check(&[]).is_err());
    }
}
