//! The host of the machine: lives in the driver's task and hands on what the machine says, to
//! requests, to subscriptions, to the log and to the disk.

use std::net::SocketAddr;
use std::sync::Arc;

use tidings_proto::peer::event::{Command, Durable, Event, Notice};
use tidings_proto::wire::batch::Batch;
use tidings_proto::{Instant, Peer as Machine};
use tidings_runtime::{Clock, DataDir, Host, Kept, TopicsFile};
use tokio::sync::watch;

use crate::durable::DurableTopics;
use crate::fanout::Fanout;
use crate::filters::Filters;
use crate::notices;
use crate::pending::Pending;
use crate::store::Store;

/// What the driver's task and the handles of a peer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) pending: Arc<Pending>,
    pub(crate) fanout: Fanout,
    pub(crate) durable: DurableTopics,
    pub(crate) filters: Filters,
}

/// The machine's way to the application, the log and the disk.
#[derive(Debug)]
pub(crate) struct Dispatch {
    pub(crate) shared: Arc<Shared>,
    pub(crate) data: DataDir,
    pub(crate) topics: TopicsFile,
    /// The seeds of the configuration.
    pub(crate) configured: Vec<SocketAddr>,
    pub(crate) clock: Clock,
    /// This peer, as others dial it.
    pub(crate) address: SocketAddr,
    /// Whether a majority of the seeds holds the registration.
    pub(crate) joined: watch::Sender<bool>,
    pub(crate) store: Store,
}

impl Host<Machine> for Dispatch {
    fn event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Answer { request, result } => self.shared.pending.answer(request, result),
            Event::Deliver { batch, from_seq } => self.deliver(now, &batch, from_seq),
            Event::Gap { topic, origin, from, to } => {
                let node = origin.node;
                tracing::warn!(%topic, origin = ?node, from, to, reason = "unavailable", "gap");
                self.shared.fanout.gap(&topic, origin, from, to);
            }
            Event::TopicAppeared { topic } => {
                tracing::info!(%topic, "topic_appeared");
                self.shared.filters.appeared(&topic);
            }
            Event::TopicDeleted { topic } => {
                tracing::info!(%topic, "topic_deleted");
                self.shared.fanout.topic_deleted(&topic);
                if let Some(hold) = self.shared.durable.remove(&topic) {
                    self.shared.fanout.release(hold);
                    self.store.drop_log(topic);
                }
            }
            Event::Notice(notice) => {
                if let Notice::Quorum(joined) = notice {
                    self.joined.send_replace(joined);
                }
                notices::log(self.address, self.clock.wall_us(now), notice);
            }
        }
    }

    /// A disk that cannot be written never stops a peer: it costs a slower rejoin.
    fn persist(&mut self, _token: u64, record: Durable) -> Kept {
        let saved = match &record {
            Durable::KnownPeers(peers) => self.data.save_known_peers(peers),
            Durable::Topics(topics) => self.topics.save(topics),
            Durable::Incarnation(incarnation) => self.data.save_incarnation(*incarnation),
            Durable::Seeds(known) => self.data.save_known_seeds(&self.configured, known),
        };
        if let Err(error) = saved {
            tracing::warn!(%error, "not_saved");
        }
        Kept::Now
    }

    fn makes_traffic(command: &Command) -> bool {
        matches!(command, Command::Publish { .. })
    }

    fn traffic_bytes(command: &Command) -> usize {
        match command {
            Command::Publish { message, .. } => message.encoded_len(),
            _ => 0,
        }
    }
}

impl Dispatch {
    /// Only what some session or log keeps goes to the disk.
    fn deliver(&self, now: Instant, batch: &Arc<Batch>, from_seq: u64) {
        let Some(pushed) = self.shared.fanout.deliver(batch, from_seq) else { return };
        if pushed.kept || pushed.logged {
            let now_us = self.clock.wall_us(now);
            if pushed.kept {
                self.store.unread(pushed.ordinal, batch, from_seq, now_us);
            }
            if pushed.logged {
                self.store.log(batch, now_us);
            }
        }
    }
}

impl Drop for Dispatch {
    /// The driver has ended: nobody answers or delivers any more.
    fn drop(&mut self) {
        self.shared.pending.stop();
        self.shared.fanout.stop();
        self.shared.filters.stop();
    }
}
