//! A peer whose applications create and delete a topic that others want too. The test plays the
//! seeds.

use super::rig::topic;
use super::sessions::Stage;
use crate::crypto::Signer;
use crate::id::{LinkId, NodeId, RequestId};
use crate::machine::Input;
use crate::peer::event::{Answer, Command, CommandError};
use crate::wire::frame::{Found, Frame, Hosting, Outcome, Propose, Proposed};
use crate::wire::record::{Record, SignedRecord, TopicPolicy, TopicRecord};

/// The peer under test, and another one.
const ME: u8 = 1;
const OTHER: u8 = 2;

fn record(host: u8, generation: u64, deleted: bool) -> SignedRecord {
    let record = TopicRecord {
        topic: topic(),
        generation,
        version: 1 + u64::from(deleted),
        host: NodeId([host; 32]),
        created_at_us: 0,
        policy: TopicPolicy::default(),
        deleted,
    };
    SignedRecord::sign(Record::Topic(record), &Signer::Checksum(NodeId([host; 32])))
}

fn joined() -> Stage {
    let mut stage = Stage::new(3);
    stage.join();
    stage.join();
    stage.sent.clear();
    stage
}

fn create(stage: &mut Stage) {
    let (request, policy) = (RequestId(1), TopicPolicy::default());
    let command = Command::CreateTopic { request, topic: topic(), exist_ok: false, policy };
    stage.input(Input::Command(command));
}

fn delete(stage: &mut Stage) {
    stage.input(Input::Command(Command::DeleteTopic { request: RequestId(2), topic: topic() }));
}

/// All seeds answer what they were asked about the topic.
fn find(stage: &mut Stage, record: Option<&SignedRecord>) {
    for (link, frame) in std::mem::take(&mut stage.sent) {
        if let Frame::Lookup(asked) = frame {
            let found = Found {
                request: asked.request,
                topic: topic(),
                record: record.cloned(),
                subscribers: Vec::new(),
                total: 0,
                hosting: Hosting::None,
                forgotten: 0,
            };
            stage.input(Input::Received { link, frame: Frame::Found(Box::new(found)) });
        } else {
            stage.sent.push((link, frame));
        }
    }
}

/// Takes the records that were proposed since.
fn proposed(stage: &mut Stage) -> Vec<(LinkId, Propose)> {
    let of = |(link, frame): (LinkId, Frame)| match frame {
        Frame::Propose(propose) => Some((link, *propose)),
        _ => None,
    };
    std::mem::take(&mut stage.sent).into_iter().filter_map(of).collect()
}

fn answer(stage: &mut Stage, (link, propose): &(LinkId, Propose), outcome: Outcome) {
    let frame = Frame::Proposed(Proposed { request: propose.request, outcome });
    stage.input(Input::Received { link: *link, frame });
}

fn against(record: SignedRecord) -> Outcome {
    Outcome::Against(Box::new(record))
}

#[test]
fn what_is_only_remembered_is_no_reason_to_refuse() {
    let mut stage = joined();
    stage.input(Input::Command(Command::TopicInfo { request: RequestId(1), topic: topic() }));
    find(&mut stage, Some(&record(OTHER, 1, false)));
    assert!(matches!(stage.answers[..], [Answer::Topic(_)]));
    // The seeds say nothing more.
    create(&mut stage);
    delete(&mut stage);
    stage.run(15_000);
    let is_open = |error: &CommandError| matches!(error, CommandError::NoQuorum { .. });
    assert!(stage.refusals.len() == 2 && stage.refusals.iter().all(is_open));
    let mut stage = joined();
    create(&mut stage);
    delete(&mut stage);
    find(&mut stage, Some(&record(OTHER, 1, false)));
    let refusals = &stage.refusals[..];
    assert!(
        matches!(refusals, [CommandError::TopicExists { .. }, CommandError::NotHost { .. }]),
        "{refusals:?}"
    );
}

#[test]
fn of_two_who_delete_a_topic_at_once_one_is_told_that_it_did() {
    let mut stage = joined();
    delete(&mut stage);
    delete(&mut stage);
    find(&mut stage, Some(&record(ME, 1, false)));
    let both = proposed(&mut stage);
    assert_eq!((both.len(), &both[0].1.record), (2, &both[1].1.record));
    answer(&mut stage, &both[1], Outcome::Kept);
    answer(&mut stage, &both[0], Outcome::Kept);
    assert_eq!(stage.answers, [Answer::Done]);
    assert_eq!(stage.refusals, [CommandError::TopicNotFound(topic())]);
}

#[test]
fn who_was_too_late_tries_again_when_the_faster_one_has_ended_the_topic() {
    let mut stage = joined();
    create(&mut stage);
    find(&mut stage, None);
    let first = proposed(&mut stage);
    answer(&mut stage, &first[0], against(record(OTHER, 1, true)));
    let second = proposed(&mut stage);
    let Record::Topic(again) = &second[0].1.record.record else { panic!("a topic") };
    assert_eq!((again.generation, again.host), (2, NodeId([ME; 32])));
    answer(&mut stage, &second[0], against(record(OTHER, 2, false)));
    let host = NodeId([OTHER; 32]);
    assert_eq!(stage.refusals, [CommandError::TopicExists { topic: topic(), host }]);
    assert!(stage.answers.is_empty() && proposed(&mut stage).is_empty());
}

#[test]
fn of_two_who_create_a_topic_at_once_none_is_told_that_there_is_no_majority() {
    let mut stage = joined();
    create(&mut stage);
    stage.run(1);
    create(&mut stage);
    find(&mut stage, None);
    let both = proposed(&mut stage);
    assert_eq!(both.len(), 2);
    answer(&mut stage, &both[0], Outcome::Kept);
    answer(&mut stage, &both[1], against(both[0].1.record.clone()));
    assert!(matches!(stage.answers[..], [Answer::Topic(_)]));
    let host = NodeId([ME; 32]);
    assert_eq!(stage.refusals, [CommandError::TopicExists { topic: topic(), host }]);
}

#[test]
fn what_can_only_have_happened_is_told_as_done() {
    let mut stage = joined();
    delete(&mut stage);
    find(&mut stage, Some(&record(ME, 1, false)));
    let deletion = proposed(&mut stage);
    // Nobody else could create it while it was there.
    answer(&mut stage, &deletion[0], against(record(OTHER, 2, false)));
    assert_eq!((&stage.answers[..], &stage.refusals[..]), (&[Answer::Done][..], &[][..]));

    // A creation that is not answered before the deletion is, and one that hears of it itself.
    for told in [false, true] {
        let mut stage = joined();
        create(&mut stage);
        find(&mut stage, None);
        let creation = proposed(&mut stage);
        delete(&mut stage);
        find(&mut stage, Some(&creation[0].1.record));
        let deletion = proposed(&mut stage);
        if told {
            answer(&mut stage, &creation[0], against(deletion[0].1.record.clone()));
        }
        answer(&mut stage, &deletion[0], Outcome::Kept);
        assert!(stage.refusals.is_empty());
        assert!(stage.answers.contains(&Answer::Done));
        let created = stage.answers.iter().any(|answer| matches!(answer, Answer::Topic(_)));
        assert!(created && stage.answers.len() == 2, "{:?}", stage.answers);
    }
}

#[test]
fn nobody_tries_for_ever() {
    let mut stage = joined();
    create(&mut stage);
    find(&mut stage, None);
    for generation in 1..=super::super::hosting::ATTEMPTS_MAX {
        let next = proposed(&mut stage);
        assert_eq!(next.len(), 1, "attempt {generation}");
        answer(&mut stage, &next[0], against(record(OTHER, generation.into(), true)));
    }
    assert!(proposed(&mut stage).is_empty());
    assert!(matches!(stage.refusals[..], [CommandError::NoQuorum { .. }]));
}
