#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use super::*;

fn config(dir: &Path) -> LogConfig {
    LogConfig { dir: dir.to_owned(), stderr: false, ..LogConfig::default() }
}

/// What `act` logs, as the lines of the file.
fn logged(config: &LogConfig, act: impl FnOnce()) -> Vec<String> {
    let (lines, guard) = open(config, "node").unwrap();
    tracing::subscriber::with_default(lines, act);
    guard.flush();
    let text = fs::read_to_string(config.dir.join("node.log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn after_time(line: &str) -> &str {
    let (time, rest) = line.split_once(' ').unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{time}");
    assert_eq!((time.len(), &time[19..20], &time[26..]), (27, ".", "Z"), "{time}");
    rest
}

#[test]
fn text_lines_have_event_classic_line_and_fields() {
    let dir = tempfile::tempdir().unwrap();
    let lines = logged(&config(dir.path()), || {
        let classic = "1763712300.123456:127.0.0.1:7201:1";
        tracing::info!(topic = "Sports", bytes = 24, line = classic, from = %"ab12…", "gossip");
        tracing::warn!(name = "two words", empty = "", quote = "a\"b", eq = "a=b", "odd_values");
        tracing::info!(text = "x\ny\u{1b}[31m", line = "no\nsecond", r#type = true, "hostile");
        tracing::info!("A sentence.");
        assert!(tracing::enabled!(tracing::Level::INFO));
        assert!(!tracing::enabled!(tracing::Level::DEBUG));
        tracing::debug!("not_shown");
        tracing::info!(target: "hyper", "not_shown");
        tracing::warn!(target: "hyper", "shown");
    });
    let lines: Vec<_> = lines.iter().map(|line| after_time(line)).collect();
    let expected = [
        "INFO gossip 1763712300.123456:127.0.0.1:7201:1 topic=Sports bytes=24 from=ab12…",
        r#"WARN odd_values name="two words" empty="" quote="a\"b" eq="a=b""#,
        r#"INFO hostile no\nsecond text="x\ny\u001b[31m" type=true"#,
        r#"INFO note text="A sentence.""#,
        "WARN shown",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn json_lines_are_objects() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { format: LogFormat::Json, ..config(dir.path()) };
    let lines = logged(&config, || {
        tracing::info!(line = "1:2:3", n = -4, ok = true, text = "a\"\\\n\u{7}", half = 0.5, "all");
    });
    let value: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    let object = value.as_object().unwrap();
    let keys: Vec<_> = object.keys().map(String::as_str).collect();
    assert_eq!(keys.len(), 8, "{keys:?}");
    assert_eq!((&value["level"], &value["event"]), (&"INFO".into(), &"all".into()));
    assert_eq!((&value["line"], &value["n"]), (&"1:2:3".into(), &(-4).into()));
    assert_eq!((&value["ok"], &value["text"]), (&true.into(), &"a\"\\\n\u{7}".into()));
    assert_eq!(value["half"], 0.5);
}

#[test]
fn files_rotate_by_size_and_lose_no_line() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { rotate_bytes: 1_000, rotate_keep: 3, ..config(dir.path()) };
    let (lines, guard) = open(&config, "node").unwrap();
    tracing::subscriber::with_default(lines, || {
        for i in 0..60 {
            tracing::info!(i, "line");
        }
        tracing::info!(text = "x".repeat(3_000), "longer_than_a_file");
        tracing::info!("last");
    });
    guard.flush();
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap_or_default();
    assert!(after_time(&read("node.log")).starts_with("INFO last\n"));
    assert!(read("node.log.1").len() > 3_000);
    let older = read("node.log.3") + &read("node.log.2");
    assert!(read("node.log.2").len() <= 1_000 && read("node.log.2").ends_with("i=59\n"));
    let numbers: Vec<_> =
        older.lines().map(|l| l.rsplit_once("i=").unwrap().1.parse::<u32>().unwrap()).collect();
    let expected: Vec<_> = (60 - u32::try_from(numbers.len()).unwrap()..60).collect();
    assert_eq!(numbers, expected);
    assert_eq!(read("node.log.4"), "", "only three are kept");
    assert_eq!((guard.counters().lines(), guard.counters().dropped()), (62, 0));
}

#[test]
fn logs_are_appended_to_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    logged(&config, || tracing::info!("one"));
    let lines = logged(&config, || tracing::info!("two"));
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[test]
fn a_full_disk_and_an_unwritable_directory_stop_nothing() {
    let full = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", full.path().join("node.log")).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    for dir in [full.path(), &file.path().join("below/a/file")] {
        let (lines, guard) = open(&config(dir), "node").unwrap();
        tracing::subscriber::with_default(lines, || {
            (0..100).for_each(|i| tracing::info!(i, "line"));
        });
        guard.flush();
        let counters = guard.counters();
        assert_eq!((counters.lines(), counters.dropped()), (100, 100), "{}", dir.display());
        assert!(counters.write_errors() >= 1);
    }
}

/// A target that holds up its thread.
struct Stuck(std::sync::mpsc::Receiver<()>);

impl sink::Target for Stuck {
    fn write(&mut self, _lines: &[u8]) {
        let _ = self.0.recv();
    }
}

#[test]
fn a_stuck_target_loses_lines_but_never_waits() {
    let (release, stuck) = std::sync::mpsc::sync_channel(1);
    let counters = Arc::new(LogCounters::default());
    let sink = Sink::start(Stuck(stuck), LogFormat::Text, counters.clone()).unwrap();
    let line = "x".repeat(1 << 20);
    let begun = std::time::Instant::now();
    for _ in 0..100 {
        sink.push(&line);
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    assert!(counters.dropped() >= 80, "{}", counters.dropped());
    drop(release);
    sink.flush();
}
