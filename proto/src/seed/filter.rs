//! MQTT's topic filters.

/// Whether `filter` selects `topic`: `+` stands for one level, a last `#` for any number of
/// further levels, none included. An empty filter selects everything.
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    if filter.is_empty() {
        return true;
    }
    let mut levels = topic.split('/');
    let mut patterns = filter.split('/');
    while let Some(pattern) = patterns.next() {
        if pattern == "#" {
            return patterns.next().is_none();
        }
        match levels.next() {
            Some(level) if pattern == "+" || pattern == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn follows_the_rules_of_mqtt() {
        for (filter, topic) in [
            ("", "a"),
            ("#", "a/b"),
            ("a", "a"),
            ("a/#", "a"),
            ("a/#", "a/b/c"),
            ("+/b", "a/b"),
            ("a/+/c", "a/b/c"),
            ("+", "a"),
            ("/+", "/a"),
            ("a/+", "a/"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("a", "b"),
            ("a", "a/b"),
            ("a/b", "a"),
            ("+", "a/b"),
            ("a/+", "a"),
            ("#/a", "b/a"),
            ("a/#/c", "a/b/c"),
            ("a+", "ab"),
        ] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }
}
