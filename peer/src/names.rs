//! Names that peers reserve: each belongs to one peer of the cluster, on which the seeds agree as
//! they do on the hosts of topics. A name's register is a topic, see [`Topic::of_name`].

use tidings_proto::filter::TopicFilter;
use tidings_proto::id::NAME_PREFIX;
use tidings_proto::peer::event::{Command, CommandError, TopicInfo};
use tidings_proto::wire::frame::{Hosting, TopicItem};
use tidings_proto::wire::record::TopicPolicy;
use tidings_proto::{NodeId, Topic};

use crate::error::Error;
use crate::peer::{Page, Peer, expect_topic};

/// A name that a peer has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReservedName {
    /// The name.
    pub name: String,
    /// The peer that has it.
    pub host: NodeId,
    /// Which registration of this name it is.
    pub generation: u64,
    /// When it was registered, in microseconds since 1970 by the clock of the peer that did it.
    pub registered_at_us: i64,
    /// Where that peer is, unless the name is one of a list.
    pub hosting: Hosting,
    /// A majority of the seeds confirmed this.
    pub confirmed: bool,
}

impl Peer {
    /// Registers a name for this peer, for the whole cluster, until it is given up. It is kept
    /// over a restart; the name of a peer that is gone for `topic_orphan_after` may be registered
    /// by another. With `exist_ok` a name that this peer has already is fine.
    ///
    /// # Errors
    /// A bad name, one that is taken, or no majority of seeds.
    pub async fn register_name(&self, name: &str, exist_ok: bool) -> Result<ReservedName, Error> {
        let topic = register(name)?;
        let policy = TopicPolicy::default();
        let command = |request| Command::CreateTopic { request, topic, exist_ok, policy };
        let info = expect_topic(self.inner().ask(command).await.map_err(of_name)?)?;
        Ok(info.into())
    }

    /// Gives up a name of this peer: anybody may register it.
    ///
    /// # Errors
    /// Nobody has that name, another peer has it, or no majority of seeds.
    pub async fn unregister_name(&self, name: &str) -> Result<(), Error> {
        let topic = register(name)?;
        let command = |request| Command::DeleteTopic { request, topic };
        self.inner().ask(command).await.map(drop).map_err(of_name)
    }

    /// Who has a name.
    ///
    /// # Errors
    /// A bad name, one that nobody has, or no majority of seeds.
    pub async fn name_info(&self, name: &str) -> Result<ReservedName, Error> {
        let topic = register(name)?;
        let command = |request| Command::TopicInfo { request, topic };
        let info = expect_topic(self.inner().ask(command).await.map_err(of_name)?)?;
        Ok(info.into())
    }

    /// A page of the names that match an MQTT `filter`, empty for all; at most
    /// [`crate::PAGE_MAX`] items.
    ///
    /// # Errors
    /// The text is no filter, or no seed answers.
    pub async fn list_names(
        &self,
        filter: &str,
        offset: u32,
        limit: u32,
    ) -> Result<Page<ReservedName>, Error> {
        let filter = if filter.is_empty() { "#" } else { filter };
        TopicFilter::new(filter)?;
        let page = self.list_topics(&format!("{NAME_PREFIX}{filter}"), offset, limit).await?;
        let items = page.items.into_iter().map(ReservedName::from).collect();
        Ok(Page { total: page.total, items })
    }
}

fn register(name: &str) -> Result<Topic, Error> {
    Topic::of_name(name).ok_or(Error::BadName)
}

/// The name of a register.
fn name_of(topic: &Topic) -> String {
    topic.reserved_name().unwrap_or(topic.as_str()).to_owned()
}

impl From<TopicInfo> for ReservedName {
    fn from(info: TopicInfo) -> Self {
        Self {
            name: name_of(&info.record.topic),
            host: info.record.host,
            generation: info.record.generation,
            registered_at_us: info.record.created_at_us,
            hosting: info.hosting,
            confirmed: info.confirmed,
        }
    }
}

impl From<TopicItem> for ReservedName {
    fn from(item: TopicItem) -> Self {
        Self {
            name: name_of(&item.topic),
            host: item.host,
            generation: item.generation,
            registered_at_us: item.created_at_us,
            hosting: Hosting::None,
            confirmed: false,
        }
    }
}

/// What was said of a register, said of its name.
fn of_name(error: Error) -> Error {
    let Error::Refused(refused) = error else { return error };
    match refused {
        CommandError::TopicNotFound(topic) => Error::NameNotFound(name_of(&topic)),
        CommandError::TopicExists { topic, host } => {
            Error::NameReserved { name: name_of(&topic), host }
        }
        CommandError::NotHost { topic, host } => Error::NotNameHost { name: name_of(&topic), host },
        refused => Error::Refused(refused),
    }
}
