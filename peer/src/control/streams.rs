//! The topics that one connection gets as events.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidings_proto::Topic;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::control::answer::EventView;
use crate::control::error::{Code, Problem};
use crate::control::output::{Output, event_line};
use crate::delivery::Delivery;
use crate::journal::Journal;
use crate::subscription::Subscription;

/// Events that are ready together are queued together, up to about this many bytes.
const PIECE_BYTES: usize = 64 << 10;

/// Streams of one connection. Dropping them ends their subscriptions.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    topics: Arc<Mutex<BTreeMap<Topic, Stream>>>,
    streams_max: usize,
}

#[derive(Debug)]
struct Stream {
    stop: CancellationToken,
    pump: JoinHandle<Subscription>,
    journal: Arc<Journal>,
    /// A filter selects it, nobody asked for it by name.
    matching: bool,
}

impl Stream {
    /// Whether more may come than what waits to be written.
    fn is_live(&self) -> bool {
        !self.pump.is_finished() && !self.journal.is_closed()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Streams {
    pub(crate) fn new(streams_max: usize) -> Self {
        Self { topics: Arc::default(), streams_max }
    }

    /// Whether the topic's events come already.
    pub(crate) fn has(&self, topic: &str) -> bool {
        let name = Topic::new(topic);
        name.is_ok_and(|name| self.lock().get(&name).is_some_and(Stream::is_live))
    }

    /// The topic is wanted by name too. Returns whether its events come already.
    pub(crate) fn claim(&self, topic: &str) -> bool {
        let Ok(name) = Topic::new(topic) else { return false };
        let mut topics = self.lock();
        let Some(stream) = topics.get_mut(&name).filter(|s| s.is_live()) else { return false };
        stream.matching = false;
        true
    }

    /// Topics that only filters select, as far as `wanted` says.
    pub(crate) fn matching(&self, wanted: impl Fn(&Topic) -> bool) -> Vec<Topic> {
        let topics = self.lock();
        let matching = topics.iter().filter(|(topic, stream)| stream.matching && wanted(topic));
        matching.map(|(topic, _)| topic.clone()).collect()
    }

    /// Refuses one stream too many.
    pub(crate) fn check_room(&mut self) -> Result<(), Problem> {
        let mut topics = self.lock();
        if topics.len() >= self.streams_max {
            topics.retain(|_, stream| !stream.pump.is_finished());
        }
        if topics.len() < self.streams_max {
            return Ok(());
        }
        let message = format!("limit reached: subscriptions (at most {})", self.streams_max);
        Err(Problem::new(Code::Limit, message))
    }

    /// Writes what `subscription` brings to `output` from now on.
    pub(crate) fn start(&mut self, subscription: Subscription, output: Output) {
        self.run(subscription, output, false);
    }

    /// The same for a topic that a filter selects, unless its events come already.
    pub(crate) fn start_matching(&mut self, subscription: Subscription, output: Output) {
        if !self.has(subscription.topic().as_str()) {
            self.run(subscription, output, true);
        }
    }

    fn run(&mut self, subscription: Subscription, output: Output, matching: bool) {
        let stop = CancellationToken::new();
        let topic = subscription.topic().clone();
        let journal = Arc::clone(subscription.reader().journal());
        let mut topics = self.lock();
        let former = topics.remove(&topic);
        let pump = tokio::spawn(pump_after(former, subscription, output, stop.clone()));
        topics.insert(topic, Stream { stop, pump, journal, matching });
    }

    /// Ends a stream; `None` when there is none.
    pub(crate) async fn end(&mut self, topic: &str) -> Option<Subscription> {
        let name = Topic::new(topic).ok()?;
        let mut stream = self.lock().remove(&name)?;
        stream.stop.cancel();
        // A pump does not panic; if it did, its subscription is gone.
        (&mut stream.pump).await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Topic, Stream>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// [`pump`], after what waits of a deleted topic of the same name is written.
async fn pump_after(
    former: Option<Stream>,
    subscription: Subscription,
    output: Output,
    stop: CancellationToken,
) -> Subscription {
    if let Some(mut former) = former {
        tokio::select! {
            biased;
            () = stop.cancelled() => return subscription,
            // A pump does not panic; if it did, it has written what it could.
            _ = &mut former.pump => {}
        }
    }
    pump(subscription, output, stop).await
}

/// Gives the subscription back when it is stopped, has ended, or nobody reads any more.
async fn pump(
    mut subscription: Subscription,
    output: Output,
    stop: CancellationToken,
) -> Subscription {
    let mut stopped = std::pin::pin!(stop.cancelled());
    loop {
        let first = tokio::select! {
            biased;
            () = &mut stopped => return subscription,
            first = subscription.next() => first,
        };
        let Some(first) = first else { return subscription };
        let piece = piece(&first, &mut subscription);
        let written = tokio::select! {
            biased;
            () = &mut stopped => return subscription,
            written = output.lines(piece) => written,
        };
        if written.is_err() {
            return subscription;
        }
    }
}

fn piece(first: &Delivery, subscription: &mut Subscription) -> Vec<u8> {
    let mut piece = event_line(&EventView::from(first));
    while piece.len() < PIECE_BYTES {
        let Some(delivery) = subscription.try_next() else { break };
        piece.extend_from_slice(&event_line(&EventView::from(&delivery)));
    }
    piece
}
