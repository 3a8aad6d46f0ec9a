//! Durable topics: whose log this peer keeps on disk, and serves again after a restart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidings_proto::Topic;
use tidings_proto::peer::event::{Command, From, Passage, TopicInfo};
use tidings_proto::wire::record::TopicPolicy;

use crate::error::Error;
use crate::journal::Hold;
use crate::peer::{Inner, wait};
use crate::pending::Extra;
use crate::store::LogLimits;

/// A durable topic whose creator named no age is kept so long: what Kafka keeps by default, and
/// what the protocol serves to others.
const AGE_DEFAULT_MS: u64 = 7 * 86_400_000;

/// The durable topics whose log this peer keeps. The peer stays in them while it runs.
#[derive(Debug, Default)]
pub(crate) struct DurableTopics {
    held: Mutex<BTreeMap<Topic, Hold>>,
}

impl DurableTopics {
    pub(crate) fn has(&self, topic: &Topic) -> bool {
        self.lock().contains_key(topic)
    }

    pub(crate) fn insert(&self, topic: Topic, hold: Hold) {
        hold.journal().set_logged(true);
        self.lock().insert(topic, hold);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(crate) fn remove(&self, topic: &Topic) -> Option<Hold> {
        self.lock().remove(topic)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Topic, Hold>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Keeps the log of a durable topic from now on, with what this peer and its neighbours
    /// retain of it. A log that is kept already is fine.
    pub(crate) async fn keep_log(self: Arc<Self>, info: TopicInfo) -> Result<(), Error> {
        let (topic, policy) = (info.record.topic, info.record.policy);
        if !policy.durable {
            return Err(Error::NotDurable(topic));
        }
        if self.shared.durable.has(&topic) {
            return Ok(());
        }
        let hosted = info.record.host == self.about.node;
        let limits = self.log_limits(policy);
        self.store.keep_log(topic.clone(), hosted, limits).await?;
        let gate = self.membership.lock().await;
        let hold = self.shared.fanout.hold(&topic, self.first_ordinal())?;
        self.shared.durable.insert(topic.clone(), hold);
        let ticket = self.shared.pending.ticket(Extra::None)?;
        let (request, name) = (ticket.request, topic.clone());
        self.send(Command::Subscribe { request, topic: name, from: From::New }).await?;
        drop(gate);
        wait(ticket).await?;
        // What comes from here on is in the log; what was before is asked for.
        let passages = self.history(&topic, From::All).await?;
        let now_us = self.clock.wall_us(self.clock.now());
        for passage in passages {
            if let Passage::Batch { batch, .. } | Passage::Retained(batch) = passage {
                self.store.log(&batch, now_us);
            }
        }
        Ok(())
    }

    /// As the topic's creator said, within what this peer retains of any topic.
    fn log_limits(&self, policy: TopicPolicy) -> LogLimits {
        let own = self.retention_bytes_max as u64;
        let age_ms = policy.retention_age_ms.unwrap_or(AGE_DEFAULT_MS);
        LogLimits {
            bytes_max: policy.retention_bytes.unwrap_or(own).min(own),
            age_max_us: i64::try_from(age_ms).unwrap_or(i64::MAX).saturating_mul(1_000),
        }
    }
}

impl LogLimits {
    /// The policy of a topic with such a log.
    pub(crate) fn policy(self) -> TopicPolicy {
        let age_ms = u64::try_from(self.age_max_us / 1_000).unwrap_or(0);
        TopicPolicy {
            retention_bytes: Some(self.bytes_max),
            retention_age_ms: Some(age_ms),
            durable: true,
        }
    }
}
