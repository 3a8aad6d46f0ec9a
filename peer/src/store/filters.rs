//! Filters of the permanent session.

use rusqlite::params;
use tidings_proto::{Topic, TopicFilter};
use tidings_runtime::store::Sum;

use super::write::{Rows, newest_of};
use crate::subscribe::SubscribeOptions;

impl Rows<'_> {
    pub(super) fn begin_filter(
        &self,
        filter: &TopicFilter,
        options: SubscribeOptions,
    ) -> rusqlite::Result<()> {
        let (newest, durable) = (newest_of(options.policy), i64::from(options.durable));
        let sum = filter_sum(filter.as_str(), newest, durable);
        self.run(
            "INSERT OR REPLACE INTO filter VALUES (?, ?, ?, ?)",
            params![filter.as_str(), newest, durable, sum],
        )
    }

    pub(super) fn end_filter(&self, filter: &TopicFilter) -> rusqlite::Result<()> {
        self.run("DELETE FROM filter WHERE filter = ?", [filter.as_str()])
    }

    /// Whether a topic is received for the sake of filters alone.
    pub(super) fn set_matching(&self, topic: &Topic, matching: bool) -> rusqlite::Result<()> {
        let sql = match matching {
            true => "INSERT OR REPLACE INTO matching VALUES (?)",
            false => "DELETE FROM matching WHERE topic = ?",
        };
        self.run(sql, [topic.as_str()])
    }
}

pub(super) fn filter_sum(filter: &str, newest: i64, durable: i64) -> [u8; 8] {
    Sum::of("filter").bytes(filter.as_bytes()).number(newest).number(durable).end()
}
