//! The control port: a peer for other processes, as JSON lines over TCP.
//!
//! One request a line, one answer a line, answers in the order of the requests, `id` echoed. A
//! connection that streams gets events between the answers. A line that is wrong gets an error
//! and the connection lives; one that is too long gets an error and the connection ends.
//!
//! Reading order: `request` and `answer` are the protocol, `execute` maps it to the library,
//! `connection` is one client, `named` its session if it has one, `streams` what it gets without
//! one, [`Server`] all of them, and
//! [`Client`] is the other end.

mod answer;
mod client;
mod connection;
mod counters;
mod error;
mod execute;
mod filters;
mod help;
mod lines;
mod named;
mod names;
mod output;
mod request;
mod server;
mod sessions;
mod streams;
mod topics;

pub use answer::{
    CommandView, ConnectedView, Done, EventView, ForgottenView, GapView, HelpView, LocalTopicView,
    MessageView, NameMore, NameView, NamesView, NeighborView, PeerView, PeersView, PublishedView,
    PullView, RepliesView, RetentionView, SeedView, SeedsView, SessionView, SessionsView,
    StatusView, SubscriptionView, TopicMore, TopicView, TopicsView, Whereabouts,
};
pub use client::{Client, ClientError, Incoming, Receiver, Sender};
pub use counters::StreamView;
pub use error::{Code, Problem};
pub use request::{
    Ask, BUFFER_DEFAULT, BUFFER_MAX, Body, Keep, LIST_DEFAULT, LIST_MAX, List, POSITIONS_MAX,
    PUBLISH_WAIT_MS_MAX, PULL_DEFAULT, PULL_MAX, PULL_WAIT_MS_MAX, PositionView, Publish, Pull,
    REPLIES_MAX, Received, Request, Start, Subscribe, TIMEOUT_MS_DEFAULT, TIMEOUT_MS_MAX, Unread,
};
pub use server::{Options, Server};
pub use tidings_runtime::network_view::{CountView, LinkItem, NetworkView, TrafficView};

pub(crate) use execute::{Addresses, peers, seeds, status, topics};
