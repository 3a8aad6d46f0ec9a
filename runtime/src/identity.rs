//! Who a machine is told that it is.

use std::net::SocketAddr;

use rand::TryRng as _;
use thiserror::Error;
use tidings_proto::Incarnation;
use tidings_proto::config::Identity;
use tidings_proto::crypto::Scheme;

use crate::clock::Clock;

/// The identity of a node of `cluster`, with fresh randomness for its machine.
///
/// # Errors
/// The operating system has no randomness.
pub fn identity(
    cluster: &str,
    name: &str,
    address: SocketAddr,
    incarnation: Incarnation,
    clock: &Clock,
) -> Result<Identity, IdentityError> {
    let mut rng_seed = [0; 32];
    rand::rngs::SysRng.try_fill_bytes(&mut rng_seed).map_err(|_| IdentityError::Randomness)?;
    Ok(Identity {
        cluster: cluster.to_owned(),
        name: name.to_owned(),
        address,
        incarnation,
        scheme: Scheme::Ed25519,
        wall_origin_us: clock.wall_origin_us(),
        rng_seed,
    })
}

/// What others are told to dial: `advertise` if given (its port 0 stands for the bound one), else
/// the address that the listener is `bound` to.
///
/// # Errors
/// The listener is bound to all addresses of the host and `advertise` does not say which to dial.
pub fn advertised(
    bound: SocketAddr,
    advertise: Option<SocketAddr>,
) -> Result<SocketAddr, IdentityError> {
    let mut address = advertise.unwrap_or(bound);
    if address.port() == 0 {
        address.set_port(bound.port());
    }
    if address.ip().is_unspecified() {
        return Err(IdentityError::Unspecified { address });
    }
    Ok(address)
}

/// Why a node has no identity.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// No randomness.
    #[error("the operating system has no randomness")]
    Randomness,
    /// Nobody can dial the address.
    #[error(
        "other nodes cannot dial {address}: say with --advertise IP:PORT (or the key advertise) \
         where they reach this node"
    )]
    Unspecified {
        /// The address.
        address: SocketAddr,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_unspecified_address_needs_an_advertised_one() {
        let bound = at("0.0.0.0:7201");
        assert!(advertised(bound, None).is_err());
        assert_eq!(advertised(bound, Some(at("10.0.0.7:0"))), Ok(at("10.0.0.7:7201")));
        assert_eq!(advertised(bound, Some(at("10.0.0.7:99"))), Ok(at("10.0.0.7:99")));
        assert_eq!(advertised(at("127.0.0.1:5"), None), Ok(at("127.0.0.1:5")));
    }
}
