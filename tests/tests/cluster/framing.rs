//! Requests and answers are lines, however they are cut up on the way.

use std::time::Duration;

use serde_json::json;
use tidings_tests::cluster::Cluster;
use tidings_tests::wait::SOON;
use tidings_tests::{control, text};

#[test]
fn two_requests_in_one_segment_get_two_answers() {
    let cluster = Cluster::start(1, 2);
    let mut controls = cluster.topic("Sports");
    let publish = |id: u32, message: &str| {
        json!({"command": "PUBLISH", "topic": "Sports", "message": message, "id": id}).to_string()
    };
    let both = format!("{}\n{}\r\n", publish(1, "one"), publish(2, "two"));
    controls[0].send(both.as_bytes()).unwrap();
    for id in 1..=2 {
        let answer = controls[0].answer().unwrap();
        assert_eq!((&answer["status"], &answer["id"]), (&json!("ok"), &json!(id)));
    }
    assert_eq!(control::texts(&controls[1].pull_all("Sports", 2, SOON)), ["one", "two"]);
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let cluster = Cluster::start(1, 1);
    let mut control = cluster.peers[0].control();
    for byte in b"{\"command\":\"Ping\",\"id\":\"x\"}\n" {
        control.send(&[*byte]).unwrap();
    }
    let answer = control.answer().unwrap();
    assert_eq!((&answer["status"], &answer["id"]), (&json!("ok"), &json!("x")));
}

#[test]
fn large_messages_arrive_as_they_were_sent() {
    let cluster = Cluster::start(3, 3);
    let mut controls = cluster.topic("large");
    let text = text::lines(12_000);
    for size in [1_000, 64 << 10, 500_000] {
        let end = (size..).find(|&end| text.is_char_boundary(end)).unwrap();
        controls[0].publish("large", &text[..end]);
        for control in &mut controls {
            let messages = control.pull_all("large", 1, Duration::from_secs(15));
            assert!(messages[0]["message"] == text[..end], "{size} bytes differ");
        }
    }
}

#[test]
fn answers_come_in_the_order_of_the_requests() {
    let cluster = Cluster::start(3, 1);
    let mut control = cluster.peers[0].control();
    let mut requests = String::new();
    for id in 0..200 {
        let name = ["ping", "status", "list_topics", "seeds"][id % 4];
        requests.push_str(&format!("{{\"command\":\"{name}\",\"id\":{id}}}\n"));
    }
    control.send(requests.as_bytes()).unwrap();
    for id in 0..200 {
        assert_eq!(control.answer().unwrap()["id"], id);
    }
}

#[test]
fn an_application_may_close_its_side_and_still_get_its_answer() {
    use std::io::{Read as _, Write as _};
    let cluster = Cluster::start(1, 1);
    let address = cluster.peers[0].control_address();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    // Without a newline, as `printf … | ncat` sends it.
    stream.write_all(b"{\"command\":\"ping\"}").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"ok\""), "{answer:?}");
}
