//! What the application asks for.

use core::time::Duration;

use super::Peer;
use super::event::{Answer, Command, CommandError, From, TopicInfo};
use super::publish::Publication;
use super::requests::{Creation, Findings, Goal, PATIENCE};
use super::topics::PUBLISHING_FOR;
use crate::id::{RequestId, Topic};
use crate::time::Instant;
use crate::wire::batch::{MESSAGE_BYTES_MAX, Message};
use crate::wire::frame::{Frame, Kind, List, Mode, PAGE_MAX, TEXT_BYTES_MAX};

/// A first publication waits this long for a neighbour that subscribes: a dial with its
/// handshake takes a few round trips.
const ATTACH_FOR: Duration = Duration::from_millis(500);
/// When that was in vain, later publications do not wait for this long.
const ALONE_FOR: Duration = Duration::from_secs(5);
/// What is known of a topic is confirmed when it is used and older than this, so that no stale
/// knowledge is used for longer than about two seconds.
const CONFIRM_AFTER: Duration = Duration::from_secs(1);
/// A refused publication may be tried again after this.
const RETRY_MS: u32 = 50;

/// What was published before this is not delivered live.
fn horizon(now: Instant, from: From) -> Instant {
    match from {
        From::New | From::Stream { .. } => now,
        From::All | From::Last(_) => Instant::ZERO,
        From::Since(age) => now.minus_millis(u32::try_from(age.as_millis()).unwrap_or(u32::MAX)),
    }
}

impl Peer {
    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::CreateTopic { request, topic, exist_ok, policy } => {
                let creation = Creation { exist_ok, policy, attempts: 0 };
                let goal = Goal::Create { request, creation };
                self.question(request, &topic, goal);
            }
            Command::DeleteTopic { request, topic } => {
                self.question(request, &topic, Goal::Delete(request));
            }
            Command::TopicInfo { request, topic } => {
                self.question(request, &topic, Goal::Info(request));
            }
            Command::Subscribe { request, topic, from } => {
                self.question(request, &topic, Goal::Subscribe(request, from));
            }
            Command::ListTopics { request, filter, offset, limit } => {
                self.list(request, Kind::Topics, filter, offset, limit);
            }
            Command::ListPeers { request, filter, offset, limit } => {
                self.list(request, Kind::Peers, filter, offset, limit);
            }
            Command::Forget { request, who } => self.forget(request, who),
            Command::Unsubscribe { request, topic } => self.unsubscribe(request, &topic),
            Command::Publish { request, topic, message } => self.publish(request, &topic, message),
            Command::History { request, topic, from, received } => {
                self.collect(request, &topic, from, received);
            }
            Command::Restore { request, topic, positions, batches, retained, missed } => {
                self.restore(request, &topic, &positions, (batches, retained), missed);
            }
            Command::WatchFilter { request, filter } => self.watch_filter(request, filter),
            Command::UnwatchFilter { request, filter } => self.unwatch_filter(request, &filter),
            Command::Leave { request } => self.leave(request),
        }
    }

    pub(super) fn refuse_after_leave(&mut self, command: &Command) {
        let request = match command {
            Command::CreateTopic { request, .. }
            | Command::DeleteTopic { request, .. }
            | Command::TopicInfo { request, .. }
            | Command::ListTopics { request, .. }
            | Command::ListPeers { request, .. }
            | Command::Forget { request, .. }
            | Command::Subscribe { request, .. }
            | Command::Unsubscribe { request, .. }
            | Command::Publish { request, .. }
            | Command::History { request, .. }
            | Command::Restore { request, .. }
            | Command::WatchFilter { request, .. }
            | Command::UnwatchFilter { request, .. }
            | Command::Leave { request } => *request,
        };
        self.out.answer(request, Err(CommandError::Leaving));
    }

    fn question(&mut self, request: RequestId, topic: &Topic, goal: Goal) {
        if self.requests.has_room() {
            self.look_up(topic, goal);
        } else {
            let limit = super::requests::REQUESTS_MAX;
            let error = CommandError::Limit { what: "open requests", limit };
            self.out.answer(request, Err(error));
        }
    }

    /// Goes on after a question about a topic ended.
    pub(super) fn pursue(&mut self, topic: &Topic, goal: Goal, found: &Findings, quorum: bool) {
        match goal {
            Goal::Info(request) => {
                let answer = self.info(topic, found, quorum).map(Answer::topic);
                self.out.answer(request, answer);
            }
            Goal::Subscribe(request, from) => self.subscribe(request, topic, from, found, quorum),
            Goal::Create { request, creation } => {
                self.create(request, topic, creation, found, quorum);
            }
            Goal::Delete(request) => self.delete(request, topic, quorum),
            Goal::Publish => self.go_on_publishing(topic, quorum),
            Goal::Created { request, record, creation } => {
                self.created(request, topic, (record, creation), found, quorum);
            }
            Goal::Deleted { request, record } => {
                self.deleted(request, topic, &record, found, quorum);
            }
            Goal::Made(goal, record) => {
                self.made(topic, *goal, &record, quorum && found.refusals == 0);
            }
            Goal::Watched(request, filter) => self.watched(request, &filter),
            Goal::Subscribed(request, others) => {
                // What too few seeds keep yet is repeated to those that are joined next.
                let is_kept = quorum && found.refusals == 0;
                let of_seeds = Findings { total: others + 1, ..Findings::default() };
                let answer = self.info(topic, &of_seeds, is_kept).map(Answer::topic);
                self.out.answer(request, answer);
            }
            Goal::List(request) => {
                let error = self.no_quorum();
                self.out.answer(request, Err(error));
            }
            Goal::Refresh => self.topics.directory.asked(self.now, topic),
            Goal::Unsubscribed | Goal::Sample => {}
        }
    }

    /// What is known of a topic; an error when it is not there, or not known to be.
    fn info(
        &self,
        topic: &Topic,
        found: &Findings,
        quorum: bool,
    ) -> Result<TopicInfo, CommandError> {
        match self.topics.directory.live(topic) {
            Some((record, _)) => Ok(self.topic_info(record, found, quorum)),
            // Without a majority, one that is known to be deleted may have been created again.
            None if quorum => Err(CommandError::TopicNotFound(topic.clone())),
            None => Err(self.no_quorum()),
        }
    }

    /// Takes no part in a topic any more, but as a publisher of what waits to be published.
    pub(super) fn drop_topic(&mut self, topic: &Topic) {
        let waiting = self.take_back(topic);
        self.topics.leave(topic);
        self.repair.forget_topic(topic);
        self.announce_interest(topic, Mode::None);
        if !waiting.is_empty() {
            self.publish_now_or_later(topic, waiting);
        }
    }

    fn subscribe(
        &mut self,
        request: RequestId,
        topic: &Topic,
        from: From,
        found: &Findings,
        quorum: bool,
    ) {
        let info = match self.info(topic, found, quorum) {
            Ok(info) => info,
            Err(error) => {
                let missing = matches!(error, CommandError::TopicNotFound(_));
                let goal = Goal::Subscribe(request, from);
                if !missing || self.make(topic, goal).is_some() {
                    self.out.answer(request, Err(error));
                }
                return;
            }
        };
        // Only seeds can count subscribers; without them any peer may be one.
        let nobody = self.links.neighbor_count() == 0 && self.views.passive().is_empty();
        let counted = self.rendezvous.joined() > 0 || nobody;
        let now = self.now;
        let Some(local) = self.topics.enter(self.now, topic, &self.config) else {
            let limit = self.config.topics_max;
            let error = CommandError::Limit { what: "topics", limit };
            return self.out.answer(request, Err(error));
        };
        local.shared |= local.wanted;
        local.wanted = true;
        if local.subscribed_at.is_some() {
            return self.out.answer(request, Ok(Answer::topic(info)));
        }
        local.subscribed_at = Some(now);
        local.horizon = horizon(now, from).min(local.missed_since.unwrap_or(now));
        let total = found.total as usize;
        local.others = counted.then_some(total.max(found.subscribers.len()));
        local.offer(&found.subscribers, &self.node);
        self.announce_interest(topic, Mode::Subscribes);
        self.adopt_links(topic);
        self.seek_neighbors();
        let record = self.subscription_record(topic, true);
        if quorum {
            return self.put(topic, Goal::Subscribed(request, found.total), record);
        }
        // Provisional: seeds are told when they are there, gossip goes on without them.
        self.put(topic, Goal::Refresh, record);
        self.out.answer(request, Ok(Answer::topic(info)));
    }

    fn unsubscribe(&mut self, request: RequestId, topic: &Topic) {
        let local = self.topics.get_mut(topic).filter(|local| local.subscribed_at.is_some());
        if let Some(local) = local {
            (local.wanted, local.shared) = (false, false);
            if !local.held {
                self.stop_receiving(topic);
            }
        }
        self.out.answer(request, Ok(Answer::Done));
    }

    fn list(&mut self, request: RequestId, kind: Kind, filter: String, offset: u32, limit: u32) {
        if filter.len() > TEXT_BYTES_MAX {
            let error = CommandError::Limit { what: "bytes of a filter", limit: TEXT_BYTES_MAX };
            return self.out.answer(request, Err(error));
        }
        let limit = limit.min(PAGE_MAX as u32);
        match (self.rendezvous.joined(), kind) {
            (1.., _) => {
                let id = self.requests.next_id();
                let deadline = self.now + self.config.request_timeout * 2;
                let list = Frame::List(List { request: id, kind, filter, offset, limit });
                self.ask_one(id, (self.overlay.clone(), Goal::List(request), list), deadline);
            }
            (0, Kind::Peers) => {
                let answer = self.known_peers(&filter, offset as usize, limit as usize);
                self.out.answer(request, Ok(answer));
            }
            (0, Kind::Topics) => {
                let error = self.no_quorum();
                self.out.answer(request, Err(error));
            }
        }
    }

    fn publish(&mut self, request: RequestId, topic: &Topic, message: Message) {
        if let Err(error) = self.check_publication(topic, &message) {
            return self.out.answer(request, Err(error));
        }
        let publication = Publication { request, message };
        if self.publisher.is_waiting(topic) {
            return self.let_wait(topic, publication, self.now);
        }
        let asked_at = self.topics.directory.live(topic).and_then(|(_, asked_at)| asked_at);
        let Some(asked_at) = asked_at else {
            // The question, and the making of a topic that is not there, have their own ends.
            let until = self.now + self.config.request_timeout * 5 + PATIENCE * 2;
            self.let_wait(topic, publication, until);
            return self.look_up(topic, Goal::Publish);
        };
        let stale = self.now.since(asked_at) >= CONFIRM_AFTER;
        if stale && !self.requests.is_open(topic, &Goal::Refresh) && self.requests.has_room() {
            self.look_up(topic, Goal::Refresh);
        }
        match self.attach(topic) {
            Ok(true) if self.publisher.is_overfull() => {
                let error = self.busy();
                self.out.answer(publication.request, Err(error));
            }
            Ok(true) => self.publisher.ready(topic, publication),
            Ok(false) => self.let_wait(topic, publication, self.now + ATTACH_FOR),
            Err(error) => self.out.answer(publication.request, Err(error)),
        }
    }

    fn busy(&self) -> CommandError {
        CommandError::Busy { waiting: self.publisher.waiting(), retry_ms: RETRY_MS }
    }

    fn check_publication(&self, topic: &Topic, message: &Message) -> Result<(), CommandError> {
        let (size, limit) = (message.body.len(), MESSAGE_BYTES_MAX);
        if size > limit {
            return Err(CommandError::TooLarge { size, limit });
        }
        let limit = self.config.streams_max;
        if topic.is_internal() || self.topics.directory.record(topic).is_some_and(|r| r.deleted) {
            // A deleted topic may have been created again: the seeds know.
            return Ok(());
        }
        if self.topics.may_publish(topic, limit) {
            Ok(())
        } else {
            Err(CommandError::Limit { what: "topics published to", limit })
        }
    }

    fn let_wait(&mut self, topic: &Topic, publication: Publication, until: Instant) {
        if let Err(publication) = self.publisher.wait(topic, publication, until) {
            let error = self.busy();
            self.out.answer(publication.request, Err(error));
        }
    }

    /// Takes part in a topic as a publisher. Returns whether publications can go out: somebody
    /// is linked, or there is nobody to wait for. Fails when it takes part in too many topics.
    fn attach(&mut self, topic: &Topic) -> Result<bool, CommandError> {
        let until = self.now + PUBLISHING_FOR;
        let Some(local) = self.topics.enter(self.now, topic, &self.config) else {
            let limit = self.config.topics_max;
            return Err(CommandError::Limit { what: "topics", limit });
        };
        let before = local.mode();
        local.publishing_until = Some(until);
        let mode = local.mode();
        if mode != before {
            self.announce_interest(topic, mode);
            self.adopt_links(topic);
        }
        let Some(local) = self.topics.get(topic) else { return Ok(true) };
        if !local.links.is_empty() || local.others == Some(0) || self.now < local.alone_until {
            return Ok(true);
        }
        self.seek_neighbors();
        Ok(false)
    }

    /// The seeds have answered for the topic of waiting publications.
    fn go_on_publishing(&mut self, topic: &Topic, quorum: bool) {
        self.topics.directory.asked(self.now, topic);
        if self.topics.directory.live(topic).is_none() {
            if quorum && self.make(topic, Goal::Publish).is_none() {
                return;
            }
            let error =
                if quorum { CommandError::TopicNotFound(topic.clone()) } else { self.no_quorum() };
            for publication in self.publisher.release(topic) {
                self.out.answer(publication.request, Err(error.clone()));
            }
            return;
        }
        let waiting = self.publisher.release(topic);
        self.publish_now_or_later(topic, waiting);
    }

    /// Publications of a known topic go out, or wait until somebody is linked.
    fn publish_now_or_later(
        &mut self,
        topic: &Topic,
        publications: impl IntoIterator<Item = Publication>,
    ) {
        let attached = self.attach(topic);
        for publication in publications {
            match &attached {
                Ok(true) => self.publisher.ready(topic, publication),
                Ok(false) => self.let_wait(topic, publication, self.now + ATTACH_FOR),
                Err(error) => self.out.answer(publication.request, Err(error.clone())),
            }
        }
    }

    /// Somebody who subscribes is linked: what waited for that goes out.
    pub(super) fn release_waiting(&mut self, topic: &Topic) {
        if self.publisher.is_waiting(topic) && self.topics.directory.live(topic).is_some() {
            for publication in self.publisher.release(topic) {
                self.publisher.ready(topic, publication);
            }
        }
    }

    /// Publications that have waited long enough go out to whoever is there.
    pub(super) fn expire_waiting(&mut self) {
        for topic in self.publisher.expired(self.now) {
            if self.topics.directory.live(&topic).is_some() {
                let until = self.now + ALONE_FOR;
                if let Some(local) = self.topics.get_mut(&topic) {
                    local.alone_until = until;
                }
                self.release_waiting(&topic);
            } else {
                self.go_on_publishing(&topic, false);
            }
        }
    }

    /// Ends the part of topics to which nothing was published for a while.
    pub(super) fn expire_publishing(&mut self) {
        let now = self.now;
        let mut over = Vec::new();
        for (topic, local) in self.topics.local_mut() {
            if local.publishing_until.is_some_and(|until| until <= now) {
                local.publishing_until = None;
                if local.mode() == Mode::None {
                    over.push(topic.clone());
                }
            }
        }
        over.iter().for_each(|topic| self.drop_topic(topic));
    }

    /// What the clock of this node shows people at an instant.
    pub(super) fn wall_us(&self, at: Instant) -> i64 {
        let micros = i64::try_from(at.as_micros()).unwrap_or(i64::MAX);
        self.config.identity.wall_origin_us.saturating_add(micros)
    }
}
