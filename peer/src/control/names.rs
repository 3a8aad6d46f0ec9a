//! What the control port says of names.

use serde::{Deserialize, Serialize};

use crate::control::answer::time_us;
use crate::control::topics::Whereabouts;
use crate::names::ReservedName;

/// A name that a peer has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameView {
    /// The name.
    pub name: String,
    /// The node that has it.
    pub host: String,
    /// Which registration of the name it is.
    pub generation: u64,
    /// When it was registered, by the clock of the node that did it.
    pub registered_at: String,
    /// More, when one name was asked for.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub more: Option<NameMore>,
}

/// What else is known of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameMore {
    /// Where the node is that has it.
    #[serde(flatten)]
    pub whereabouts: Whereabouts,
    /// A majority of the seeds confirmed this.
    pub confirmed: bool,
}

/// Names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamesView {
    /// How many match.
    pub total: usize,
    /// A page of them.
    pub names: Vec<NameView>,
}

impl NameView {
    /// One of a list.
    pub(crate) fn listed(name: ReservedName) -> Self {
        Self {
            name: name.name,
            host: name.host.to_string(),
            generation: name.generation,
            registered_at: time_us(name.registered_at_us),
            more: None,
        }
    }
}

impl From<ReservedName> for NameView {
    fn from(name: ReservedName) -> Self {
        let whereabouts = Whereabouts::from(name.hosting);
        let more = NameMore { whereabouts, confirmed: name.confirmed };
        Self { more: Some(more), ..Self::listed(name) }
    }
}
