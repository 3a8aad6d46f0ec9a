//! Sessions: subscriptions that outlive a connection, and what of them was not read yet.
//!
//! A peer has one permanent session, which survives its restart, and any number of named ones.
//! A named session has one user at a time. When that user goes away without
//! [`Session::disconnect`], the session is kept for a while, and whoever connects with its name
//! goes on where it stood.

mod confirm;
mod filters;
mod info;
mod kept;
mod permanent;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidings_proto::{Origin, Topic};

pub(crate) use filters::{AGAIN, Received, WAITING_MAX, since};
pub use info::{SUBSCRIPTIONS_SHOWN_MAX, SessionInfo, SubscriptionInfo};
pub use kept::Numbered;
#[cfg(test)]
use kept::UNCONFIRMED_MAX;
pub use state::Pulled;

use crate::error::Error;
use crate::peer::Peer;
use crate::store::Store;
use crate::subscribe::{Position, SubscribeOptions, positions};
use crate::subscription::Subscription;
use kept::Kept;
use state::{Handing, State, Taken, Which};

/// The longest name of a session, in bytes.
pub const SESSION_NAME_BYTES_MAX: usize = 128;

/// The bounds of a peer's sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionLimits {
    /// Named sessions, live or kept.
    pub(crate) sessions: usize,
    /// Subscriptions of each.
    pub(crate) subscriptions: usize,
    /// A session is kept so long after its user went away.
    pub(crate) expiry: Duration,
}

/// All sessions of a peer.
#[derive(Debug)]
pub(crate) struct Sessions {
    limits: SessionLimits,
    named: Mutex<BTreeMap<String, Named>>,
    permanent: Arc<State>,
    store: Store,
    /// How many times a session was lost. One count for all of them: a session that was ended and
    /// begun anew is not ended by what was left of the former one.
    losses: AtomicU64,
}

#[derive(Debug)]
struct Named {
    state: Arc<State>,
    live: bool,
    /// Its user is about to be gone.
    ending: bool,
    /// When it ends, unless somebody comes; set when its user is gone.
    ends: Option<Instant>,
    /// Which of all losses was its last: only that one ends it.
    lost: u64,
}

/// A session in use. Dropping it keeps the session for `session_expiry`; see
/// [`Self::disconnect`].
///
/// Its methods can be dropped half-way: what was asked may or may not be done then, and what a
/// [`Self::pull`] or a [`Self::next`] would have handed out is handed out by the next one.
pub struct Session {
    peer: Peer,
    state: Arc<State>,
    /// `None` for the permanent session.
    name: Option<String>,
    /// It was disconnected.
    ended: AtomicBool,
}

impl Sessions {
    pub(crate) fn new(limits: SessionLimits, store: Store) -> Self {
        let (named, permanent, losses) = (Mutex::default(), Arc::default(), AtomicU64::new(0));
        Self { limits, named, permanent, store, losses }
    }

    /// Connects with a name. Returns the session, and whether it was there before.
    pub(crate) fn connect(&self, peer: &Peer, name: &str) -> Result<(Session, bool), Error> {
        if name.is_empty() || name.len() > SESSION_NAME_BYTES_MAX {
            return Err(Error::BadSessionName { limit: SESSION_NAME_BYTES_MAX });
        }
        let mut named = self.lock();
        let full = named.len() >= self.limits.sessions;
        let restored = match named.get_mut(name) {
            Some(session) if session.live => return Err(Error::NameTaken(name.to_owned())),
            Some(session) => {
                session.live = true;
                session.ending = false;
                session.ends = None;
                true
            }
            None if full => {
                return Err(Error::Limit { what: "sessions", limit: self.limits.sessions });
            }
            None => {
                let state = Arc::default();
                let new = Named { state, live: true, ending: false, ends: None, lost: 0 };
                named.insert(name.to_owned(), new);
                false
            }
        };
        let state = Arc::clone(&named[name].state);
        let session = Session {
            peer: peer.clone(),
            state,
            name: Some(name.to_owned()),
            ended: AtomicBool::new(false),
        };
        Ok((session, restored))
    }

    /// The permanent session.
    pub(crate) fn permanent(&self, peer: &Peer) -> Session {
        Session {
            peer: peer.clone(),
            state: Arc::clone(&self.permanent),
            name: None,
            ended: AtomicBool::new(false),
        }
    }

    /// A subscription of the permanent session goes on after a restart.
    pub(crate) fn take_up(
        &self,
        subscription: Subscription,
        options: SubscribeOptions,
        matching: bool,
    ) {
        let topic = subscription.topic().clone();
        if matching {
            self.permanent.followed.set_own(&topic, false);
        }
        let kept = Kept::new(subscription, options, false, false);
        self.permanent.lock().insert(topic, kept);
    }

    /// Whether the permanent session has a subscription or a filter.
    pub(crate) fn keeps_something(&self) -> bool {
        !self.permanent.lock().is_empty() || self.permanent.followed.awaits(None)
    }

    /// All sessions, the permanent one first.
    pub(crate) fn list(&self) -> Vec<SessionInfo> {
        let permanent = SessionInfo::new(None, None, &self.permanent.lock());
        let named = self.lock();
        let info = |(name, one): (&String, &Named)| {
            let ends = (!one.live).then_some(one.ends).flatten();
            SessionInfo::new(Some(name.clone()), ends, &one.state.lock())
        };
        [permanent].into_iter().chain(named.iter().map(info)).collect()
    }

    /// Whether the user of a live session is about to be gone.
    pub(crate) fn is_ending(&self, name: &str) -> bool {
        self.lock().get(name).is_some_and(|session| session.live && session.ending)
    }

    /// How many sessions there are, the permanent one included.
    pub(crate) fn count(&self) -> usize {
        self.lock().len() + 1
    }

    /// How long a session is kept.
    pub(crate) fn expiry(&self) -> Duration {
        self.limits.expiry
    }

    /// The user of a named session is gone. Returns the number of that loss, which ends the session
    /// if nobody comes.
    fn lose(&self, name: &str) -> Option<u64> {
        let mut named = self.lock();
        let session = named.get_mut(name)?;
        session.live = false;
        session.ends = Some(Instant::now() + self.limits.expiry);
        session.lost = self.losses.fetch_add(1, Ordering::Relaxed) + 1;
        session.state.lock().values_mut().for_each(Kept::rewind);
        Some(session.lost)
    }

    /// Ends a session that is still lost since that loss.
    fn expire(&self, name: &str, loss: u64) {
        let mut named = self.lock();
        if named.get(name).is_some_and(|session| !session.live && session.lost == loss) {
            let expired = named.remove(name);
            drop(named);
            tracing::info!(name, "session_expired");
            drop(expired);
        }
    }

    fn remove(&self, name: &str) {
        let removed = self.lock().remove(name);
        // Its subscriptions end outside of the lock.
        drop(removed);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Named>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    /// Connects with the name of a session, 1 to [`crate::SESSION_NAME_BYTES_MAX`] bytes. Returns
    /// the session, and whether it was there before: then it goes on where it stood, and what was
    /// handed out without being confirmed comes again.
    ///
    /// # Errors
    /// Somebody is connected with that name, or there are as many sessions as may be.
    pub fn connect(&self, name: &str) -> Result<(Session, bool), Error> {
        self.sessions.connect(self, name)
    }

    /// The permanent session of this peer, which all that ask for it share. It survives a restart
    /// of the peer.
    pub fn session(&self) -> Session {
        self.sessions.permanent(self)
    }

    /// All sessions, the permanent one first.
    pub fn list_sessions(&self) -> Vec<SessionInfo> {
        self.sessions.list()
    }
}

impl Session {
    /// Its name; `None` for the permanent session.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// A handle that is nobody's use of the session: dropping it loses nothing.
    fn bystander(&self) -> Self {
        let (peer, state) = (self.peer.clone(), Arc::clone(&self.state));
        Self { peer, state, name: self.name.clone(), ended: AtomicBool::new(true) }
    }

    /// What it receives.
    pub fn subscriptions(&self) -> Vec<SubscriptionInfo> {
        self.state.lock().iter().map(SubscriptionInfo::from).collect()
    }

    /// Receives a topic, to be pulled. A topic that it receives already is fine, and goes on as
    /// it was.
    ///
    /// # Errors
    /// There is no such topic, the session has as many subscriptions as it may, or nobody can
    /// be asked. For the permanent session also: the disk does not take it.
    pub async fn subscribe(
        &self,
        topic: &str,
        options: impl Into<SubscribeOptions>,
    ) -> Result<(), Error> {
        self.subscribe_as(topic, options.into(), &[], false).await
    }

    /// [`Self::subscribe`]; with `stream` the topic is left out by a pull of all topics. Of what
    /// was `received` nothing comes again.
    pub(crate) async fn subscribe_as(
        &self,
        topic: &str,
        options: SubscribeOptions,
        received: &[Position],
        stream: bool,
    ) -> Result<(), Error> {
        let (topic, received) = (Topic::new(topic)?, positions(received));
        let session = self.bystander();
        let subscribing =
            async move { session.subscribe_here(topic, options, received, stream).await };
        self.peer.inner.to_the_end(subscribing).await
    }

    async fn subscribe_here(
        &self,
        topic: Topic,
        options: SubscribeOptions,
        received: Vec<(Origin, u64)>,
        stream: bool,
    ) -> Result<(), Error> {
        if self.state.followed.set_own(&topic, true) && self.name.is_none() {
            self.peer.sessions().store.set_matching(topic.clone(), false);
        }
        {
            let mut topics = self.state.lock();
            if let Some(kept) = topics.get_mut(&topic).filter(|k| !k.subscription.has_ended()) {
                kept.stream = stream;
                drop(topics);
                self.state.streaming.notify_waiters();
                return Ok(());
            }
            let limit = self.peer.sessions().limits.subscriptions;
            if topics.len() >= limit && !topics.contains_key(&topic) {
                return Err(Error::Limit { what: "subscriptions of a session", limit });
            }
        }
        let keep = self.name.is_none();
        let subscription =
            self.peer.subscribe_keeping(topic.clone(), options, received, keep).await?;
        if keep {
            let now_us = self.peer.wall_us();
            permanent::begin(&self.peer.sessions().store, &subscription, options, now_us).await?;
        }
        let mut topics = self.state.lock();
        // Another user of the session may have been faster; their subscription began earlier and
        // stays.
        match topics.get_mut(&topic) {
            Some(kept) if !kept.subscription.has_ended() => {}
            // What came before the topic was deleted can still be read.
            Some(kept) => kept.renew(subscription, options),
            None => {
                let kept = Kept::new(subscription, options, stream, !keep);
                topics.insert(topic, kept);
            }
        }
        drop(topics);
        self.state.changed();
        self.state.streaming.notify_waiters();
        Ok(())
    }

    /// Receives a topic no more; what waits of it is dropped.
    ///
    /// # Errors
    /// It does not receive the topic, or the peer has stopped.
    pub async fn unsubscribe(&self, topic: &str) -> Result<(), Error> {
        let topic = Topic::new(topic)?;
        let removed = self.state.lock().remove(&topic);
        let Some(kept) = removed else { return Err(Error::NotSubscribed(Some(topic))) };
        self.state.changed();
        let store = self.name.is_none().then(|| self.peer.sessions().store.clone());
        let ending = async move {
            if let Some(store) = store {
                permanent::end(&store, &kept.subscription).await?;
            }
            kept.subscription.unsubscribe().await
        };
        self.peer.inner.to_the_end(ending).await
    }

    /// Takes at most `max` messages of `topic`, which may be a filter, or of all topics that are
    /// not streamed, and waits
    /// for the first one for at most `wait`. What is taken counts as handed out: see
    /// [`Self::confirm`]. What the permanent session hands out is handed out once, also if the
    /// peer is killed right after.
    ///
    /// # Errors
    /// The session does not receive the topic, or any.
    pub async fn pull(
        &self,
        topic: Option<&str>,
        max: usize,
        wait: Duration,
    ) -> Result<Pulled, Error> {
        let which = Which::new(topic)?;
        Ok(self.take(&which, max, wait).await?.pulled)
    }

    /// The next delivery of one topic; `None` when the topic was deleted and everything was
    /// read, or when it is not received. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The text is not a topic name.
    pub async fn next(&self, topic: &str) -> Result<Option<Numbered>, Error> {
        let topic = Topic::new(topic)?;
        match self.name {
            Some(_) => Ok(self.state.next_of(&topic).await),
            None => {
                let taken = self.take(&Which::One(topic), 1, Duration::MAX).await?;
                Ok(taken.pulled.deliveries.into_iter().next())
            }
        }
    }

    async fn take(&self, which: &Which, max: usize, wait: Duration) -> Result<Taken, Error> {
        let taken = self.state.take(which, max, wait).await?;
        if self.name.is_some() {
            return Ok(taken);
        }
        let handing = Handing::new(&self.state, taken);
        permanent::took(&self.peer.sessions().store, handing.taken()).await;
        Ok(handing.done())
    }

    pub(crate) async fn next_of(&self, topic: &Topic) -> Option<Numbered> {
        self.state.next_of(topic).await
    }

    pub(crate) fn try_next_of(&self, topic: &Topic) -> Option<Numbered> {
        self.state.try_next_of(topic)
    }

    /// Ends the session: its subscriptions and what was not read are dropped. The permanent
    /// session has no end; this only drops the handle.
    pub fn disconnect(self) {
        self.end();
    }

    /// [`Self::disconnect`] for a session that several hold.
    pub(crate) fn end(&self) {
        if let Some(name) = &self.name {
            self.ended.store(true, Ordering::Relaxed);
            self.peer.sessions().remove(name);
        }
    }

    /// The user is about to be gone: who connects with the name waits for that.
    pub(crate) fn set_ending(&self) {
        if let Some(name) = &self.name
            && let Some(session) = self.peer.sessions().lock().get_mut(name)
        {
            session.ending = true;
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:?})", self.name)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(name) = self.name.take() else { return };
        if self.ended.load(Ordering::Relaxed) {
            return;
        }
        let Some(loss) = self.peer.sessions().lose(&name) else { return };
        let sessions = Arc::downgrade(self.peer.sessions());
        let expiry = self.peer.sessions().limits.expiry;
        self.peer.runtime().spawn(async move {
            tokio::time::sleep(expiry).await;
            if let Some(sessions) = sessions.upgrade() {
                sessions.expire(&name, loss);
            }
        });
    }
}
