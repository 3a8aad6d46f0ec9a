//! The shell that runs a machine of `tidings-proto` on a real host: sockets, TLS, timers, files,
//! configuration and logs. It knows both roles only as [`tidings_proto::Machine`].
//!
//! Reading order: [`node`] is what a program uses, `driver` is the one task that owns a machine
//! and polls its links in place, `link` and `queue` are one connection, [`tls`] proves who is at
//! the other end. Everything else is plumbing, one idea a file.

pub mod admin;
pub mod clock;
pub mod config;
mod congestion;
pub mod data;
mod dial;
mod driver;
pub mod http;
pub mod identity;
mod inbox;
pub mod key;
mod link;
pub mod listen;
pub mod logging;
pub mod manual;
pub mod metrics;
pub mod network_view;
pub mod node;
pub mod ports_file;
pub mod progress;
mod queue;
pub mod shutdown;
pub mod store;
pub mod table;
pub mod tls;
pub mod traffic;
mod wake;

pub use clock::Clock;
pub use config::{Config, ConfigError, Overrides};
pub use data::{DataDir, DataError, TopicsFile};
pub use identity::{IdentityError, advertised, identity};
pub use key::{KeyError, NodeKey};
pub use network_view::NetworkView;
pub use node::{
    Handle, Host, Kept, LinkLimits, LinkView, Network, Node, NodeOptions, Stopped, TryCommandError,
};
pub use traffic::{Count, ShedReason, Traffic};
