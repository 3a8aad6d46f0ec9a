//! Who subscribes late receives what comes, and what was before only on request.

use serde_json::json;
use tidings_tests::cli;
use tidings_tests::cluster::Cluster;
use tidings_tests::control::texts;
use tidings_tests::wait::SOON;

#[test]
fn a_late_subscriber_is_not_surprised_by_the_past() {
    let mut cluster = Cluster::start(3, 4);
    let mut controls = cluster.topic("Sports");
    for number in 0..10 {
        controls[number % 2].publish("Sports", &format!("old {number}"));
    }
    for control in &mut controls {
        control.pull_all("Sports", 10, SOON);
    }
    let late = cluster.add_peer();
    cluster.wait_whole();
    let mut control = cluster.peers[late].control();
    control.subscribe("Sports");
    // Longer than the interval at which neighbours compare what they have.
    assert_eq!(texts(&control.pull("Sports", 7_000)), [""; 0]);
    controls[0].publish("Sports", "new");
    let messages = control.pull_all("Sports", 1, SOON);
    assert_eq!(texts(&messages), ["new"]);
    assert_eq!(control.pull("Sports", 1_000).len(), 0);
}

#[test]
fn a_late_subscriber_gets_everything_on_request() {
    let mut cluster = Cluster::start(3, 4);
    let mut controls = cluster.topic("Sports");
    for number in 0..10 {
        controls[number % 2].publish("Sports", &format!("old {number}"));
    }
    for control in &mut controls {
        control.pull_all("Sports", 10, SOON);
    }
    let late = cluster.add_peer();
    cluster.wait_whole();
    let mut control = cluster.peers[late].control();
    control.ok(&json!({"command": "subscribe", "topic": "Sports", "from": "all"}));
    let messages = control.pull_all("Sports", 10, SOON);
    for publisher in 0..2 {
        let of: Vec<_> = messages
            .iter()
            .filter(|message| message["origin"] == cluster.peers[publisher].id())
            .map(|message| message["message"].as_str().unwrap())
            .collect();
        let expected: Vec<_> = (0..5).map(|n| format!("old {}", 2 * n + publisher)).collect();
        assert_eq!(of, expected);
    }

    let second = cluster.add_peer();
    cluster.wait_whole();
    let arguments = ["sub", "Sports", "--all", "--count", "10", "--raw", "--wait", "15s"];
    let ended = cli::peer(&cluster.peers[second], &arguments).expect_code(0);
    let mut lines: Vec<_> = ended.text().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, (0..10).map(|n| format!("old {n}")).collect::<Vec<_>>());
}

#[test]
fn what_the_publisher_alone_retains_is_found_too() {
    let cluster = Cluster::start(3, 2);
    let mut controls = cluster.controls();
    controls[0].create("diary");
    controls[0].subscribe("diary");
    controls[0].publish("diary", "nobody listens yet");
    controls[1].ok(&json!({"command": "subscribe", "topic": "diary", "from": "all"}));
    assert_eq!(texts(&controls[1].pull_all("diary", 1, SOON)), ["nobody listens yet"]);
}
