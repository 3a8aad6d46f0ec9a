//! What nodes say to each other, and how it is written.
//!
//! A frame is a length (u32, big-endian, of what follows), a kind (u8) and a body. Batches have
//! the fixed layout of [`batch`]; every other body is a [postcard] encoding of its struct, small
//! and capped. A frame of a kind that this version does not know is skipped and counted, which
//! is how the protocol grows.

pub mod batch;
pub mod codec;
pub mod frame;
pub mod headers;
pub mod kind;
pub mod proof;
pub mod record;

#[cfg(test)]
mod tests;

use thiserror::Error;

/// Why bytes from a neighbour are not a frame. The link that brought them is closed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A declared length is over its limit; nothing was allocated for it.
    #[error("{what} is over its limit of {limit} bytes")]
    TooLarge {
        /// The thing that is too large.
        what: &'static str,
        /// Its limit in bytes.
        limit: usize,
    },
    /// The bytes end before the declared content does.
    #[error("truncated")]
    Truncated,
    /// The content contradicts its layout.
    #[error("malformed {0}")]
    Malformed(&'static str),
}
