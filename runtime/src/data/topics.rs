//! The file of a node's own topics: a line for each record, in hexadecimal, and below them what
//! has changed since. Of several lines about a topic the last one counts.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use tidings_proto::Topic;
use tidings_proto::peer::event::OwnTopics;
use tidings_proto::wire::record::{Record, SignedRecord};

use super::{DataDir, DataError, Sync, at, write_atomically};

const TOPICS: &str = "topics";
/// Begins the line of a topic that is the node's own no more; its name follows.
const GONE: char = '-';
/// Ends such a line: a part of a name may be a name too.
const END: char = '.';
/// A million topics that a peer hosts, as many that it takes part in (the largest limits that may
/// be configured), and as many changes.
const LINES_MAX: usize = 4_100_000;

/// Keeps the records of a node's own topics.
#[derive(Debug)]
pub struct TopicsFile {
    path: PathBuf,
    /// What could not be written yet: no more than all topics and as many changes, since all come
    /// again then.
    unwritten: Vec<u8>,
    /// That is to replace all that is written.
    replaces: bool,
}

impl TopicsFile {
    /// That of a data directory.
    pub fn new(data: &DataDir) -> Self {
        Self { path: data.path().join(TOPICS), unwritten: Vec::new(), replaces: false }
    }

    /// The records from a former life, ordered by name; none when there is no such file. Damaged
    /// lines are left out, and signatures are for the reader to check: where seeds are reachable
    /// they know better anyway.
    pub fn load(&self) -> Vec<SignedRecord> {
        let text = std::fs::read(&self.path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut topics = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty()).take(LINES_MAX) {
            match parse(line) {
                Some(Line::Is(name, record)) => drop(topics.insert(name, record)),
                Some(Line::Gone(name)) => drop(topics.remove(&name)),
                None => {}
            }
        }
        topics.into_values().collect()
    }

    /// Keeps all topics, or what has changed. It need not survive a power cut.
    ///
    /// # Errors
    /// The file cannot be written. It is tried again with what is saved next.
    pub fn save(&mut self, topics: &OwnTopics) -> Result<(), DataError> {
        match topics {
            OwnTopics::All(records) => {
                self.unwritten = to_lines(records, &[]);
                self.replaces = true;
            }
            OwnTopics::Changed { records, gone } => {
                self.unwritten.append(&mut to_lines(records, gone));
            }
        }
        let written = match self.replaces {
            true => write_atomically(&self.path, &self.unwritten, Sync::No),
            false => OpenOptions::new()
                .append(true)
                .create(true)
                .open(&self.path)
                .and_then(|mut file| file.write_all(&self.unwritten)),
        };
        written.map_err(at(&self.path))?;
        (self.unwritten, self.replaces) = (Vec::new(), false);
        Ok(())
    }
}

/// Each line begins with its end, so that a line that was half written spoils no other.
fn to_lines(records: &[SignedRecord], gone: &[Topic]) -> Vec<u8> {
    let mut lines = Vec::new();
    for record in records {
        lines.push(b'\n');
        push_hex(&mut lines, &record.to_bytes());
    }
    for topic in gone {
        lines.extend([b'\n', GONE as u8]);
        push_hex(&mut lines, topic.as_str().as_bytes());
        lines.push(END as u8);
    }
    lines.push(b'\n');
    lines
}

/// What a line says of a topic.
enum Line {
    Is(String, SignedRecord),
    Gone(String),
}

fn parse(line: &str) -> Option<Line> {
    if let Some(name) = line.strip_prefix(GONE) {
        let name = name.strip_suffix(END)?;
        return Some(Line::Gone(String::from_utf8(from_hex(name)?).ok()?));
    }
    let signed = SignedRecord::from_bytes(&from_hex(line)?)?;
    match &signed.record {
        Record::Topic(record) => Some(Line::Is(record.topic.to_string(), signed)),
        _ => None,
    }
}

fn push_hex(text: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    text.reserve(2 * bytes.len());
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
}

fn from_hex(line: &str) -> Option<Vec<u8>> {
    let digits = line.trim_ascii().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tidings_proto::crypto::{Scheme, Signer};
    use tidings_proto::wire::record::{TopicPolicy, TopicRecord};

    use super::*;

    fn record(name: &str, version: u64) -> SignedRecord {
        let signer = Signer::ed25519(&[3; 32]);
        let record = TopicRecord {
            topic: topic(name),
            generation: 1,
            version,
            host: signer.node(),
            created_at_us: -1,
            policy: TopicPolicy::default(),
            deleted: false,
        };
        SignedRecord::sign(Record::Topic(record), &signer)
    }

    fn topic(name: &str) -> Topic {
        Topic::new(name).expect("legal")
    }

    fn changed(records: &[SignedRecord], gone: &[Topic]) -> OwnTopics {
        OwnTopics::Changed { records: records.to_vec(), gone: gone.to_vec() }
    }

    fn open(path: &Path) -> TopicsFile {
        TopicsFile { path: path.join(TOPICS), unwritten: Vec::new(), replaces: false }
    }

    #[test]
    fn topics_survive_and_damaged_lines_are_left_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut file = open(dir.path());
        assert_eq!(file.load(), []);
        let records = [record("a", 1), record("größe/b", 1)];
        file.save(&OwnTopics::All(records.to_vec())).expect("room");
        let mut bytes = std::fs::read(&file.path).expect("it is there");
        let half = bytes[..40].to_vec();
        bytes.extend_from_slice(&half);
        // Parts of what a record or the name of one that is gone would be.
        let (odd, whole) = (&half[..39], b"\nxyz\n\xff\n\n-zz.\n-\n-61\n-6.\n");
        bytes.extend_from_slice(whole);
        bytes.extend_from_slice(odd);
        bytes.push(b'\n');
        bytes.extend_from_slice(&half);
        std::fs::write(&file.path, bytes).expect("room");
        assert_eq!(file.load(), records);
        assert!(file.load().iter().all(|record| record.verify(Scheme::Ed25519)));
        file.save(&changed(&[record("c", 1)], &[])).expect("room");
        assert_eq!(file.load().len(), 3, "what follows a half line counts");
    }

    #[test]
    fn the_last_word_on_a_topic_counts() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut file = open(dir.path());
        file.save(&OwnTopics::All(vec![record("a", 1), record("b", 1)])).expect("room");
        file.save(&changed(&[record("a", 2), record("größe", 1)], &[topic("b")])).expect("room");
        assert_eq!(open(dir.path()).load(), [record("a", 2), record("größe", 1)]);
        file.save(&changed(&[record("b", 1)], &[topic("größe")])).expect("room");
        assert_eq!(file.load(), [record("a", 2), record("b", 1)]);
        file.save(&OwnTopics::All(vec![record("b", 2)])).expect("room");
        assert_eq!(file.load(), [record("b", 2)]);
    }

    #[test]
    fn what_could_not_be_written_is_written_later() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut file = open(dir.path());
        file.save(&OwnTopics::All(vec![record("a", 1)])).expect("room");
        let path = file.path.clone();
        file.path = dir.path().join("missing/topics");
        assert!(file.save(&changed(&[record("b", 1)], &[])).is_err());
        assert!(file.save(&changed(&[], &[topic("a")])).is_err());
        file.path = path.clone();
        file.save(&changed(&[record("c", 1)], &[])).expect("room");
        assert_eq!(file.load(), [record("b", 1), record("c", 1)]);
        file.path = dir.path().join("missing/topics");
        assert!(file.save(&OwnTopics::All(vec![record("d", 1)])).is_err());
        assert!(file.save(&changed(&[record("e", 1)], &[])).is_err());
        file.path = path;
        file.save(&changed(&[record("f", 1)], &[topic("e")])).expect("room");
        assert_eq!(file.load(), [record("d", 1), record("f", 1)], "all else is replaced");
    }
}
