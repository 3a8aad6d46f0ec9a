//! Peers in this process, as an application embeds them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use tidings::{CommandError, Config, Delivery, Error, Peer, Receipt, Subscription};
use tidings_runtime::tls::Encryption;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::system::seeds::loopback;
use crate::system::{Fate, Published, TOPIC, idle_topic};
use crate::tally::Sink;

/// Receipts that wait to be looked at: more than the library lets be under way.
const RECEIPTS_MAX: usize = 8_192;
/// Deliveries taken before other tasks have their turn.
const TURN: usize = 64;

/// Running peers.
#[derive(Debug)]
pub(crate) struct Library {
    peers: Vec<Peer>,
    published: Arc<Published>,
    publishers: Vec<Publisher>,
    receivers: JoinSet<()>,
    idle: Vec<Subscription>,
}

impl Library {
    /// Starts a peer per sink; the first one hosts the topic, all subscribe.
    pub(crate) async fn start(
        config: &Config,
        folder: &Path,
        sinks: Vec<Sink>,
        encryption: Encryption,
    ) -> anyhow::Result<Self> {
        let (created, creation) = watch::channel(false);
        let created = Arc::new(created);
        let mut starting = JoinSet::new();
        for (number, sink) in sinks.into_iter().enumerate() {
            let config = (peer_config(config, folder, number), encryption);
            let (created, creation) = (Arc::clone(&created), creation.clone());
            starting.spawn(async move {
                let (peer, subscription) = start(config, number, &created, creation).await?;
                anyhow::Ok((number, peer, subscription, sink))
            });
        }
        // A peer that fails must not leave the others waiting for the topic.
        drop(created);
        let mut started = BTreeMap::new();
        let mut receivers = JoinSet::new();
        while let Some(joined) = starting.join_next().await {
            let (number, peer, subscription, sink) = joined??;
            receivers.spawn(receive(subscription, sink));
            started.insert(number, peer);
        }
        let published = Arc::new(Published::default());
        let peers: Vec<_> = started.into_values().collect();
        let publishers = peers.iter().map(|peer| Publisher::new(peer.clone(), &published));
        let publishers = publishers.collect();
        Ok(Self { peers, published, publishers, receivers, idle: Vec::new() })
    }

    /// So many further topics, each with a host and another subscriber.
    pub(crate) async fn idle_topics(&mut self, count: usize) -> anyhow::Result<()> {
        let all = self.peers.len();
        let mut creating = JoinSet::new();
        for (number, host) in self.peers.iter().enumerate() {
            let (host, other) = (host.clone(), self.peers[(number + 1) % all].clone());
            creating.spawn(async move {
                let mut subscriptions = Vec::new();
                for topic in (number..count).step_by(all).map(idle_topic) {
                    host.ensure_topic(&topic).await.context("a topic is not created")?;
                    subscriptions.push(other.subscribe(&topic).await?);
                }
                anyhow::Ok(subscriptions)
            });
        }
        while let Some(subscriptions) = creating.join_next().await {
            self.idle.extend(subscriptions??);
        }
        Ok(())
    }

    pub(crate) fn publishers(&self) -> impl Iterator<Item = Publisher> {
        self.publishers.iter().cloned()
    }

    pub(crate) fn published(&self) -> &Published {
        &self.published
    }

    /// The counters of all peers, summed.
    pub(crate) async fn counters(&self) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for peer in &self.peers {
            // A peer that has stopped counts no more.
            let (Ok(status), Ok(links)) = (peer.status().await, peer.links().await) else {
                continue;
            };
            for (name, _, value) in status.peer.stats.list() {
                *sums.entry(name.to_owned()).or_default() += value as f64;
            }
            *sums.entry("links".to_owned()).or_default() += links.len() as f64;
            let sent: u64 = links.iter().map(|link| link.bytes_out).sum();
            *sums.entry("link_bytes_out".to_owned()).or_default() += sent as f64;
        }
        sums
    }

    /// Lets go of them.
    pub(crate) fn stop(mut self) {
        self.receivers.abort_all();
    }
}

/// The configuration of a peer on free ports, with a folder of its own.
pub(crate) fn peer_config(config: &Config, folder: &Path, number: usize) -> Config {
    let mut config = config.clone();
    config.peer.listen = loopback();
    config.peer.control = loopback();
    config.peer.http = None;
    config.peer.name = format!("peer-{number}");
    config.peer.data = folder.join(&config.peer.name);
    config
}

async fn start(
    (config, encryption): (Config, Encryption),
    number: usize,
    created: &watch::Sender<bool>,
    mut creation: watch::Receiver<bool>,
) -> anyhow::Result<(Peer, Subscription)> {
    let joined = match encryption {
        Encryption::Always => Peer::join(config).await,
        Encryption::HandshakeOnly => Peer::join_unencrypted(config).await,
    };
    let peer = joined.context("a peer does not start")?;
    peer.joined().await?;
    if number == 0 {
        peer.ensure_topic(TOPIC).await.context("the topic is not created")?;
        created.send_replace(true);
    } else {
        creation.wait_for(|created| *created).await.context("the topic is not created")?;
    }
    let subscription = peer.subscribe(TOPIC).await.context("a peer does not subscribe")?;
    Ok((peer, subscription))
}

async fn receive(mut subscription: Subscription, mut sink: Sink) {
    while let Some(delivery) = subscription.next().await {
        count(&mut sink, &delivery);
        let mut taken = 1;
        while let Some(delivery) = subscription.try_next() {
            count(&mut sink, &delivery);
            taken += 1;
            if taken % TURN == 0 {
                tokio::task::consume_budget().await;
            }
        }
        sink.flush();
    }
}

fn count(sink: &mut Sink, delivery: &Delivery) {
    match delivery {
        Delivery::Message(message) => sink.take(&message.body),
        Delivery::Gap(gap) => sink.gap(gap.count()),
        _ => {}
    }
}

/// Publishes as one peer.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    peer: Peer,
    published: Arc<Published>,
    receipts: mpsc::Sender<Receipt>,
}

impl Publisher {
    fn new(peer: Peer, published: &Arc<Published>) -> Self {
        let (receipts, mut waiting) = mpsc::channel::<Receipt>(RECEIPTS_MAX);
        let counted = Arc::clone(published);
        tokio::spawn(async move {
            while let Some(receipt) = waiting.recv().await {
                counted.count(fate(&receipt.await));
            }
        });
        Self { peer, published: Arc::clone(published), receipts }
    }

    /// Until it is on its way.
    pub(crate) async fn publish(&self, body: Bytes) -> anyhow::Result<()> {
        let published = self.peer.publish(TOPIC, body).await;
        self.published.count(fate(&published));
        published?;
        Ok(())
    }

    /// Until there is room; the receipt is looked at elsewhere.
    pub(crate) async fn enqueue(&self, body: Bytes) -> anyhow::Result<()> {
        let place = match self.receipts.try_reserve() {
            Err(TrySendError::Full(())) => self.receipts.reserve().await.ok(),
            place => place.ok(),
        };
        let place = place.ok_or_else(|| anyhow::anyhow!("the receipts are not read"))?;
        // Last, so that whoever drops this when time is up knows that nothing was taken.
        place.send(self.peer.enqueue(TOPIC, body).await?);
        Ok(())
    }
}

fn fate<T>(published: &Result<T, Error>) -> Fate {
    match published {
        Ok(_) => Fate::Accepted,
        Err(Error::Busy(_) | Error::Refused(CommandError::Busy { .. })) => Fate::Busy,
        Err(_) => Fate::Failed,
    }
}
