//! A connection's named session: its streams, and what is known to have arrived.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidings_proto::Topic;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::control::answer::{ConnectedView, EventView, SubscriptionView};
use crate::control::output::{Output, event_line};
use crate::delivery::Delivery;
use crate::error::Error;
use crate::peer::Peer;
use crate::session::{Numbered, Session};

/// Events that are ready together are queued together, up to about this many bytes.
const PIECE_BYTES: usize = 64 << 10;
/// A connection that ends is looked at for this long before its name is free, so who connects
/// with the name in that moment waits a little longer.
const ENDING: Duration = Duration::from_millis(500);
const ENDING_LOOK: Duration = Duration::from_millis(5);

/// A session and its streams on one connection. Dropping it loses the session, which is kept for
/// its expiry.
#[derive(Debug)]
pub(crate) struct NamedSession {
    session: Arc<Session>,
    pumps: Pumps,
    /// Closed while something is answered that is not to be overtaken by what it begins.
    gate: Arc<tokio::sync::Mutex<()>>,
    /// What starts streams of topics that filters select.
    starter: Option<Pump>,
    /// Something was pulled, and the client has not shown that it arrived.
    pulled: bool,
}

/// The streams that run.
#[derive(Clone, Debug, Default)]
struct Pumps(Arc<Mutex<BTreeMap<Topic, Pump>>>);

#[derive(Debug)]
struct Pump {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Pump {
    async fn end(mut self) {
        self.stop.cancel();
        // It does not panic; if it did, it has stopped.
        let _ = (&mut self.task).await;
    }
}

impl Pumps {
    /// A topic comes as events from now on.
    fn start(&self, session: &Arc<Session>, topic: Topic, output: Output) {
        let mut pumps = self.lock();
        if pumps.get(&topic).is_some_and(|pump| !pump.task.is_finished()) {
            return;
        }
        let stop = CancellationToken::new();
        let session = Arc::clone(session);
        let task = tokio::spawn(pump(session, topic.clone(), output, stop.clone()));
        pumps.insert(topic, Pump { stop, task });
    }

    /// All topics that the session streams come as events from now on.
    fn start_all(&self, session: &Arc<Session>, output: &Output) {
        for topic in session.streamed() {
            self.start(session, topic, output.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Topic, Pump>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts what begins to be streamed, which filters of the session do by themselves.
async fn start_as_they_come(
    (session, pumps): (Arc<Session>, Pumps),
    gate: Arc<tokio::sync::Mutex<()>>,
    output: Output,
    stop: CancellationToken,
) {
    loop {
        let mut streaming = pin!(session.streaming());
        // What begins from here on is not missed.
        streaming.as_mut().enable();
        let open = gate.lock().await;
        pumps.start_all(&session, &output);
        drop(open);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = streaming => {}
        }
    }
}

impl NamedSession {
    /// Connects with a name; `received` says up to where each topic has arrived.
    pub(crate) async fn connect(
        peer: &Peer,
        name: &str,
        received: &BTreeMap<String, u64>,
    ) -> Result<(Self, ConnectedView), Error> {
        let deadline = tokio::time::Instant::now() + ENDING;
        let (session, restored) = loop {
            match peer.connect(name) {
                Err(Error::NameTaken(_))
                    if peer.sessions().is_ending(name)
                        && tokio::time::Instant::now() < deadline =>
                {
                    tokio::time::sleep(ENDING_LOOK).await;
                }
                connected => break connected?,
            }
        };
        for (topic, pos) in received {
            session.confirm_received(topic, *pos)?;
        }
        let subscriptions = session.subscriptions();
        let view = ConnectedView {
            name: name.to_owned(),
            restored,
            topics: subscriptions.iter().map(|one| one.topic.to_string()).collect(),
            unread: subscriptions.iter().map(|one| one.unread).sum(),
            expiry_ms: u64::try_from(peer.sessions().expiry().as_millis()).unwrap_or(u64::MAX),
            filters: session.filters().iter().map(ToString::to_string).collect(),
            subscriptions: subscriptions.iter().map(SubscriptionView::from).collect(),
        };
        let session = Arc::new(session);
        let (pumps, gate) = (Pumps::default(), Arc::default());
        Ok((Self { session, pumps, gate, starter: None, pulled: false }, view))
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// To be held while an answer is made that what it begins must not overtake.
    pub(crate) fn gate(&self) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.gate)
    }

    /// What the session streams comes as events on `output` from now on, and what its filters
    /// select later too.
    pub(crate) fn start_streams(&mut self, output: &Output) {
        self.pumps.start_all(&self.session, output);
        let (all, gate) = ((Arc::clone(&self.session), self.pumps.clone()), self.gate());
        let stop = CancellationToken::new();
        let task = tokio::spawn(start_as_they_come(all, gate, output.clone(), stop.clone()));
        self.starter = Some(Pump { stop, task });
    }

    /// A topic comes as events from now on.
    pub(crate) fn start(&mut self, topic: Topic, output: Output) {
        self.pumps.start(&self.session, topic, output);
    }

    /// A topic comes as events no more.
    pub(crate) async fn stop(&mut self, topic: &Topic) {
        let pump = self.pumps.lock().remove(topic);
        if let Some(pump) = pump {
            pump.end().await;
        }
    }

    /// Something was pulled.
    pub(crate) fn note_pull(&mut self) {
        self.pulled = true;
    }

    /// Whether something was pulled that is not known to have arrived.
    pub(crate) fn has_pulled(&self) -> bool {
        self.pulled
    }

    /// The client asks for something else after it could read the answer: what was pulled has
    /// arrived.
    pub(crate) fn confirm_pulled(&mut self) {
        if std::mem::take(&mut self.pulled) {
            self.session.confirm();
        }
    }

    /// Ends the session.
    pub(crate) async fn disconnect(self) {
        let session = self.stop_all().await;
        session.end();
    }

    /// Ends the streams. The session is as good as lost.
    pub(crate) async fn stop_all(mut self) -> Arc<Session> {
        self.session.set_ending();
        if let Some(starter) = self.starter.take() {
            starter.end().await;
        }
        let pumps = std::mem::take(&mut *self.pumps.lock());
        for (_, pump) in pumps {
            pump.end().await;
        }
        Arc::clone(&self.session)
    }
}

/// Ends when it is stopped, when the topic has ended, or when nobody reads any more.
async fn pump(session: Arc<Session>, topic: Topic, output: Output, stop: CancellationToken) {
    let mut stopped = std::pin::pin!(stop.cancelled());
    loop {
        let first = tokio::select! {
            biased;
            () = &mut stopped => return,
            first = session.next_of(&topic) => first,
        };
        let Some(first) = first else {
            session.forget_ended(&topic);
            return;
        };
        let mut piece = event_line(&EventView::from(&first));
        while piece.len() < PIECE_BYTES {
            let Some(next) = session.try_next_of(&topic) else { break };
            piece.extend_from_slice(&event_line(&EventView::from(&next)));
        }
        let written = tokio::select! {
            biased;
            () = &mut stopped => return session.take_back(&topic, first.pos),
            written = output.lines(piece) => written,
        };
        if written.is_err() {
            return;
        }
    }
}

impl From<&Numbered> for EventView {
    fn from(numbered: &Numbered) -> Self {
        let mut view = Self::from(&numbered.delivery);
        match &mut view {
            Self::Message(message) => {
                message.pos = numbered.pos;
                message.redelivered = numbered.redelivered;
            }
            Self::Gap(gap) => {
                debug_assert!(matches!(numbered.delivery, Delivery::Gap(_)));
                gap.pos = numbered.pos;
            }
            Self::TopicDeleted { .. } => {}
        }
        view
    }
}
