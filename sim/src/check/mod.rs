//! The judges: one invariant a file, each with a test that makes it speak.
//!
//! A judge keeps what it needs to know and reports what it sees to [`Verdicts`]. The numbers
//! are those of the design, §10.

pub mod answers;
pub mod bounds;
pub mod bystanders;
pub mod changes;
pub mod converge;
pub mod dedup;
pub mod delivery;
pub mod evicted;
pub mod genuine;
pub mod happened;
pub mod kept;
pub mod linear;
pub mod liveness;
pub mod order;
pub mod overlay;
pub mod owners;
pub mod panic;
pub mod refused;
pub mod verdict;

use std::fmt;

use serde::{Deserialize, Serialize};
use tidings_proto::Instant;

/// Violations that are kept word for word; more are only counted.
const KEPT_MAX: usize = 20;

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Which invariant.
    pub rule: String,
    /// When, in microseconds of virtual time.
    pub at_us: u64,
    /// At which node.
    pub node: u32,
    /// What was seen.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = Instant::from_micros(self.at_us);
        write!(f, "{} at {at:?} on node {}: {}", self.rule, self.node, self.text)
    }
}

/// What the judges saw.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    /// The first violations.
    pub kept: Vec<Violation>,
    /// How many there were in all.
    pub total: u64,
}

impl Verdicts {
    /// Reports a violation.
    pub fn report(&mut self, rule: &str, at: Instant, node: u32, text: fmt::Arguments<'_>) {
        self.total += 1;
        if self.kept.len() < KEPT_MAX {
            let (rule, text) = (rule.to_owned(), text.to_string());
            self.kept.push(Violation { rule, at_us: at.as_micros(), node, text });
        }
    }

    /// Whether a rule was broken.
    pub fn broke(&self, rule: &str) -> bool {
        self.kept.iter().any(|violation| violation.rule == rule)
    }
}
