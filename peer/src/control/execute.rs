//! Requests to calls of the library, and what comes back to views.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use tidings_proto::wire::record::TopicPolicy;

use crate::control::answer::{
    Done, ForgottenView, HelpView, MessageView, NameView, NamesView, PeerView, PeersView, PullView,
    RepliesView, SeedsView, SessionsView, StatusView, TopicView, TopicsView,
};
use crate::control::error::Problem;
use crate::control::help::help;
use crate::control::request::{Ask, List, Pull};
use crate::error::Error;
use crate::outgoing::Outgoing;
use crate::peer::{Peer, Status};
use crate::session::Session;
use crate::{NodeId, PAGE_MAX};

/// The body of an answer.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Body {
    Done(Done),
    Forgotten(ForgottenView),
    Help(HelpView),
    Name(NameView),
    Names(NamesView),
    Peers(PeersView),
    Pong(Pong),
    Pulled(PullView),
    Replies(RepliesView),
    Seeds(SeedsView),
    Sessions(SessionsView),
    Status(Box<StatusView>),
    Topic(TopicView),
    Topics(TopicsView),
}

/// The answer to a ping.
#[derive(Debug, Serialize)]
pub(crate) struct Pong {
    pong: bool,
}

/// What a connection may ask without owning anything.
#[derive(Debug)]
pub(crate) enum Question {
    CreateTopic { topic: String, exist_ok: bool, policy: TopicPolicy },
    DeleteTopic { topic: String },
    ListTopics(List),
    TopicInfo { topic: String },
    Register { name: String, exist_ok: bool },
    Unregister { name: String },
    Names(List),
    NameInfo { name: String },
    Request(Ask),
    Pull(Pull),
    Sessions { offset: u32, limit: u32 },
    Peers(List),
    Forget { peer: String },
    Seeds,
    Status,
    Ping,
    Help,
}

/// Where the peer can be reached besides its overlay address.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Addresses {
    pub(crate) control: Option<SocketAddr>,
    pub(crate) http: Option<SocketAddr>,
}

/// Answers a question.
pub(crate) async fn execute(
    peer: &Peer,
    session: &Session,
    addresses: Addresses,
    question: Question,
) -> Result<Body, Problem> {
    Ok(match question {
        Question::CreateTopic { topic, exist_ok, policy } => {
            Body::Topic(peer.create_topic_with(&topic, policy, exist_ok).await?.into())
        }
        Question::Sessions { offset, limit } => Body::Sessions(sessions(peer, offset, limit)),
        Question::DeleteTopic { topic } => {
            peer.delete_topic(&topic).await?;
            Body::Done(Done {})
        }
        Question::TopicInfo { topic } => Body::Topic(peer.topic_info(&topic).await?.into()),
        Question::ListTopics(list) => Body::Topics(topics(peer, &list).await?),
        Question::Register { name, exist_ok } => {
            Body::Name(peer.register_name(&name, exist_ok).await?.into())
        }
        Question::Unregister { name } => {
            peer.unregister_name(&name).await?;
            Body::Done(Done {})
        }
        Question::Names(list) => Body::Names(names(peer, &list).await?),
        Question::NameInfo { name } => Body::Name(peer.name_info(&name).await?.into()),
        Question::Request(ask) => Body::Replies(request(peer, ask).await?),
        Question::Pull(Pull { topic, max, wait_ms }) => {
            let wait = Duration::from_millis(wait_ms);
            Body::Pulled(session.pull(topic.as_deref(), max as usize, wait).await?.into())
        }
        Question::Peers(list) => Body::Peers(peers(peer, &list).await?),
        Question::Forget { peer: who } => Body::Forgotten(peer.forget(&who).await?.into()),
        Question::Seeds => Body::Seeds(seeds(&peer.status().await?)),
        Question::Status => Body::Status(Box::new(status(&peer.status().await?, addresses))),
        Question::Ping => Body::Pong(Pong { pong: true }),
        Question::Help => Body::Help(help()),
    })
}

/// Bytes of message bodies in one answer to `request`; the reply that goes over it is the last.
const REPLIES_BYTES_MAX: usize = 4 << 20;

/// Publishes a request, and collects replies until there are enough or the time is over.
async fn request(peer: &Peer, ask: Ask) -> Result<RepliesView, Error> {
    let timeout = Duration::from_millis(ask.timeout_ms);
    let message = Outgoing::new(ask.body.0).with_headers(ask.headers);
    let mut view = RepliesView::default();
    let mut bytes = 0;
    let collecting = async {
        let mut replies = peer.request_many(&ask.topic, message).await?;
        view.reached = replies.published().reached;
        while view.replies.len() < ask.replies as usize && bytes < REPLIES_BYTES_MAX {
            let reply = replies.next().await.ok_or(Error::Stopped)?;
            bytes += reply.body.len();
            view.replies.push(MessageView::from(&reply));
        }
        Ok(())
    };
    match tokio::time::timeout(timeout, collecting).await {
        Ok(Err(error)) => Err(error),
        Err(_) if view.replies.is_empty() => Err(Error::NoReply { timeout, reached: view.reached }),
        _ => Ok(view),
    }
}

/// The sessions of a peer.
pub(crate) fn sessions(peer: &Peer, offset: u32, limit: u32) -> SessionsView {
    let all = peer.list_sessions();
    let total = all.len();
    let page = all.into_iter().skip(offset as usize).take(limit as usize);
    SessionsView { total, sessions: page.map(Into::into).collect() }
}

/// A list of topics, put together from the pages of a seed.
pub(crate) async fn topics(peer: &Peer, list: &List) -> Result<TopicsView, Error> {
    let mut topics = Vec::new();
    loop {
        let (offset, limit) = next_page(list, topics.len());
        let page = peer.list_topics(&list.filter, offset, limit).await?;
        let last = page.items.len() < limit as usize;
        topics.extend(page.items.into_iter().map(TopicView::from));
        if last || topics.len() >= list.limit as usize {
            return Ok(TopicsView { total: page.total, topics });
        }
    }
}

/// A list of names, put together from the pages of a seed.
async fn names(peer: &Peer, list: &List) -> Result<NamesView, Error> {
    let mut names = Vec::new();
    loop {
        let (offset, limit) = next_page(list, names.len());
        let page = peer.list_names(&list.filter, offset, limit).await?;
        let last = page.items.len() < limit as usize;
        names.extend(page.items.into_iter().map(NameView::listed));
        if last || names.len() >= list.limit as usize {
            return Ok(NamesView { total: page.total, names });
        }
    }
}

/// A list of peers, put together from the pages of a seed.
pub(crate) async fn peers(peer: &Peer, list: &List) -> Result<PeersView, Error> {
    let linked = peer.status().await?.peer.neighbors;
    let linked: BTreeSet<NodeId> = linked.iter().map(|neighbor| neighbor.peer.node).collect();
    let mut peers = Vec::new();
    loop {
        let (offset, limit) = next_page(list, peers.len());
        let page = peer.list_peers(&list.filter, offset, limit).await?;
        let last = page.items.len() < limit as usize;
        let views = page.items.into_iter().map(|item| {
            let neighbor = linked.contains(&item.node);
            PeerView::new(item, neighbor)
        });
        peers.extend(views);
        if last || peers.len() >= list.limit as usize {
            return Ok(PeersView { total: page.total, peers });
        }
    }
}

fn next_page(list: &List, have: usize) -> (u32, u32) {
    let have = u32::try_from(have).unwrap_or(u32::MAX);
    let page_max = u32::try_from(PAGE_MAX).unwrap_or(u32::MAX);
    let limit = list.limit.saturating_sub(have).min(page_max);
    (list.offset.saturating_add(have), limit)
}

/// The configured seeds.
pub(crate) fn seeds(status: &Status) -> SeedsView {
    SeedsView {
        quorum: status.peer.quorum,
        joined: status.peer.joined,
        total: status.peer.seeds.len(),
        seeds: status.peer.seeds.iter().map(Into::into).collect(),
    }
}

/// The peer about itself.
pub(crate) fn status(status: &Status, addresses: Addresses) -> StatusView {
    let (about, peer) = (&status.about, &status.peer);
    let listed = peer.stats.list().into_iter().map(|(name, _, value)| (name, value));
    let all = listed.chain([
        ("dropped_unread", status.dropped),
        ("sessions", status.sessions as u64),
        ("store_commits", status.store_commits),
        ("store_failed", status.store_failed),
        ("store_shed", status.store_shed),
    ]);
    let counters: BTreeMap<String, u64> =
        all.map(|(name, value)| (name.to_owned(), value)).collect();
    StatusView {
        node: about.node.to_string(),
        name: about.name.clone(),
        listen: about.listen,
        address: about.address,
        control: addresses.control,
        http: addresses.http,
        incarnation: peer.incarnation.0,
        joined: peer.joined >= peer.quorum,
        seeds_joined: peer.joined,
        quorum: peer.quorum,
        neighbors: peer.neighbors.iter().map(Into::into).collect(),
        passive: peer.passive,
        topics: peer.topics.iter().filter(|t| !t.topic.is_internal()).map(Into::into).collect(),
        counters,
        streams_total: status.streams_total,
        streams: status.streams.iter().map(Into::into).collect(),
        network: (&status.network).into(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms: u64::try_from(status.uptime.as_millis()).unwrap_or(u64::MAX),
    }
}
