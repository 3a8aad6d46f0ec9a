//! Tidings as a library: a peer in this process.
//!
//! A peer joins a majority of the cluster's seeds, finds its neighbours, and from then on carries
//! messages with them, without a broker.
//!
//! ```no_run
//! use tidings::{Config, Delivery, Overrides, Peer};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::load(None, &Overrides::new())?;
//! let peer = Peer::join(config).await?;
//! peer.joined().await?;
//! peer.ensure_topic("Sports").await?;
//!
//! let mut sports = peer.subscribe("Sports").await?;
//! peer.publish("Sports", "Football match tonight!").await?;
//! while let Some(delivery) = sports.next().await {
//!     match delivery {
//!         Delivery::Message(m) => println!("{} {}: {:?}", m.origin_addr, m.seq, m.body),
//!         Delivery::Gap(gap) => println!("{} messages are lost", gap.count()),
//!         _ => break,
//!     }
//! }
//! peer.leave().await;
//! # Ok(())
//! # }
//! ```
//!
//! Reading order: [`Peer`] is what an application uses; `dispatch` is the other end of it, in the
//! driver's task; `queue` and `fanout` stand between the driver and a [`Subscription`];
//! [`control`] serves all this to other processes as JSON lines, and [`http`] shows it.

pub mod control;
mod delivery;
mod dispatch;
mod durable;
mod error;
mod fanout;
mod filters;
pub mod http;
mod journal;
mod notices;
mod outgoing;
mod peer;
mod pending;
mod publish;
mod request;
mod restore;
mod session;
mod start;
mod store;
mod subscribe;
mod subscription;
mod window;

pub use delivery::{Delivery, Gap, GapReason, Message};
pub use error::{Error, JoinError};
pub use filters::FilterSubscription;
pub use outgoing::Outgoing;
pub use peer::{About, Page, Peer, STREAMS_SHOWN_MAX, Status};
pub use publish::{PUBLISH_TIMEOUT, Published, Receipt};
pub use request::{CORRELATION_ID, REPLY_TO, Replies};
pub use session::{
    Numbered, Pulled, SESSION_NAME_BYTES_MAX, SUBSCRIPTIONS_SHOWN_MAX, Session, SessionInfo,
    SubscriptionInfo,
};
pub use store::StoreError;
pub use subscribe::{Policy, Position, SubscribeOptions};
pub use subscription::Subscription;
pub use tidings_proto::peer::event::{CommandError, From, TopicInfo};
pub use tidings_proto::peer::status::{
    NeighborStatus, PeerStatus, SeedState, SeedStatus, TopicStatus,
};
pub use tidings_proto::wire::frame::{PAGE_MAX, PeerItem, PeerState, TopicItem};
pub use tidings_proto::wire::headers::{Headers, HeadersError, RETAIN};
pub use tidings_proto::wire::record::TopicPolicy;
pub use tidings_proto::{Incarnation, NodeId, Topic};
pub use tidings_runtime::{
    Config, ConfigError, Count, LinkView, Network, Overrides, ShedReason, Traffic,
};
