//! Topic filters, as MQTT defines them (version 5, section 4.7).
//!
//! Levels are split by `/`. `+` alone in a level stands for any one level; `#` alone in the last
//! level stands for any number of further levels, none included, so `a/#` selects `a` too.
//! Wildcards in the first level do not select names that begin with `$`: those belong to the
//! system. A filter without wildcards selects the topic of its name.

use core::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{TOPIC_BYTES_MAX, Topic};

/// A legal filter: 1 to 255 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicFilter(Arc<str>);

/// Why a text is not a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FilterError {
    /// No byte at all.
    #[error("a topic filter has at least one character")]
    Empty,
    /// Longer than a topic name may be.
    #[error("a topic filter has at most {TOPIC_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// NUL and other control characters break logs.
    #[error("a topic filter may not contain {0:?}")]
    Character(char),
    /// `a+`.
    #[error("'+' stands for a whole level of a topic filter, as in 'a/+/b'")]
    PartOfLevel,
    /// `#/a` or `a#`.
    #[error("'#' stands for all further levels of a topic filter: it is the last one, as in 'a/#'")]
    NotLast,
}

impl TopicFilter {
    /// Checks a filter.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn new(text: &str) -> Result<Self, FilterError> {
        if text.is_empty() {
            return Err(FilterError::Empty);
        }
        if text.len() > TOPIC_BYTES_MAX {
            return Err(FilterError::TooLong(text.len()));
        }
        if let Some(c) = text.chars().find(|c| c.is_control()) {
            return Err(FilterError::Character(c));
        }
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            if level.contains('#') && (level != "#" || levels.peek().is_some()) {
                return Err(FilterError::NotLast);
            }
            if level.contains('+') && level != "+" {
                return Err(FilterError::PartOfLevel);
            }
        }
        Ok(Self(Arc::from(text)))
    }

    /// The filter's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it may select more than one topic.
    pub fn has_wildcard(&self) -> bool {
        self.0.contains(['+', '#'])
    }

    /// What the names of all topics that it selects begin with, if anything: its levels before the
    /// first wildcard.
    pub fn prefix(&self) -> Option<Topic> {
        let levels = self.0.find(['+', '#']).map_or(&*self.0, |at| &self.0[..at]);
        Topic::any(levels.strip_suffix('/').unwrap_or(levels)).ok()
    }

    /// Whether it selects the topic.
    pub fn matches(&self, topic: &Topic) -> bool {
        self.matches_name(topic.as_str())
    }

    /// Whether it selects a topic of this name.
    pub fn matches_name(&self, name: &str) -> bool {
        if name.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut levels = name.split('/');
        for pattern in self.0.split('/') {
            if pattern == "#" {
                return true;
            }
            match levels.next() {
                Some(level) if pattern == "+" || pattern == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for TopicFilter {
    type Error = FilterError;

    fn try_from(text: String) -> Result<Self, FilterError> {
        Self::new(&text)
    }
}

impl From<TopicFilter> for String {
    fn from(filter: TopicFilter) -> Self {
        filter.0.as_ref().to_owned()
    }
}

impl From<&Topic> for TopicFilter {
    /// The filter that selects this topic only: names contain no wildcards.
    fn from(topic: &Topic) -> Self {
        Self(Arc::from(topic.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(filter: &str, topic: &str) -> bool {
        TopicFilter::new(filter).expect("legal").matches_name(topic)
    }

    #[test]
    fn selects_what_mqtt_says() {
        for (filter, topic) in [
            ("#", "a/b"),
            ("a", "a"),
            ("a/#", "a"),
            ("a/#", "a/b/c"),
            ("+/b", "a/b"),
            ("a/+/c", "a/b/c"),
            ("+", "a"),
            ("/+", "/a"),
            ("+/+", "/finance"),
            ("a/+", "a/"),
            ("$overlay/#", "$overlay"),
            ("+/#", "a"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("a", "b"),
            ("a", "a/b"),
            ("a/b", "a"),
            ("+", "a/b"),
            ("+", "/finance"),
            ("a/+", "a"),
            ("a/+/#", "a"),
            ("#", "$overlay"),
            ("+", "$overlay"),
            ("+/b", "$a/b"),
        ] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }

    #[test]
    fn refuses_what_is_no_filter() {
        let long = "x".repeat(TOPIC_BYTES_MAX + 1);
        for (text, error) in [
            ("", FilterError::Empty),
            (&*long, FilterError::TooLong(TOPIC_BYTES_MAX + 1)),
            ("a\0", FilterError::Character('\0')),
            ("a+", FilterError::PartOfLevel),
            ("++", FilterError::PartOfLevel),
            ("#/a", FilterError::NotLast),
            ("a/#/c", FilterError::NotLast),
            ("a#", FilterError::NotLast),
            ("##", FilterError::NotLast),
        ] {
            assert_eq!(TopicFilter::new(text), Err(error), "{text}");
        }
    }

    /// The definition, level by level from the end of neither.
    fn naive(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, topic @ ..]) => naive(filter, topic),
            ([f, filter @ ..], [t, topic @ ..]) => f == t && naive(filter, topic),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_matcher(filter in "[ab+/]{0,8}(/#|#)?", topic in "[$]?[ab/]{1,8}") {
            let Ok(parsed) = TopicFilter::new(&filter) else { return Ok(()) };
            let filter: Vec<_> = filter.split('/').collect();
            let levels: Vec<_> = topic.split('/').collect();
            let hidden = topic.starts_with('$') && matches!(filter[0], "+" | "#");
            let expected = naive(&filter, &levels) && !hidden;
            prop_assert_eq!(parsed.matches_name(&topic), expected);
        }

        #[test]
        fn any_text_is_judged_without_a_panic(text in ".{0,300}", topic in ".{0,300}") {
            if let Ok(filter) = TopicFilter::new(&text) {
                let selected = filter.matches_name(&topic);
                prop_assert!(!selected || filter.has_wildcard() || text == topic);
            }
        }
    }

    #[test]
    fn a_prefix_begins_all_names_that_are_selected() {
        for (filter, prefix) in [
            ("#", None),
            ("+/b", None),
            ("a/#", Some("a")),
            ("a//#", Some("a/")),
            ("a/b/+/c", Some("a/b")),
            ("a/b", Some("a/b")),
            ("$name/#", Some("$name")),
        ] {
            let found = TopicFilter::new(filter).expect("legal").prefix();
            assert_eq!(found.as_ref().map(Topic::as_str), prefix, "{filter}");
        }
    }
}
