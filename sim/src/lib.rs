//! The simulator of Tidings: thousands of the shipped machines on virtual time, with faults and
//! judges.
//!
//! Nothing is modelled twice: what runs here is [`tidings_proto::Peer`] and
//! [`tidings_proto::Seed`], driven by the same contract as under tokio. One number, the seed,
//! decides a whole run: the same seed gives the same trace hash.
//!
//! Reading order: [`world`] drives machines over a [`network`]; [`cluster`] fills a world with
//! seeds, peers and applications as a [`scenario`] says, and lets the [`fault`] plan loose on
//! it; [`check`] holds the judges, [`report`] the verdict.

pub mod check;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod fault;
pub mod fuzz;
pub mod grid;
pub mod latency;
pub mod ledger;
pub mod network;
pub mod plot;
pub mod queue;
pub mod report;
pub mod rng;
pub mod scenario;
pub mod slab;
pub mod sweep;
pub mod trace;
pub mod wire;
pub mod world;
