//! The handle of a running peer: starting, asking, leaving.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidings_proto::id::TopicError;
use tidings_proto::peer::event::{Answer, Command, TopicInfo};
use tidings_proto::peer::status::{PeerStatus, StreamStatus};
use tidings_proto::wire::frame::{PeerItem, TopicItem};
use tidings_proto::wire::record::TopicPolicy;
use tidings_proto::{NodeId, Peer as Machine, RequestId, Topic, TopicFilter};
use tidings_runtime::{Clock, Handle, LinkView, Network, Node};
use tokio::sync::{Mutex, watch};

use crate::dispatch::Shared;
use crate::error::Error;
use crate::outgoing::Outgoing;
use crate::pending::{Extra, Ticket};
use crate::publish::{Published, Publisher, Receipt};
use crate::request::Requests;
use crate::session::Sessions;
use crate::store::Store;

/// A request without an answer fails after this. The machine gives up on its own after trying
/// each seed, 1 s each; this is for what nobody thought of.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// What waits to go out when the peer leaves has this long.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);
/// The most streams in a [`Status`].
pub const STREAMS_SHOWN_MAX: usize = 256;

/// A peer that runs in this process. Clones are the same peer; when the last one and its last
/// [`Subscription`] are dropped the peer stops, without the goodbyes of [`Peer::leave`].
///
/// All methods can be dropped half-way: nothing of the peer is lost by that. What was asked may
/// or may not be done then.
#[derive(Clone)]
pub struct Peer {
    pub(crate) inner: Arc<Inner>,
    pub(crate) sessions: Arc<Sessions>,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({:?} {})", self.inner.about.node, self.inner.about.listen)
    }
}

pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) handle: Handle<Machine>,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) publisher: Publisher,
    pub(crate) requests: Requests,
    /// Held while it is decided and told to the machine whether the peer is in a topic, so that
    /// an ending subscription cannot take the topic away from a beginning one.
    pub(crate) membership: Mutex<()>,
    pub(crate) running: Mutex<Option<Node<Machine>>>,
    pub(crate) joined: watch::Receiver<bool>,
    pub(crate) about: About,
    pub(crate) clock: Clock,
    pub(crate) store: Store,
    /// What this peer retains of any topic.
    pub(crate) retention_bytes_max: usize,
}

/// What never changes of a peer.
#[derive(Clone, Debug)]
pub struct About {
    /// Its identity.
    pub node: NodeId,
    /// Its name for people, perhaps empty.
    pub name: String,
    /// What it listens on.
    pub listen: SocketAddr,
    /// What others are told to dial.
    pub address: SocketAddr,
}

/// A peer, as of now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// What never changes.
    pub about: About,
    /// Time since it started.
    pub uptime: Duration,
    /// The protocol's view.
    pub peer: PeerStatus,
    /// Subscriptions of this process.
    pub subscriptions: usize,
    /// Messages that subscriptions have dropped because they were not read in time.
    pub dropped: u64,
    /// Sessions, the permanent one included.
    pub sessions: usize,
    /// Transactions that wrote what survives a restart.
    pub store_commits: u64,
    /// Batches that do not survive a restart because the disk was too slow.
    pub store_shed: u64,
    /// Transactions that failed.
    pub store_failed: u64,
    /// Its links, and what they carried and shed.
    pub network: Network,
    /// Streams that it receives: those with holes first, then those with the greatest lag, at
    /// most [`STREAMS_SHOWN_MAX`].
    pub streams: Vec<StreamStatus>,
    /// How many streams there are.
    pub streams_total: usize,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// How many match.
    pub total: usize,
    /// The page.
    pub items: Vec<T>,
}

impl Peer {
    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    pub(crate) fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    pub(crate) fn runtime(&self) -> &tokio::runtime::Handle {
        &self.inner.runtime
    }

    /// What never changes of this peer.
    pub fn about(&self) -> &About {
        &self.inner.about
    }

    /// Whether a majority of the seeds holds the registration now.
    pub fn is_joined(&self) -> bool {
        *self.inner.joined.borrow()
    }

    /// Waits until a majority of the seeds holds the registration. Without configured seeds that
    /// is so from the start.
    ///
    /// # Errors
    /// The peer has stopped.
    pub async fn joined(&self) -> Result<(), Error> {
        let mut joined = self.inner.joined.clone();
        joined.wait_for(|joined| *joined).await.map(drop).map_err(|_| Error::Stopped)
    }

    /// [`Self::joined`], for at most `timeout`. The peer goes on trying.
    ///
    /// # Errors
    /// It is not joined in time, or the peer has stopped.
    pub async fn wait_joined(&self, timeout: Duration) -> Result<(), Error> {
        let waited = tokio::time::timeout(timeout, self.joined()).await;
        waited.unwrap_or(Err(Error::Timeout(timeout)))
    }

    /// Waits until the peer has stopped: left, or broken.
    pub async fn stopped(&self) {
        let mut joined = self.inner.joined.clone();
        while joined.changed().await.is_ok() {}
    }

    /// Makes this peer the host of a new topic.
    ///
    /// # Errors
    /// A bad name, a topic that exists, or no majority of seeds.
    pub async fn create_topic(&self, topic: &str) -> Result<TopicInfo, Error> {
        self.create_topic_with(topic, TopicPolicy::default(), false).await
    }

    /// Makes this peer the host of a topic, unless it is that already.
    ///
    /// # Errors
    /// A bad name, a topic that another peer hosts, or no majority of seeds.
    pub async fn ensure_topic(&self, topic: &str) -> Result<TopicInfo, Error> {
        self.create_topic_with(topic, TopicPolicy::default(), true).await
    }

    /// Makes this peer the host of a topic with a policy of its own. With `exist_ok` a topic that
    /// it hosts already is fine, and keeps its policy. The log of a durable topic is kept on this
    /// peer's disk from now on, and on that of every subscriber that asks for it.
    ///
    /// # Errors
    /// A bad name, a topic that exists, no majority of seeds, or a disk that does not take it.
    pub async fn create_topic_with(
        &self,
        topic: &str,
        policy: TopicPolicy,
        exist_ok: bool,
    ) -> Result<TopicInfo, Error> {
        let topic = Topic::new(topic)?;
        if topic.requester().is_some_and(|node| node != self.inner.about.node) {
            return Err(TopicError::Reserved.into());
        }
        let inner = Arc::clone(&self.inner);
        self.inner
            .to_the_end(async move {
                let command = |request| Command::CreateTopic { request, topic, exist_ok, policy };
                let info = expect_topic(inner.ask(command).await?)?;
                if info.record.policy.durable && info.record.host == inner.about.node {
                    inner.keep_log(info.clone()).await?;
                }
                Ok(info)
            })
            .await
    }

    /// Ends a topic that this peer hosts, for all its subscribers.
    ///
    /// # Errors
    /// There is no such topic, another peer hosts it, or no majority of seeds.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), Error> {
        let topic = Topic::new(topic)?;
        self.inner.ask(|request| Command::DeleteTopic { request, topic }).await.map(drop)
    }

    /// What the seeds know of a topic.
    ///
    /// # Errors
    /// There is no such topic, or no majority of seeds.
    pub async fn topic_info(&self, topic: &str) -> Result<TopicInfo, Error> {
        let topic = Topic::new(topic)?;
        expect_topic(self.inner.ask(|request| Command::TopicInfo { request, topic }).await?)
    }

    /// A page of the topics that match an MQTT `filter`, empty for all; at most
    /// [`crate::PAGE_MAX`] items.
    ///
    /// # Errors
    /// The text is no filter, or no seed answers.
    pub async fn list_topics(
        &self,
        filter: &str,
        offset: u32,
        limit: u32,
    ) -> Result<Page<TopicItem>, Error> {
        if !filter.is_empty() {
            TopicFilter::new(filter)?;
        }
        let filter = filter.to_owned();
        let command = |request| Command::ListTopics { request, filter, offset, limit };
        match self.inner.ask(command).await? {
            Answer::Topics { total, items } => Ok(Page { total: total as usize, items }),
            other => unexpected(&other),
        }
    }

    /// A page of the peers whose name, address or id contains `filter`, empty for all; at most
    /// [`crate::PAGE_MAX`] items. Without seeds these are the peers that this one knows.
    ///
    /// # Errors
    /// The peer has stopped.
    pub async fn list_peers(
        &self,
        filter: &str,
        offset: u32,
        limit: u32,
    ) -> Result<Page<PeerItem>, Error> {
        let filter = filter.to_owned();
        let command = |request| Command::ListPeers { request, filter, offset, limit };
        match self.inner.ask(command).await? {
            Answer::Peers { total, items } => Ok(Page { total: total as usize, items }),
            other => unexpected(&other),
        }
    }

    /// Has the seeds list a peer no more that does not answer any longer: the one with this id, or
    /// these first digits of it, this address or this name. Returns what was listed of it. It is
    /// taken for dead with all that it subscribed to; if it lives, it may return with a new start.
    ///
    /// # Errors
    /// No such peer is listed, or several are; it answers; fewer than a majority of the seeds
    /// could say that it does not.
    pub async fn forget(&self, who: &str) -> Result<PeerItem, Error> {
        let who = who.to_owned();
        let command = |request| Command::Forget { request, who };
        match self.inner.ask(command).await? {
            Answer::Forgotten(item) => Ok(item),
            other => unexpected(&other),
        }
    }

    /// Publishes a message and waits until it is on its way. Waits for room when the peer's
    /// links are congested, for at most 30 s. Messages of one task arrive in their order.
    ///
    /// # Errors
    /// There is no such topic, the body is over 1 MiB, or no room in time.
    pub async fn publish(
        &self,
        topic: &str,
        message: impl Into<Outgoing>,
    ) -> Result<Published, Error> {
        self.inner.publisher.publish(topic, message.into()).await
    }

    /// Hands over a message, after waiting for room, and does not wait until it is on its way:
    /// the receipt tells. Messages that are handed over meanwhile go out in one batch, so this
    /// is how to publish many quickly and in order.
    ///
    /// # Errors
    /// A bad topic name, or a body over 1 MiB; anything else comes with the receipt.
    pub async fn enqueue(
        &self,
        topic: &str,
        message: impl Into<Outgoing>,
    ) -> Result<Receipt, Error> {
        self.inner.publisher.enqueue(topic, message.into()).await
    }

    /// [`Self::enqueue`] that waits for nothing.
    ///
    /// # Errors
    /// As there, and [`Error::Busy`] when there is no room now.
    pub fn try_publish(&self, topic: &str, message: impl Into<Outgoing>) -> Result<Receipt, Error> {
        self.inner.publisher.try_enqueue(topic, message.into())
    }

    /// This peer, as of now.
    ///
    /// # Errors
    /// The peer has stopped.
    pub async fn status(&self) -> Result<Status, Error> {
        let look = |machine: &Machine, _| {
            let streams = machine.streams(STREAMS_SHOWN_MAX);
            (machine.status(), streams)
        };
        let handle = &self.inner.handle;
        let (peer, streams) = handle.inspect(look).await.map_err(|_| Error::Stopped)?;
        let network = handle.network().await.map_err(|_| Error::Stopped)?;
        let (subscriptions, dropped) = self.inner.shared.fanout.count();
        let about = self.inner.about.clone();
        let (streams_total, streams) = streams;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = self.inner.store.counts();
        Ok(Status {
            about,
            uptime: self.inner.clock.uptime(),
            peer,
            subscriptions,
            dropped,
            sessions: self.sessions.count(),
            store_commits: count(&counts.commits),
            store_shed: count(&counts.shed),
            store_failed: count(&counts.failed),
            network,
            streams,
            streams_total,
        })
    }

    /// The connections of this peer, to peers and seeds.
    ///
    /// # Errors
    /// The peer has stopped.
    pub async fn links(&self) -> Result<Vec<LinkView>, Error> {
        self.inner.handle.links().await.map_err(|_| Error::Stopped)
    }

    /// Microseconds since 1970, by the clock that stamps this peer's messages.
    pub fn wall_us(&self) -> i64 {
        self.inner.clock.wall_us(self.inner.clock.now())
    }

    /// Leaves the cluster: what is on its way goes out, seeds and neighbours are told, all
    /// subscriptions end. Takes at most about a second. A peer that has left already is fine.
    pub async fn leave(&self) {
        let inner = Arc::clone(&self.inner);
        // Where the runtime ends, everything does.
        let leaving = async move {
            inner.leave().await;
            Ok(())
        };
        let _ = self.inner.to_the_end(leaving).await;
    }
}

impl Inner {
    /// Whoever comes second waits until it is done.
    async fn leave(&self) {
        let mut running = self.running.lock().await;
        let Some(node) = running.take() else { return };
        let drained = self.publisher.drained();
        if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
            tracing::warn!("left_with_publications_waiting");
        }
        let told = self.ask(|request| Command::Leave { request });
        // A machine that does not answer is left all the same.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, told).await;
        node.stop().await;
        let store = self.store.clone();
        // Writes what waits; a thread that broke has nothing to write.
        let _ = self.runtime.spawn_blocking(move || store.close()).await;
    }

    /// Does all of what cannot be left half done, also when the future of who waits for it is
    /// dropped.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.runtime.spawn(work).await.unwrap_or(Err(Error::Stopped))
    }

    /// Takes the peer out of `topic` unless a subscription wants it.
    pub(crate) async fn leave_topic(&self, topic: Topic) -> Result<(), Error> {
        let gate = self.membership.lock().await;
        if self.shared.fanout.wants(&topic) {
            return Ok(());
        }
        let ticket = self.shared.pending.ticket(Extra::None)?;
        self.send(Command::Unsubscribe { request: ticket.request, topic }).await?;
        drop(gate);
        wait(ticket).await.map(drop)
    }

    pub(crate) async fn ask(
        &self,
        command: impl FnOnce(RequestId) -> Command,
    ) -> Result<Answer, Error> {
        let ticket = self.shared.pending.ticket(Extra::None)?;
        self.send(command(ticket.request)).await?;
        wait(ticket).await
    }

    pub(crate) async fn send(&self, command: Command) -> Result<(), Error> {
        self.handle.command(command).await.map_err(|_| Error::Stopped)
    }
}

pub(crate) async fn wait(mut ticket: Ticket) -> Result<Answer, Error> {
    match tokio::time::timeout(ANSWER_TIMEOUT, &mut ticket.answer).await {
        Ok(Ok(outcome)) => Ok(outcome?),
        Ok(Err(_)) => Err(Error::Stopped),
        Err(_) => Err(Error::Timeout(ANSWER_TIMEOUT)),
    }
}

pub(crate) fn expect_topic(answer: Answer) -> Result<TopicInfo, Error> {
    match answer {
        Answer::Topic(info) => Ok(*info),
        other => unexpected(&other),
    }
}

/// The machine answered something that its contract does not allow for the command.
pub(crate) fn unexpected<T>(answer: &Answer) -> Result<T, Error> {
    debug_assert!(false, "unexpected answer {answer:?}");
    Err(Error::Internal)
}
