//! What a seed lists, compared with what was promised.

use std::collections::BTreeMap;

use serde_json::Value;

use super::client::Promise;
use crate::http;
use crate::node::Node;

/// The most items of a page.
const PAGE: usize = 1_000;

/// What a seed lists wrongly, in words: nothing when it lists all that was promised.
pub(super) fn missing(seed: &Node, expected: &BTreeMap<String, Promise>) -> Vec<String> {
    let name = &seed.spec.name;
    let listed = match listed(seed) {
        Ok(listed) => listed,
        Err(error) => return vec![format!("{name} does not answer: {error:#}")],
    };
    let mut missing = Vec::new();
    for (topic, promise) in expected {
        match listed.get(topic) {
            None if promise.live => missing.push(format!("{name} does not list {topic}")),
            Some(_) if !promise.live => {
                missing.push(format!("{name} lists {topic}, which was deleted"));
            }
            Some(item) if item["host"] != promise.host.as_str() => {
                missing.push(format!("{name} lists another host of {topic}: {}", item["host"]));
            }
            Some(item) => {
                let of = item["subscribers"].as_array();
                let is_listed = |id: &String| of.is_some_and(|of| of.iter().any(|n| n == id));
                let lost = promise.subscribers.iter().filter(|id| !is_listed(id));
                missing.extend(lost.map(|id| format!("{name}: {topic} lacks subscriber {id}")));
            }
            None => {}
        }
    }
    missing
}

/// All topics that a seed lists, by name.
fn listed(seed: &Node) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    let mut offset = 0;
    loop {
        let path = format!("/v1/topics?limit={PAGE}&offset={offset}");
        let mut page = http::json(seed.http_address(), &path)?;
        let items = page["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let last = items.len() < PAGE;
        for item in items {
            all.insert(item["topic"].as_str().unwrap_or_default().to_owned(), item);
        }
        if last {
            return Ok(all);
        }
        offset += PAGE;
    }
}
