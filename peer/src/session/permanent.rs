//! The permanent session's side of the disk.

use super::state::Taken;
use crate::error::Error;
use crate::store::{Begin, Store};
use crate::subscribe::SubscribeOptions;
use crate::subscription::Subscription;

/// A subscription has begun: it and its history are on disk when this returns.
pub(super) async fn begin(
    store: &Store,
    subscription: &Subscription,
    options: SubscribeOptions,
    now_us: i64,
) -> Result<(), Error> {
    let reader = subscription.reader();
    let begin = Begin {
        topic: subscription.topic().clone(),
        ordinal: reader.ordinal(),
        history: reader.history().cloned().collect(),
        now_us,
        options,
    };
    store.begin(begin).await
}

/// A subscription has ended: nothing of it is on disk any more when this returns.
pub(super) async fn end(store: &Store, subscription: &Subscription) -> Result<(), Error> {
    subscription.reader().journal().set_kept(false);
    store.end(subscription.topic().clone()).await
}

/// Messages were taken: they are not handed out again, even if the peer is killed right after
/// this. A disk that cannot be written never keeps messages back: they may come again in the
/// next life, which the log says.
pub(super) async fn took(store: &Store, taken: &Taken) {
    let mut written = Ok(());
    if !taken.read_to.is_empty() {
        written = store.read(taken.read_to.clone()).await;
    }
    for (topic, _) in &taken.finished {
        written = written.and(store.end(topic.clone()).await);
    }
    if let Err(error) = written {
        tracing::warn!(%error, "read_position_not_saved");
    }
}
