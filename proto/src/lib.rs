//! The protocol of Tidings: topic publish/subscribe by gossip, without a broker.
//!
//! This crate is pure. It has no sockets, no clock, no threads and no randomness of its own: a
//! node is a struct that is told what happened and answers what to do. The same struct runs
//! under tokio (`tidings-runtime`), by the thousand in the simulator (`tidings-sim`), and in
//! the tests beside the code.
//!
//! Reading order: [`machine`] is the contract between a node and the world, [`wire`] is what
//! nodes say to each other, [`peer`] and [`seed`] are the two roles. Each role is a set of small
//! rules, one a file, and a dispatcher that composes them.

pub mod config;
pub mod crypto;
pub mod filter;
pub mod id;
pub mod machine;
pub mod peer;
pub mod seed;
pub mod stats;
pub mod time;
pub mod wire;

pub use config::{LivenessConfig, PeerConfig, SeedConfig};
pub use filter::{FilterError, TopicFilter};
pub use id::{DialId, Incarnation, LinkId, NodeId, Origin, RequestId, Topic};
pub use machine::{Class, DialFailure, Input, LinkDown, Machine, Output};
pub use peer::Peer;
pub use seed::Seed;
pub use time::Instant;
