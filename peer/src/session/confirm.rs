//! What of a session's deliveries is known to have arrived.

use tidings_proto::Topic;

use super::Session;
use super::kept::Kept;
use crate::error::Error;

impl Session {
    /// Everything that was pulled has arrived. What is not confirmed when the session is lost is
    /// handed out again, marked as [`crate::Numbered::redelivered`].
    pub fn confirm(&self) {
        self.state.confirm(false);
    }

    /// Everything that was handed out has arrived, streams included.
    pub(crate) fn confirm_all(&self) {
        self.state.confirm(true);
    }

    /// Everything of `topic` up to `pos` has arrived. From then on nothing of the topic is taken
    /// for that without another word, and the topic gets no more than 10,000 deliveries,
    /// or 16 MiB of them, ahead.
    ///
    /// # Errors
    /// The session does not receive the topic.
    pub fn confirm_to(&self, topic: &str, pos: u64) -> Result<(), Error> {
        let topic = Topic::new(topic)?;
        match self.state.lock().get_mut(&topic) {
            Some(kept) => kept.confirm_to(pos),
            None => return Err(Error::NotSubscribed(Some(topic))),
        }
        self.forget_ended(&topic);
        self.state.changed();
        Ok(())
    }

    /// Everything of `topic` up to `pos` had arrived when the session was lost. What a session
    /// does not receive has nothing to be confirmed.
    pub(crate) fn confirm_received(&self, topic: &str, pos: u64) -> Result<(), Error> {
        let topic = Topic::new(topic)?;
        if let Some(kept) = self.state.lock().get_mut(&topic) {
            kept.arrived_to(pos);
        }
        self.forget_ended(&topic);
        Ok(())
    }

    /// What was handed out of `topic` from `pos` on was not sent.
    pub(crate) fn take_back(&self, topic: &Topic, pos: u64) {
        if let Some(kept) = self.state.lock().get_mut(topic) {
            kept.take_back(pos);
        }
        self.state.changed();
    }

    /// Forgets a topic that was deleted once everything of it was handed out and has arrived.
    pub(crate) fn forget_ended(&self, topic: &Topic) {
        let mut topics = self.state.lock();
        if topics.get(topic).is_some_and(Kept::is_over) {
            let ended = topics.remove(topic);
            drop(topics);
            drop(ended);
        }
    }
}
