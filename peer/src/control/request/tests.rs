use serde_json::value::RawValue;

use super::*;
use crate::control::error::{Code, Problem};

fn read(line: &str) -> Result<Request, Problem> {
    parse(line.as_bytes()).request
}

fn problem(line: &str) -> (Code, String) {
    let problem = read(line).expect_err(line);
    (problem.code, problem.message)
}

#[test]
fn every_command_is_read() {
    let topic = || "a".to_owned();
    let list = List { filter: "f".to_owned(), offset: 1, limit: 2 };
    let body = || Body(Bytes::from_static(b"hi"));
    let pull = Pull { topic: Some(topic()), max: 5, wait_ms: 9 };
    let cases = [
        (
            r#"{"command":"create_topic","topic":"a","exist_ok":true}"#,
            Request::CreateTopic { topic: topic(), exist_ok: true, policy: Keep::default() },
        ),
        (
            r#"{"command":"Create_Topic","topic":"a","durable":false}"#,
            Request::CreateTopic { topic: topic(), exist_ok: false, policy: Keep::default() },
        ),
        (r#"{"command":"delete_topic","topic":"a"}"#, Request::DeleteTopic { topic: topic() }),
        (
            r#"{"command":"list_topics","filter":"f","offset":1,"limit":2}"#,
            Request::ListTopics(list.clone()),
        ),
        (r#"{"command":"topic_info","topic":"a"}"#, Request::TopicInfo { topic: topic() }),
        (
            r#"{"command":"subscribe","topic":"a","stream":null}"#,
            Request::Subscribe(Subscribe::new(topic())),
        ),
        (
            r#"{"command":"SUBSCRIBE","topic":"a","stream":true,"from":"all"}"#,
            Request::Subscribe(Subscribe::new(topic()).streamed().starting(Start::All)),
        ),
        (r#"{"command":"unsubscribe","topic":"a"}"#, Request::Unsubscribe { topic: topic() }),
        (
            r#"{"command":"publish","topic":"a","message":"hi"}"#,
            Request::Publish(Publish::new(topic(), body().0)),
        ),
        (
            r#"{"command":"publish","topic":"a","message_base64":"aGk=","other":1}"#,
            Request::Publish(Publish::new(topic(), body().0)),
        ),
        (
            r#"{"command":"publish","topic":"a","message":"hi","wait_ms":0,
            "headers":{"b":"2","a":"1"}}"#,
            Request::Publish(Publish {
                headers: Headers::new([("a", "1"), ("b", "2")]).expect("legal"),
                wait_ms: Some(0),
                ..Publish::new(topic(), body().0)
            }),
        ),
        (r#"{"command":"pull","topic":"a","max":5,"wait_ms":9}"#, Request::Pull(pull)),
        (r#"{"command":"peers","filter":"f","offset":1,"limit":2}"#, Request::Peers(list)),
        (r#"{"command":"seeds"}"#, Request::Seeds),
        (r#"{"command":"status"}"#, Request::Status),
        (r#"{"command":"ping"}"#, Request::Ping),
        (r#"{"command":"help"}"#, Request::Help),
    ];
    for (line, request) in cases {
        assert_eq!(read(line), Ok(request.clone()), "{line}");
        let written = serde_json::to_string(&request).expect("JSON");
        assert_eq!(read(&written), Ok(request), "what a client writes is read: {written}");
    }
}

#[test]
fn bytes_that_are_no_text_travel_as_base64() {
    let request = Request::Publish(Publish::new("a", &b"\xff"[..]));
    let written = serde_json::to_string(&request).expect("JSON");
    assert_eq!(written, r#"{"command":"publish","topic":"a","message_base64":"/w=="}"#);
    assert_eq!(read(&written), Ok(request));
}

#[test]
fn the_id_is_kept_as_it_came() {
    for id in ["7", "\"x\"", "null", "1e400", "123456789012345678901234567890", r#"{"a": [1]}"#] {
        let line = format!(r#"{{"id":{id},"command":"fly"}}"#);
        let parsed = parse(line.as_bytes());
        assert_eq!(parsed.id.as_deref().map(RawValue::get), Some(id));
    }
    assert!(parse(b"{}").id.is_none());
}

#[test]
fn errors_name_the_field() {
    let cases = [
        ("{}", "field 'command' is missing: a string"),
        (r#"{"command":5}"#, "field 'command' must be a string"),
        (r#"{"command":"publish"}"#, "field 'topic' is missing: a string"),
        (r#"{"command":"publish","topic":[]}"#, "field 'topic' must be a string"),
        (
            r#"{"command":"publish","topic":"a"}"#,
            "field 'message' is missing: a string, or 'message_base64'",
        ),
        (r#"{"command":"publish","topic":"a","message":{}}"#, "field 'message' must be a string"),
        (
            r#"{"command":"publish","topic":"a","message":"x","message_base64":"aGk="}"#,
            "give 'message' or 'message_base64', not both",
        ),
        (
            r#"{"command":"publish","topic":"a","message":"x","headers":{"a":1}}"#,
            r#"field 'headers' must be an object of strings, such as {"key":"value"}"#,
        ),
        (
            r#"{"command":"publish","topic":"a","message":"x","headers":{"":"1"}}"#,
            "field 'headers': the name of a header has at least one character",
        ),
        (
            r#"{"command":"publish","topic":"a","message":"x","wait_ms":30001}"#,
            "field 'wait_ms' must be a whole number from 0 to 30000",
        ),
        (r#"{"command":"pull","max":0}"#, "field 'max' must be a whole number from 1 to 10000"),
        (r#"{"command":"pull","max":1.5}"#, "field 'max' must be a whole number from 1 to 10000"),
        (
            r#"{"command":"pull","wait_ms":-1}"#,
            "field 'wait_ms' must be a whole number from 0 to 3600000",
        ),
        (
            r#"{"command":"peers","limit":"all"}"#,
            "field 'limit' must be a whole number from 1 to 10000",
        ),
        (
            r#"{"command":"subscribe","topic":"a","stream":"yes"}"#,
            "field 'stream' must be true or false",
        ),
    ];
    for (line, message) in cases {
        assert_eq!(problem(line), (Code::BadRequest, message.to_owned()), "{line}");
    }
    let (code, message) =
        problem(r#"{"command":"publish","topic":"a","message_base64":"not base64"}"#);
    assert_eq!(code, Code::BadRequest);
    assert!(message.starts_with("field 'message_base64' is not base64"), "{message}");
    let (code, message) = problem(r#"{"command":"subscribe","topic":"a","from":"old"}"#);
    assert_eq!(code, Code::BadRequest);
    assert!(message.starts_with(r#"field 'from' must be "new", "all", "last:N","#), "{message}");
}

#[test]
fn what_is_no_request_is_told_apart() {
    for line in ["", "{", "hello", "{\"a\":}", "{\"command\":\"ping\"} {}", "{'command':'ping'}"] {
        assert_eq!(problem(line).0, Code::BadJson, "{line}");
    }
    for line in ["[]", "1", "\"ping\"", "null"] {
        assert_eq!(problem(line).0, Code::BadRequest, "{line}");
    }
    assert_eq!(problem(r#"{"command":"fly"}"#).0, Code::UnknownCommand);
    let long = format!(r#"{{"command":"{}"}}"#, "x".repeat(10_000));
    assert!(problem(&long).1.len() < 200);
    for more in [r#""retention":"1h""#, r#""retention":{"bytes":0}"#, r#""retention":{"age":1}"#] {
        let line = format!(r#"{{"command":"create_topic","topic":"a",{more}}}"#);
        assert_eq!(problem(&line).0, Code::BadRequest, "{more}");
    }
    for more in [r#""policy":"block""#, r#""buffer":7"#, r#""from":"last""#, r#""durable":1"#] {
        let line = format!(r#"{{"command":"subscribe","topic":"a",{more}}}"#);
        assert_eq!(problem(&line).0, Code::BadRequest, "{more}");
    }
    assert_eq!(parse(b"{\"command\":\"\xff\"}").request.expect_err("bytes").code, Code::BadJson);
}
