//! What the control port can do, for who asks it.

use crate::control::answer::{CommandView, HelpView};

/// Name, fields, and what it does.
const COMMANDS: [(&str, &str, &str); 23] = [
    (
        "create_topic",
        "topic, exist_ok?, durable?, retention?",
        "host a new topic; exist_ok: fine if hosted here already; durable: its log is kept on \
         disk; retention: {\"bytes\":n,\"age_ms\":n}",
    ),
    ("delete_topic", "topic", "end a topic that this peer hosts, for all its subscribers"),
    ("list_topics", "filter?, offset?, limit?", "topics that match an MQTT filter (+ and #)"),
    ("topic_info", "topic", "host, state, subscribers, rate and retained messages of a topic"),
    (
        "register",
        "name, exist_ok?",
        "have a name that no other peer of the cluster has; exist_ok (default true): fine if this \
         peer has it already",
    ),
    ("unregister", "name", "give up a name of this peer"),
    ("names", "filter?, offset?, limit?", "names that match an MQTT filter (+ and #)"),
    ("name_info", "name", "which peer has a name, and where it is"),
    (
        "subscribe",
        "topic | filter, stream?, from?, received?, policy?, buffer?, durable?",
        "receive a topic, or all that a filter matches; stream: as events on this connection, \
         otherwise kept for pull; from: \"new\", \"all\", \"last:10\", {\"since\":\"10m\"} \
         or a time, {\"origin\":id,\"seq\":n}; received: how far streams were received, what \
         follows comes, as {\"Sports\":[{\"origin\":id,\"incarnation\":n,\"seq\":n}]}; \
         policy: \"block-retention\" or \"drop-oldest\" with buffer; durable: keep the logs \
         of durable topics on disk",
    ),
    ("unsubscribe", "topic | filter", "receive a topic, or the topics of a filter, no more"),
    (
        "publish",
        "topic, message | message_base64, headers?, retain?, wait_ms?",
        "publish one message; headers: an object of strings; retain: whoever subscribes later gets \
         it first, until an empty one is retained; wait_ms: wait as long for room when \
         the peer is busy (default 30000), 0 to be refused at once",
    ),
    (
        "request",
        "topic, message | message_base64, headers?, timeout_ms?, replies?",
        "publish a request and wait for replies (default 1, for 5000 ms); to reply to a message, \
         publish to the topic in its header reply_to, with its header correlation_id",
    ),
    (
        "pull",
        "topic?, max?, wait_ms?",
        "take messages that were kept; wait_ms: wait as long for the first one",
    ),
    (
        "connect",
        "name, received?",
        "go on with the session of that name, or begin it; received: up to which pos each topic \
         has arrived, as {\"Sports\":12}",
    ),
    (
        "ack",
        "topic, pos",
        "everything of this connection's session up to there has arrived, and nothing else is \
         taken for that",
    ),
    ("disconnect", "", "end the session of this connection, with what was not read"),
    ("sessions", "offset?, limit?", "the sessions of this peer, its permanent one first"),
    ("peers", "filter?, offset?, limit?", "peers that the seeds know"),
    (
        "forget",
        "peer",
        "a peer that does not answer any more is listed no more, at once; peer: its id or the \
         first digits of it, its address, or its name",
    ),
    ("seeds", "", "the configured seeds and how many are joined"),
    ("status", "", "this peer: address, neighbours, topics, counters"),
    ("ping", "", "answers at once"),
    ("help", "", "this list"),
];

/// All commands.
pub(crate) fn help() -> HelpView {
    let view = |(command, fields, does): (&str, &str, &str)| CommandView {
        command: command.to_owned(),
        fields: fields.to_owned(),
        does: does.to_owned(),
    };
    HelpView { commands: COMMANDS.into_iter().map(view).collect() }
}
