//! Starting a peer: its data directory, its machine, and what a former life left.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidings_proto::Peer as Machine;
use tidings_proto::peer::seed_set::KnownSeeds;
use tidings_runtime::listen::{BindError, bind};
use tidings_runtime::tls::Encryption;
use tidings_runtime::{Clock, Config, DataDir, NodeOptions, TopicsFile, advertised, identity};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};

use crate::dispatch::{Dispatch, Shared};
use crate::durable::DurableTopics;
use crate::error::JoinError;
use crate::fanout::Fanout;
use crate::filters::Filters;
use crate::journal::QueueLimits;
use crate::peer::{About, Inner, Peer};
use crate::publish::Publisher;
use crate::request::Requests;
use crate::restore::restore;
use crate::session::{SessionLimits, Sessions};
use crate::store::Store;

/// How often the disk is told that the peer is alive.
const ALIVE_INTERVAL: Duration = Duration::from_secs(1);

impl Peer {
    /// Starts a peer in the current tokio runtime; it joins a majority of the seeds on its own,
    /// see [`Self::wait_joined`].
    ///
    /// # Errors
    /// Its data directory or its address cannot be used.
    pub async fn join(config: Config) -> Result<Self, JoinError> {
        let listener = bind(config.peer.listen)?;
        Self::join_on(listener, config).await
    }

    /// [`Self::join`] on a socket that listens already, whatever `config.peer.listen` says.
    ///
    /// # Errors
    /// Its data directory cannot be used, or the socket has no address.
    pub async fn join_on(listener: TcpListener, config: Config) -> Result<Self, JoinError> {
        Self::start(listener, config, Encryption::Always).await
    }

    /// [`Self::join`] among nodes that prove their keys and encrypt nothing after it: to measure
    /// what encryption costs. Others refuse this peer, as it refuses them.
    ///
    /// # Errors
    /// As there.
    #[doc(hidden)]
    pub async fn join_unencrypted(config: Config) -> Result<Self, JoinError> {
        Self::start(bind(config.peer.listen)?, config, Encryption::HandshakeOnly).await
    }

    async fn start(
        listener: TcpListener,
        config: Config,
        encryption: Encryption,
    ) -> Result<Self, JoinError> {
        let listen = listener
            .local_addr()
            .map_err(|source| BindError::Io { address: config.peer.listen, source })?;
        let data = DataDir::open(&config.peer.data)?;
        let clock = Clock::start();
        let key = Arc::clone(data.key());
        let address = advertised(listen, config.peer.advertise)?;
        let (cluster, name) = (&config.cluster.name, &config.peer.name);
        let identity = identity(cluster, name, address, data.incarnation(), &clock)?;
        let mut machine_config = config.peer_config(identity);
        machine_config.known_peers = data.known_peers();
        let topics = TopicsFile::new(&data);
        machine_config.known_topics = topics.load();
        let configured = machine_config.seeds.clone();
        machine_config.known_seeds = known_seeds(&data, &configured);
        let (joined, joined_seen) = watch::channel(machine_config.seeds.is_empty());
        let machine = Machine::new(machine_config, key.signer(), clock.now());
        let unread = QueueLimits {
            messages_max: config.limits.unread_messages,
            bytes_max: config.limits.unread_bytes,
        };
        let now_us = clock.wall_us(clock.now());
        let (store, saved) = Store::open(data.path(), unread, now_us)?;
        let shared = Arc::new(Shared {
            pending: Arc::default(),
            fanout: Fanout::new(unread),
            durable: DurableTopics::default(),
            filters: Filters::default(),
        });
        let host = Dispatch {
            shared: Arc::clone(&shared),
            data,
            topics,
            configured,
            clock,
            address,
            joined,
            store: store.clone(),
        };
        let node = key.node_id();
        let limits = config.limits.links;
        let options = NodeOptions { key, listener, clock, limits, encryption };
        let running = tidings_runtime::node::spawn(machine, host, options);
        let handle = running.handle.clone();
        let inner = Inner {
            publisher: Publisher::new(Arc::clone(&shared.pending), handle.clone()),
            requests: Requests::default(),
            shared,
            handle,
            runtime: tokio::runtime::Handle::current(),
            membership: Mutex::new(()),
            running: Mutex::new(Some(running)),
            joined: joined_seen,
            about: About { node, name: config.peer.name.clone(), listen, address },
            clock,
            store: store.clone(),
            retention_bytes_max: config.retention.bytes_max,
        };
        let sessions = Arc::new(Sessions::new(session_limits(&config), store));
        let peer = Self { inner: Arc::new(inner), sessions };
        peer.tell_that_it_lives();
        restore(&peer, saved, now_us).await.map_err(JoinError::Restore)?;
        Ok(peer)
    }

    /// Says once a second that the peer is alive, so that its next life knows what it missed;
    /// only while something is kept for that life.
    fn tell_that_it_lives(&self) {
        let (inner, sessions) = (Arc::downgrade(&self.inner), Arc::downgrade(&self.sessions));
        self.inner.runtime.spawn(async move {
            loop {
                tokio::time::sleep(ALIVE_INTERVAL).await;
                let (Some(inner), Some(sessions)) = (inner.upgrade(), sessions.upgrade()) else {
                    return;
                };
                if inner.handle.is_stopped() {
                    return;
                }
                if sessions.keeps_something() || !inner.shared.durable.is_empty() {
                    inner.store.alive(inner.clock.wall_us(inner.clock.now()));
                }
            }
        });
    }
}

fn session_limits(config: &Config) -> SessionLimits {
    SessionLimits {
        sessions: config.limits.sessions,
        subscriptions: config.limits.subscriptions,
        expiry: config.peer.session_expiry,
    }
}

/// The seeds as a former life came to know them, which hold instead of those of the
/// configuration; the log says so.
fn known_seeds(data: &DataDir, configured: &[SocketAddr]) -> Option<KnownSeeds> {
    let known = data.known_seeds(configured)?;
    let seeds = known.seeds.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    tracing::info!(version = known.version, seeds, "seed_set_known");
    Some(known)
}
