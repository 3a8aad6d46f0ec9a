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
//! # What else there is
//!
//! A topic with a policy; history; headers and a retained message; filters:
//!
//! ```no_run
//! use std::time::Duration;
//! use tidings::{From, Outgoing, Peer, Policy, SubscribeOptions, TopicPolicy};
//!
//! # async fn example(peer: Peer) -> Result<(), Box<dyn std::error::Error>> {
//! // The host and each subscriber that asks for it keep the log of a durable topic on disk.
//! let policy = TopicPolicy { durable: true, ..TopicPolicy::default() };
//! peer.create_topic_with("sensors/attic/temp", policy, false).await?;
//! let options = SubscribeOptions {
//!     from: From::Since(Duration::from_secs(600)),
//!     policy: Policy::DropOldest { messages: 1_000 },
//!     durable: true,
//! };
//! let mut attic = peer.subscribe_with("sensors/attic/temp", options).await?;
//!
//! // Whoever subscribes later gets a retained message first.
//! let message = Outgoing::new("21.5").with_header("unit", "celsius")?.retained()?;
//! peer.publish("sensors/attic/temp", message).await?;
//! println!("{:?}", attic.next().await);
//!
//! // All topics that a filter matches, also those that are created later.
//! let mut all = peer.subscribe_filter("sensors/+/temp", From::New).await?;
//! while let Some(delivery) = all.next().await {
//!     println!("{delivery:?}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A session keeps what nobody has read, also over a restart of the peer; ask and answer:
//!
//! ```no_run
//! use std::time::Duration;
//! use tidings::{Delivery, From, Peer};
//!
//! # async fn example(peer: Peer) -> Result<(), Box<dyn std::error::Error>> {
//! let session = peer.session();
//! session.subscribe("Sports", From::New).await?;
//! let pulled = session.pull(Some("Sports"), 100, Duration::from_secs(5)).await?;
//! println!("{} deliveries, {} wait", pulled.deliveries.len(), pulled.remaining);
//!
//! let mut asked = peer.subscribe("time").await?;
//! if let Some(Delivery::Message(request)) = asked.next().await {
//!     peer.reply(&request, "half past four").await?;
//! }
//! let reply = peer.request("time", "now?", Duration::from_secs(2)).await?;
//! println!("{:?}", reply.body);
//! # Ok(())
//! # }
//! ```
//!
//! # Dropping futures
//!
//! The futures of `next` lose nothing when they are dropped, so they stand in `select!`. A
//! publication whose future is dropped may or may not go out. [`Session::pull`] of the permanent
//! session hands out once: what a dropped future had taken is lost, so it is given a time to wait
//! instead.
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
mod names;
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
pub use names::ReservedName;
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
