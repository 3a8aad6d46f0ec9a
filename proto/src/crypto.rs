//! Signatures: who made a record or a batch.

use core::fmt;

use ed25519_dalek::{Signer as _, SigningKey, Verifier as _, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::id::NodeId;

/// Length of a signature in bytes.
pub const SIGNATURE_BYTES: usize = 64;

/// A hash of what is signed.
pub type Digest = [u8; 32];

/// A signature over domain-separated bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; SIGNATURE_BYTES]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:02x}..", self.0[0], self.0[1])
    }
}

impl Serialize for Signature {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (left, right) = self.0.split_at(32);
        (left_array(left), left_array(right)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (left, right) = <([u8; 32], [u8; 32])>::deserialize(deserializer)?;
        let mut bytes = [0; SIGNATURE_BYTES];
        bytes[..32].copy_from_slice(&left);
        bytes[32..].copy_from_slice(&right);
        Ok(Self(bytes))
    }
}

fn left_array(half: &[u8]) -> [u8; 32] {
    let mut array = [0; 32];
    array.copy_from_slice(half);
    array
}

/// How signatures are made and checked in this cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Scheme {
    /// Ed25519 (RFC 8032). The only scheme of real nodes.
    #[default]
    Ed25519,
    /// A keyless checksum for the simulator: it detects damage, not forgery, and lets one core
    /// play ten thousand nodes. No driver with a network offers it.
    Checksum,
}

/// A node's ability to sign.
#[derive(Clone)]
pub enum Signer {
    /// Holds the node's secret key.
    Ed25519(Box<SigningKey>),
    /// Signs with the checksum of the simulator.
    Checksum(NodeId),
}

impl Signer {
    /// A signer from the 32 secret bytes of an Ed25519 key.
    pub fn ed25519(secret: &[u8; 32]) -> Self {
        Self::Ed25519(Box::new(SigningKey::from_bytes(secret)))
    }

    /// The node that this signer signs for.
    pub fn node(&self) -> NodeId {
        match self {
            Self::Ed25519(key) => NodeId(key.verifying_key().to_bytes()),
            Self::Checksum(node) => *node,
        }
    }

    /// Signs `message` in `domain`. A signature made in one domain is not valid in another.
    pub fn sign(&self, domain: &str, message: &[u8]) -> Signature {
        self.sign_digest(&digest(domain, message))
    }

    /// Signs a message by its [`digest`].
    pub fn sign_digest(&self, digest: &Digest) -> Signature {
        match self {
            Self::Ed25519(key) => Signature(key.sign(digest).to_bytes()),
            Self::Checksum(node) => checksum(node, digest),
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({:?})", self.node())
    }
}

impl Scheme {
    /// Whether `signature` over `message` in `domain` is that of `node`.
    pub fn verify(
        self,
        node: &NodeId,
        domain: &str,
        message: &[u8],
        signature: &Signature,
    ) -> bool {
        self.key(node).verify(&digest(domain, message), signature)
    }

    /// The key of `node`, ready to check many signatures.
    pub fn key(self, node: &NodeId) -> Key {
        match self {
            // A key of small order would have signatures that fit several messages.
            Self::Ed25519 => {
                Key::Ed25519(VerifyingKey::from_bytes(&node.0).ok().filter(|key| !key.is_weak()))
            }
            Self::Checksum => Key::Checksum(*node),
        }
    }
}

/// A node's public key, unpacked: a tenth of the work of a check, done once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// None when the bytes are no key, and nothing is signed by it.
    Ed25519(Option<VerifyingKey>),
    /// For the checksum of the simulator.
    Checksum(NodeId),
}

impl Key {
    /// Whether `signature` over a message with this digest is that of the key.
    pub fn verify(&self, digest: &Digest, signature: &Signature) -> bool {
        match self {
            Self::Ed25519(key) => key.is_some_and(|key| {
                let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
                key.verify(digest, &signature).is_ok()
            }),
            Self::Checksum(node) => checksum(node, digest) == *signature,
        }
    }
}

/// What is signed of a message in `domain`: a 32-byte hash, so that a large batch is read once by
/// the fast hash and not twice by the signature's own.
pub fn digest(domain: &str, message: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(domain.len() as u64).to_be_bytes());
    hasher.update(domain.as_bytes());
    hasher.update(message);
    *hasher.finalize().as_bytes()
}

/// The longest domain of a [`long_digest`], in bytes.
pub const LONG_DOMAIN_BYTES_MAX: usize = 32;

/// As [`digest`], for messages that may be long: the domain is the key of a keyed hash and no part
/// of what is hashed, so that the message begins where a chunk does and whole chunks are hashed
/// side by side. Measured with AVX-512: 0.4 of the time with 8 KiB, 0.6 with 64 KiB.
///
/// # Panics
/// When the domain is longer than [`LONG_DOMAIN_BYTES_MAX`].
pub fn long_digest(domain: &str, message: &[u8]) -> Digest {
    let mut key = [0; LONG_DOMAIN_BYTES_MAX];
    key[..domain.len()].copy_from_slice(domain.as_bytes());
    *blake3::keyed_hash(&key, message).as_bytes()
}

fn checksum(node: &NodeId, digest: &Digest) -> Signature {
    let mut bytes = [0; SIGNATURE_BYTES];
    bytes[..32].copy_from_slice(&node.0);
    bytes[32..].copy_from_slice(digest);
    Signature(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schemes_detect_changes() {
        let real = (Signer::ed25519(&[7; 32]), Scheme::Ed25519);
        let simulated = (Signer::Checksum(NodeId([1; 32])), Scheme::Checksum);
        for (signer, scheme) in [real, simulated] {
            let signature = signer.sign("batch", b"hello");
            let node = signer.node();
            assert!(scheme.verify(&node, "batch", b"hello", &signature));
            assert!(!scheme.verify(&node, "batch", b"hellp", &signature));
            assert!(!scheme.verify(&node, "record", b"hello", &signature));
            assert!(!scheme.verify(&NodeId([2; 32]), "batch", b"hello", &signature));
        }
    }

    #[test]
    fn digests_depend_on_domain_and_message() {
        let digests = [
            long_digest("tidings batch 3", b""),
            long_digest("tidings batch 3", b"a"),
            long_digest("tidings batch 3\u{1}", b"a"),
            long_digest("tidings batch 4", b"a"),
            digest("tidings batch 3", b"a"),
        ];
        let all: std::collections::BTreeSet<_> = digests.into_iter().collect();
        assert_eq!(all.len(), digests.len());
    }

    #[test]
    fn nothing_is_signed_by_what_is_no_key() {
        let weak = NodeId([0; 32]);
        let off_the_curve = NodeId([2; 32]);
        for node in [weak, off_the_curve] {
            assert_eq!(Scheme::Ed25519.key(&node), Key::Ed25519(None));
            assert!(!Scheme::Ed25519.verify(&node, "batch", b"", &Signature([0; 64])));
        }
    }
}
