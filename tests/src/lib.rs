//! Whole clusters of real processes, for tests.
//!
//! [`cluster::Cluster`] starts seeds and peers in a directory of its own, waits until they are
//! of use, and ends them all when it is dropped, also by a panic. [`node::Node`] is one of its
//! processes: its ports, logs and signals. [`control::Control`] and [`http::get`] talk to a
//! node as an application does, [`cli::peer`] and [`cli::seed`] as a person does, and
//! [`stranger::Stranger`] as another node does, honest or not.
//!
//! Nothing here sleeps for a fixed time: [`wait::until`] polls for a condition with a deadline.
//! The exceptions are [`wait::stays`] and [`wait::pause`], for tests in which the passing of time
//! is the subject.
//! [`status`] reads counters, [`latency`] compares how long messages take with and without
//! something, [`proxy`] makes a link slow, and [`net`] cuts seeds off.
//! [`chaos`] has seeds fail while applications work, for a test and for `scripts/chaos.sh`.
//! [`turn`] keeps clusters that need the whole machine from running beside others.

pub mod binaries;
pub mod chaos;
pub mod cli;
pub mod cluster;
pub mod control;
pub mod http;
pub mod latency;
pub mod log;
pub mod net;
pub mod node;
pub mod ports;
pub mod proxy;
pub mod status;
pub mod stranger;
pub mod text;
pub mod turn;
pub mod wait;
