//! A topic as a register, and what each call does to it.

use super::{Act, Outcome};

/// What a topic may be. Creations are numbered upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// Nothing is known.
    Any,
    /// It is not there, and so many creations, or more, were.
    Gone {
        /// The number of the last creation is at least this.
        least: u64,
    },
    /// It is there.
    There {
        /// Whose it is.
        host: u32,
        /// The number of the creation is this, or more.
        least: u64,
        /// It is exactly this.
        exact: bool,
    },
}

impl Register {
    /// A topic that nobody has created.
    pub const NEW: Self = Self::Gone { least: 0 };

    /// What it is after this call with this outcome; `None` when that cannot be.
    pub fn after(self, (by, act): (u32, Act), outcome: Outcome) -> Option<Self> {
        match (act, outcome) {
            (Act::Create, Outcome::Created { generation }) => self.created(by, generation),
            (Act::Delete, Outcome::Deleted) => self.deleted(by),
            (_, Outcome::There { generation, host }) => {
                // Its own host is not refused a deletion.
                let fits = act != Act::Delete || host != by;
                self.there(host, generation).filter(|_| fits)
            }
            (Act::Delete | Act::Read, Outcome::Absent) => match self {
                Self::Any => Some(Self::NEW),
                Self::Gone { .. } => Some(self),
                Self::There { .. } => None,
            },
            _ => None,
        }
    }

    /// What it is after this call if that took effect, though nobody was told; `None` when it
    /// would have changed nothing.
    pub fn after_unknown(self, (by, act): (u32, Act)) -> Option<Self> {
        match (act, self) {
            (Act::Create, Self::Gone { least }) => {
                Some(Self::There { host: by, least: least + 1, exact: false })
            }
            (Act::Delete, Self::There { .. }) => self.deleted(by),
            _ => None,
        }
    }

    /// Whether all that is possible after `other` is possible after this.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Gone { least }, Self::Gone { least: others }) => least <= others,
            (
                Self::There { host, least, exact: false },
                Self::There { host: other, least: others, .. },
            ) => host == other && least <= others,
            _ => self == other,
        }
    }

    fn created(self, by: u32, generation: u64) -> Option<Self> {
        let created = Self::There { host: by, least: generation, exact: true };
        match self {
            Self::Any => Some(created),
            Self::Gone { least } => (generation > least).then_some(created),
            // Its host is told so again, after a restart or when it had not heard of it.
            Self::There { host, .. } if host == by => self.there(host, Some(generation)),
            Self::There { .. } => None,
        }
    }

    fn deleted(self, by: u32) -> Option<Self> {
        match self {
            Self::Any => Some(Self::NEW),
            Self::There { host, least, .. } if host == by => Some(Self::Gone { least }),
            Self::There { .. } | Self::Gone { .. } => None,
        }
    }

    fn there(self, host: u32, generation: Option<u64>) -> Option<Self> {
        match (self, generation) {
            (Self::Any, Some(least)) => Some(Self::There { host, least, exact: true }),
            (Self::Any, None) => Some(Self::There { host, least: 0, exact: false }),
            (Self::There { host: of, .. }, None) => (of == host).then_some(self),
            (Self::There { host: of, least, exact }, Some(generation)) => {
                let fits = if exact { generation == least } else { generation >= least };
                let exactly = Self::There { host, least: generation, exact: true };
                (of == host && fits).then_some(exactly)
            }
            (Self::Gone { .. }, _) => None,
        }
    }
}
