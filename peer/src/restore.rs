//! What a peer goes on with after its restart: the permanent session and the logs of durable
//! topics.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tidings_proto::peer::event::{Command, CommandError, From};
use tidings_proto::wire::record::TopicPolicy;
use tidings_proto::{Origin, Topic};

use crate::error::Error;
use crate::peer::{Inner, Peer, wait};
use crate::pending::Extra;
use crate::store::{Saved, SavedLog, SavedSubscription};
use crate::subscription::Subscription;

/// The former life may have been alive this much longer than the disk says: it says so once a
/// second and after each batch.
const ALIVE_SLACK: Duration = Duration::from_secs(3);
/// While the seeds cannot be asked, a topic is tried again after this, then twice as much, …
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// … up to this.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// A topic that nobody knows may still be registered again by its host, which restarts too: it is
/// given up after so many tries, about two minutes.
const UNKNOWN_TRIES_MAX: u32 = 28;

/// What of a topic was kept.
#[derive(Debug, Default)]
struct Kept {
    subscription: Option<SavedSubscription>,
    log: Option<SavedLog>,
}

/// Takes up everything that was kept. When this returns, what was unread can be read; the topics
/// are subscribed to as soon as the seeds can be asked.
pub(crate) async fn restore(peer: &Peer, saved: Saved, now_us: i64) -> Result<(), Error> {
    let missed = missed(&saved, now_us);
    let mut topics: BTreeMap<Topic, Kept> = BTreeMap::new();
    for subscription in saved.subscriptions {
        let kept = topics.entry(subscription.topic.clone()).or_default();
        kept.subscription = Some(subscription);
    }
    for log in saved.logs {
        let kept = topics.entry(log.topic.clone()).or_default();
        kept.log = Some(log);
    }
    for (topic, kept) in topics {
        let hosted = kept.log.as_ref().filter(|log| log.hosted).map(|log| log.limits.policy());
        take_up(peer, &topic, kept, missed, now_us).await?;
        let inner = Arc::downgrade(peer.inner());
        peer.runtime().spawn(resubscribe(inner, topic, hosted));
    }
    for (filter, options) in saved.filters {
        peer.session().resume_filter(filter, options, missed);
    }
    Ok(())
}

/// How long ago the former life ended, at most.
fn missed(saved: &Saved, now_us: i64) -> Duration {
    let Some(alive_us) = saved.alive_us else { return Duration::ZERO };
    // A clock that was set back says nothing.
    let micros = u64::try_from(now_us.saturating_sub(alive_us)).unwrap_or(0);
    Duration::from_micros(micros) + ALIVE_SLACK
}

async fn take_up(
    peer: &Peer,
    topic: &Topic,
    kept: Kept,
    missed: Duration,
    now_us: i64,
) -> Result<(), Error> {
    let inner = peer.inner();
    let mut positions: Vec<(Origin, u64)> = Vec::new();
    let mut ordinal = inner.first_ordinal();
    if let Some(saved) = &kept.subscription {
        ordinal = ordinal.max(saved.ordinal);
        positions.clone_from(&saved.positions);
    }
    let batches = kept.log.iter().flat_map(|log| &log.batches).map(|(batch, came_us)| {
        let age_ms = now_us.saturating_sub(*came_us).max(0) / 1_000;
        (Arc::clone(batch), u32::try_from(age_ms).unwrap_or(u32::MAX))
    });
    let value = kept.log.iter().filter_map(|log| log.value.as_ref()).map(|(batch, came_us)| {
        let age_ms = now_us.saturating_sub(*came_us).max(0) / 1_000;
        (Arc::clone(batch), u32::try_from(age_ms).unwrap_or(u32::MAX))
    });
    let (topic, batches, retained) = (topic.clone(), batches.collect(), value.collect());
    if kept.log.is_some() {
        let hold = inner.shared.fanout.hold(&topic, ordinal)?;
        inner.shared.durable.insert(topic.clone(), hold);
    }
    if let Some(saved) = kept.subscription {
        let mut reader =
            inner.shared.fanout.read(&topic, saved.options.policy.limits(), ordinal)?;
        reader.resume(saved.unread);
        reader.keep();
        let subscription = Subscription::new(reader, Arc::clone(inner));
        peer.sessions().take_up(subscription, saved.options, saved.matching);
    }
    let command =
        |request| Command::Restore { request, topic, positions, batches, retained, missed };
    inner.ask(command).await.map(drop)
}

/// Subscribes again to a topic, which a host that restarts also tells the seeds of again.
async fn resubscribe(peer: Weak<Inner>, topic: Topic, hosted: Option<TopicPolicy>) {
    let (mut pause, mut unknown) = (RETRY_FIRST, 0);
    loop {
        let Some(inner) = peer.upgrade() else { return };
        let subscribed = resubscribe_once(&inner, &topic, hosted).await;
        match subscribed {
            Ok(()) | Err(Error::Stopped) => return,
            Err(Error::Refused(CommandError::TopicNotFound(_))) => unknown += 1,
            Err(error) => tracing::debug!(%topic, %error, "not_resubscribed_yet"),
        }
        if unknown >= UNKNOWN_TRIES_MAX {
            tracing::warn!(%topic, "topic_gone");
            inner.shared.fanout.topic_deleted(&topic);
            if let Some(hold) = inner.shared.durable.remove(&topic) {
                inner.shared.fanout.release(hold);
                inner.store.drop_log(topic);
            }
            return;
        }
        drop(inner);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

async fn resubscribe_once(
    inner: &Inner,
    topic: &Topic,
    hosted: Option<TopicPolicy>,
) -> Result<(), Error> {
    if let Some(policy) = hosted {
        let topic = topic.clone();
        let command = |request| Command::CreateTopic { request, topic, exist_ok: true, policy };
        inner.ask(command).await?;
    }
    let gate = inner.membership.lock().await;
    if !inner.shared.fanout.wants(topic) {
        // The application has ended it meanwhile.
        return Ok(());
    }
    let ticket = inner.shared.pending.ticket(Extra::None)?;
    let (request, topic) = (ticket.request, topic.clone());
    inner.send(Command::Subscribe { request, topic, from: From::New }).await?;
    drop(gate);
    wait(ticket).await.map(drop)
}
