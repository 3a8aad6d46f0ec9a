//! Flags of commands that subscribe: where to begin, and what becomes of what is not read.

use clap::ValueEnum;
use tidings::Policy;
use tidings::control::{self, BUFFER_DEFAULT, BUFFER_MAX, Start};

use crate::failure::Failure;

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Begin {
    /// Begin with everything that the peer and its neighbours retain
    #[arg(long, conflicts_with_all = ["last", "since"])]
    all: bool,
    /// Begin with the last so many messages that are retained
    #[arg(long, value_name = "N", conflicts_with = "since")]
    last: Option<u64>,
    /// Begin with what was published so long ago, e.g. 10m, or since a time such as
    /// 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Start>,
}

impl Begin {
    pub(super) fn start(self) -> Start {
        let last = self.last.map(Start::Last);
        let all = self.all.then_some(Start::All);
        self.since.or(last).or(all).unwrap_or_default()
    }
}

fn since(text: &str) -> Result<Start, String> {
    let allowed = "a duration such as 90s, 10m, 2h, or a time such as 2026-01-31T12:00:00Z";
    Start::since(text).ok_or_else(|| format!("{allowed} is allowed"))
}

/// What becomes of messages that are not read in time.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Unread {
    /// What becomes of messages that nobody reads in time: they wait until the limits of the peer
    /// are reached, or only the newest wait; what is lost is told
    #[arg(long, value_enum, default_value = "block-retention")]
    policy: Kind,
    /// With drop-oldest: so many of the newest wait [default: 1000]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(BUFFER_MAX)))]
    buffer: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    BlockRetention,
    DropOldest,
}

impl Unread {
    /// # Errors
    /// A buffer for a policy that has none.
    pub(super) fn policy(self) -> Result<control::Unread, Failure> {
        let messages = self.buffer.unwrap_or(BUFFER_DEFAULT) as usize;
        match (self.policy, self.buffer) {
            (Kind::BlockRetention, Some(_)) => {
                Err(Failure::usage("--buffer goes with --policy drop-oldest"))
            }
            (Kind::BlockRetention, None) => Ok(control::Unread(Policy::BlockRetention)),
            (Kind::DropOldest, _) => Ok(control::Unread(Policy::DropOldest { messages })),
        }
    }
}
