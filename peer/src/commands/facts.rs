//! All that is known of one topic, or of a name, in words.

use std::time::Duration;

use tidings::control::{NameView, RetentionView, TopicView, Whereabouts};
use tidings_runtime::table::Table;

use crate::{size, span};

/// A row for each fact.
pub(super) fn facts(topic: &TopicView) -> Table<2> {
    let mut rows = Table::new(["TOPIC", ""]);
    let mut fact = |name: &str, value: String| rows.row([name.to_owned(), value]);
    fact("name", topic.topic.clone());
    fact("host", topic.host.clone());
    fact("created", topic.created_at.clone());
    fact("generation", topic.generation.to_string());
    fact("subscribers", topic.subscribers.to_string());
    let Some(more) = &topic.more else { return rows };
    let unless = "unless the host returns or somebody subscribes";
    where_it_is(&more.whereabouts, "creates it", unless, &mut fact);
    fact("confirmed by a majority of the seeds", yes_or_no(more.confirmed));
    let durable = if more.durable { "yes, the log is kept on disk" } else { "no" };
    fact("durable", durable.to_owned());
    fact("retention", retention(&more.retention));
    fact("received by this peer", yes_or_no(more.subscribed));
    let kept = format!("{} messages, {}", more.retained_messages, size::show(more.retained_bytes));
    fact("retained here", kept);
    fact("messages a second here", format!("{:.1}", more.rate_milli as f64 / 1e3));
    rows
}

/// A row for each fact of a name.
pub(super) fn facts_of_name(name: &NameView) -> Table<2> {
    let mut rows = Table::new(["NAME", ""]);
    let mut fact = |what: &str, value: String| rows.row([what.to_owned(), value]);
    fact("name", name.name.clone());
    fact("host", name.host.clone());
    fact("registered", name.registered_at.clone());
    fact("generation", name.generation.to_string());
    let Some(more) = &name.more else { return rows };
    where_it_is(&more.whereabouts, "registers it", "unless the host returns", &mut fact);
    fact("confirmed by a majority of the seeds", yes_or_no(more.confirmed));
    rows
}

/// Where the host is, and what becomes of what it hosts while it is away.
fn where_it_is(
    host: &Whereabouts,
    taken_over_by_who: &str,
    dropped_unless: &str,
    fact: &mut impl FnMut(&str, String),
) {
    fact("state", state(host));
    if let Some(address) = host.host_addr {
        fact("host address", address.to_string());
    }
    if let Some(ms) = host.takeover_in_ms {
        fact("takeover", takeover(ms, taken_over_by_who));
        fact("dropped", dropped(host.drop_in_ms, dropped_unless));
    }
}

fn state(more: &Whereabouts) -> String {
    let away = more.host_away_ms.map(|ms| format!(" for {}", millis(ms))).unwrap_or_default();
    match more.state.as_str() {
        "hosted" => "hosted, the host is there".to_owned(),
        "host_away" => format!("the host has been away{away}"),
        "orphaned" => format!("orphaned, the host has been away{away}"),
        "unknown" => "unknown, no seed has answered".to_owned(),
        other => format!("{other}{away}"),
    }
}

/// When another peer may take the topic, or the name, over.
fn takeover(in_ms: u64, by_who: &str) -> String {
    match in_ms {
        0 => format!("possible now, by any peer that {by_who}"),
        ms => format!("possible in {}, by any peer that {by_who}", millis(ms)),
    }
}

/// When it goes.
fn dropped(in_ms: Option<u64>, unless: &str) -> String {
    match in_ms {
        Some(ms) => format!("in {}, {unless}", millis(ms)),
        None => "not while it has subscribers".to_owned(),
    }
}

fn retention(limits: &RetentionView) -> String {
    let age = limits.age_ms.map(millis);
    match (limits.bytes.map(size::show), age) {
        (None, None) => "as each peer is configured".to_owned(),
        (Some(bytes), None) => format!("at most {bytes}"),
        (None, Some(age)) => format!("at most {age}"),
        (Some(bytes), Some(age)) => format!("at most {bytes}, and {age}"),
    }
}

fn yes_or_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

fn millis(ms: u64) -> String {
    span::show(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The facts of a topic of which this much more is known.
    fn lines(more: &Value) -> Vec<String> {
        let mut topic = json!({
            "topic": "t", "host": "ab", "generation": 1, "created_at": "then", "subscribers": 2,
            "state": "hosted", "durable": false, "confirmed": true, "subscribed": false,
            "retained_messages": 3, "retained_bytes": 2_048, "rate_milli": 1_500
        });
        let fields = topic.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        facts(&serde_json::from_value(topic).expect("a topic")).lines()
    }

    fn said(more: &Value, name: &str) -> Option<String> {
        let lines = lines(more);
        let found = lines.iter().find_map(|line| line.strip_prefix(name))?;
        Some(found.trim().to_owned())
    }

    #[test]
    fn a_topic_that_is_hosted() {
        let here = json!({"host_addr": "127.0.0.1:7200"});
        assert_eq!(said(&here, "state").as_deref(), Some("hosted, the host is there"));
        assert_eq!(said(&here, "host address").as_deref(), Some("127.0.0.1:7200"));
        assert_eq!((said(&here, "takeover"), said(&here, "dropped")), (None, None));
        assert_eq!(said(&here, "retention").as_deref(), Some("as each peer is configured"));
        assert_eq!(said(&here, "retained here").as_deref(), Some("3 messages, 2 KiB"));
        assert_eq!(said(&here, "durable").as_deref(), Some("no"));
    }

    #[test]
    fn a_topic_whose_host_is_away() {
        let away = json!({
            "state": "host_away", "host_away_ms": 61_000, "takeover_in_ms": 539_000,
            "drop_in_ms": 86_339_000
        });
        let state = "the host has been away for 1 min 1 s";
        assert_eq!(said(&away, "state").as_deref(), Some(state));
        let takeover = "possible in 8 min 59 s, by any peer that creates it";
        assert_eq!(said(&away, "takeover").as_deref(), Some(takeover));
        let dropped = "in 23 h 58 min, unless the host returns or somebody subscribes";
        assert_eq!(said(&away, "dropped").as_deref(), Some(dropped));
    }

    #[test]
    fn a_topic_that_may_be_taken_over() {
        let orphaned = json!({
            "state": "orphaned", "host_away_ms": 3_600_000, "takeover_in_ms": 0, "durable": true,
            "retention": {"bytes": 16 << 20, "age_ms": 129_600_000}
        });
        let takeover = "possible now, by any peer that creates it";
        assert_eq!(said(&orphaned, "takeover").as_deref(), Some(takeover));
        let dropped = "not while it has subscribers";
        assert_eq!(said(&orphaned, "dropped").as_deref(), Some(dropped));
        assert_eq!(said(&orphaned, "durable").as_deref(), Some("yes, the log is kept on disk"));
        let retention = "at most 16 MiB, and 36 h 0 min";
        assert_eq!(said(&orphaned, "retention").as_deref(), Some(retention));
    }
}
