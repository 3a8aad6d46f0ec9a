//! Which filters are watched, and who is told of the topics that appear.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidings_proto::{Topic, TopicFilter};
use tokio::sync::mpsc;

/// Topics that appeared and that a watcher has not looked at; what is beyond is only logged. As
/// many as a peer may take part in (design §9).
const APPEARED_MAX: usize = 10_000;

/// The watched filters of a peer.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    watchers: Mutex<BTreeMap<TopicFilter, Vec<mpsc::Sender<Topic>>>>,
}

impl Filters {
    /// Tells of all topics that `filter` selects and that appear from now on. The receiver ends
    /// it by being dropped.
    pub(crate) fn watch(&self, filter: &TopicFilter) -> mpsc::Receiver<Topic> {
        let (sender, receiver) = mpsc::channel(APPEARED_MAX);
        self.lock().entry(filter.clone()).or_default().push(sender);
        receiver
    }

    /// Forgets watchers of `filter` that are gone. Returns whether nobody is left.
    pub(crate) fn tidy(&self, filter: &TopicFilter) -> bool {
        let mut watchers = self.lock();
        let Some(senders) = watchers.get_mut(filter) else { return true };
        senders.retain(|sender| !sender.is_closed());
        let is_empty = senders.is_empty();
        if is_empty {
            watchers.remove(filter);
        }
        is_empty
    }

    /// A topic is there that was not known before.
    pub(crate) fn appeared(&self, topic: &Topic) {
        for (filter, senders) in &*self.lock() {
            if !filter.matches(topic) {
                continue;
            }
            for sender in senders {
                if let Err(mpsc::error::TrySendError::Full(_)) = sender.try_send(topic.clone()) {
                    tracing::warn!(%topic, %filter, "appeared_topic_dropped");
                }
            }
        }
    }

    /// The peer has stopped: nobody is told any more.
    pub(crate) fn stop(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TopicFilter, Vec<mpsc::Sender<Topic>>>> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
