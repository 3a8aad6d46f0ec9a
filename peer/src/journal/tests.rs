use std::task::Wake;

use tidings_proto::crypto::Signer;
use tidings_proto::wire::batch::{BatchHeader, Message as Sent};
use tidings_proto::{Incarnation, NodeId};

use super::*;
use crate::delivery::{Delivery, GapReason};
use std::task::{Context, Poll};

fn topic() -> Topic {
    Topic::new("t").expect("legal")
}

fn origin(n: u8) -> Origin {
    Origin { node: NodeId([n; 32]), incarnation: Incarnation(1) }
}

/// Messages `first..=last` of the stream of `n`, each of `size` bytes.
fn batch(n: u8, first: u64, last: u64, size: usize) -> Arc<Batch> {
    let header = BatchHeader {
        topic: topic(),
        origin: origin(n),
        address: "127.0.0.1:7200".parse().expect("an address"),
        generation: 1,
        first_seq: first,
        published_at_us: 0,
        count: 0,
    };
    let messages: Vec<_> = (first..=last).map(|_| Sent::new(vec![0; size])).collect();
    Batch::sign(header, &messages, &Signer::Checksum(origin(n).node))
}

fn journal(messages_max: usize, bytes_max: usize) -> (Arc<Journal>, Reader) {
    let limits = QueueLimits { messages_max, bytes_max };
    let journal = Arc::new(Journal::new(topic(), limits, 1_000, Arc::default()));
    let reader = Reader::at_end(&journal, None);
    (journal, reader)
}

fn kept(journal: &Journal) -> u64 {
    journal.lock().entries.backlog(0).messages
}

/// Everything that can be read, in short: `1:5` is message 5 of stream 1, `1:5-7!` a gap that the
/// slow reader caused, `1:5-7?` one that nobody could fill.
fn read(reader: &mut Reader) -> Vec<String> {
    let deliveries = std::iter::from_fn(|| reader.try_next());
    deliveries
        .map(|delivery| match delivery {
            Delivery::Message(m) => format!("{}:{}", m.origin.0[0], m.seq),
            Delivery::Gap(gap) => {
                let mark = if gap.reason == GapReason::SlowConsumer { '!' } else { '?' };
                format!("{}:{}-{}{mark}", gap.origin.0[0], gap.from, gap.to)
            }
            Delivery::TopicDeleted(_) => "deleted".to_owned(),
        })
        .collect()
}

#[test]
fn messages_before_the_first_wanted_one_are_left_out() {
    let (queue, mut reader) = journal(100, 1 << 20);
    queue.push(&batch(1, 1, 4, 1), 3);
    queue.push(&batch(1, 5, 5, 1), 6);
    assert_eq!(reader.len(), 2);
    assert_eq!(read(&mut reader), ["1:3", "1:4"]);
    assert_eq!(reader.len(), 0);
}

#[test]
fn overflow_drops_the_oldest_and_names_the_range() {
    let (queue, mut reader) = journal(4, 1 << 20);
    queue.push(&batch(1, 1, 3, 1), 2);
    queue.push(&batch(2, 1, 2, 1), 1);
    queue.push(&batch(1, 4, 5, 1), 4);
    assert_eq!(queue.dropped_total.load(Ordering::Relaxed), 2);
    assert_eq!(read(&mut reader), ["1:2-3!", "2:1", "2:2", "1:4", "1:5"]);
    assert_eq!(reader.dropped(), 2);
}

#[test]
fn ranges_that_are_dropped_one_after_the_other_are_told_as_one() {
    let (queue, mut reader) = journal(2, 1 << 20);
    for seq in 1..=9 {
        queue.push(&batch(1, seq, seq, 1), seq);
    }
    assert_eq!(reader.len(), 2);
    assert_eq!(read(&mut reader), ["1:1-7!", "1:8", "1:9"]);
    assert_eq!(reader.dropped(), 7);
}

#[test]
fn what_is_being_read_is_not_dropped() {
    let (queue, mut reader) = journal(4, 1 << 20);
    queue.push(&batch(1, 1, 3, 1), 1);
    assert!(reader.try_next().is_some());
    for seq in 4..=7 {
        queue.push(&batch(1, seq, seq, 1), seq);
    }
    assert_eq!(read(&mut reader), ["1:2", "1:3", "1:4", "1:5", "1:6", "1:7"]);
}

#[test]
fn bytes_are_limited_but_one_batch_always_fits() {
    let (queue, mut reader) = journal(100, 1_000);
    queue.push(&batch(1, 1, 1, 5_000), 1);
    assert_eq!(reader.len(), 1);
    queue.push(&batch(1, 2, 2, 5_000), 2);
    assert_eq!(read(&mut reader), ["1:1-1!", "1:2"]);
}

#[test]
fn gaps_are_kept_in_order_and_bounded() {
    let (queue, mut reader) = journal(3, 1 << 20);
    queue.push(&batch(1, 1, 1, 1), 1);
    queue.push_gap(origin(1), 2, 4);
    queue.push(&batch(1, 5, 5, 1), 5);
    assert_eq!(read(&mut reader), ["1:1", "1:2-4?", "1:5"]);
    for n in 0..50 {
        queue.push_gap(origin(2), 10 * n + 1, 10 * n + 5);
    }
    assert_eq!(reader.dropped(), 0, "a gap is not a message");
    assert_eq!(read(&mut reader), ["2:1-465!", "2:471-475?", "2:481-485?", "2:491-495?"]);
}

#[test]
fn history_comes_first_with_numbers_right_before_what_is_live() {
    let (queue, mut reader) = journal(100, 1 << 20);
    let entry = |batch: Arc<Batch>| Entry::Batch { from_seq: batch.header().first_seq, batch };
    reader.prepend(vec![entry(batch(1, 2, 3, 1)), entry(batch(2, 7, 7, 1))]);
    assert_eq!(reader.history().map(|slot| slot.ordinal).collect::<Vec<_>>(), [997, 999]);
    assert_eq!(queue.push(&batch(1, 4, 4, 1), 4).ordinal, 1_000);
    assert_eq!((reader.ordinal(), reader.len()), (997, 4));
    assert!(reader.try_next().is_some());
    assert_eq!(reader.ordinal(), 998);
    assert_eq!(read(&mut reader), ["1:3", "2:7", "1:4"]);
    assert_eq!(reader.ordinal(), 1_001);
}

#[test]
fn each_reader_has_a_place_of_its_own_over_one_copy() {
    let (queue, mut one) = journal(100, 1 << 20);
    let mut others: Vec<_> = (0..1_000).map(|_| Reader::at_end(&queue, None)).collect();
    for seq in 1..=10 {
        queue.push(&batch(1, seq, seq, 1), seq);
    }
    assert_eq!(read(&mut one).len(), 10);
    assert_eq!((one.len(), others[7].len(), kept(&queue)), (0, 10, 10));
    let last = others.pop().expect("a thousand");
    for reader in &mut others {
        assert_eq!(read(reader).len(), 10);
    }
    assert_eq!(kept(&queue), 10, "one has not read");
    drop(last);
    assert_eq!(kept(&queue), 0, "nobody waits for it");
}

#[test]
fn who_reads_slowly_is_told_what_is_lost_since_their_own_place() {
    let (queue, mut first) = journal(3, 1 << 20);
    queue.push(&batch(1, 1, 1, 1), 1);
    queue.push(&batch(2, 1, 1, 1), 1);
    let mut second = Reader::at_end(&queue, None);
    for seq in 2..=6 {
        queue.push(&batch(1, seq, seq, 1), seq);
    }
    let mut third = Reader::at_end(&queue, None);
    queue.push(&batch(1, 7, 7, 1), 7);
    assert_eq!(read(&mut second), ["1:2-4!", "1:5", "1:6", "1:7"]);
    assert_eq!(read(&mut first), ["1:1-4!", "2:1-1!", "1:5", "1:6", "1:7"]);
    assert_eq!(read(&mut third), ["1:7"]);
    assert_eq!((first.dropped(), second.dropped(), third.dropped()), (5, 3, 0));
    assert_eq!(queue.dropped_total.load(Ordering::Relaxed), 8);
    assert_eq!(kept(&queue), 0);
}

#[test]
fn what_a_reader_lost_is_kept_for_who_reads_from_further_back() {
    let (queue, mut behind) = journal(2, 1 << 20);
    queue.push(&batch(1, 1, 1, 1), 1);
    let between = Reader::at_end(&queue, None);
    for seq in 2..=5 {
        queue.push(&batch(1, seq, seq, 1), seq);
    }
    drop(between);
    assert_eq!(read(&mut behind), ["1:1-3!", "1:4", "1:5"]);
}

#[test]
fn a_reader_with_limits_of_its_own_skips_alone() {
    let (queue, mut patient) = journal(100, 1 << 20);
    let limits = QueueLimits { messages_max: 2, bytes_max: 1 << 20 };
    let mut hasty = Reader::at_end(&queue, Some(limits));
    for seq in 1..=5 {
        queue.push(&batch(1, seq, seq, 1), seq);
    }
    assert_eq!(hasty.len(), 2);
    assert_eq!(read(&mut hasty), ["1:1-3!", "1:4", "1:5"]);
    assert_eq!(read(&mut patient).len(), 5);
    assert_eq!((hasty.dropped(), patient.dropped()), (3, 0));
}

#[test]
fn a_deleted_topic_ends_the_queue_after_what_it_holds() {
    let (queue, mut reader) = journal(10, 1 << 20);
    queue.push(&batch(1, 1, 1, 1), 1);
    queue.topic_deleted();
    queue.push(&batch(1, 2, 2, 1), 2);
    assert!(!reader.is_finished());
    assert_eq!(read(&mut reader), ["1:1", "deleted"]);
    assert!(reader.is_finished());
}

#[test]
fn what_an_ended_reader_holds_passes_to_its_successor() {
    let (queue, mut former) = journal(10, 1 << 20);
    queue.push(&batch(1, 1, 3, 1), 1);
    assert!(former.try_next().is_some());
    queue.topic_deleted();
    assert!(former.is_closed() && !former.is_finished());
    let (queue, mut successor) = journal(10, 1 << 20);
    queue.push(&batch(2, 1, 1, 1), 1);
    successor.inherit(&mut former);
    assert!(former.is_finished());
    assert_eq!(successor.len(), 3);
    assert_eq!(read(&mut successor), ["1:2", "1:3", "deleted", "2:1"]);
}

struct Count(std::sync::atomic::AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn all_that_wait_are_woken_and_their_number_is_bounded() {
    let (queue, mut reader) = journal(10, 1 << 20);
    let counts: Vec<_> = (0..WAKERS_MAX + 1).map(|_| Arc::new(Count(Default::default()))).collect();
    for count in &counts {
        let waker = Waker::from(Arc::clone(count));
        assert!(reader.poll_next(&mut Context::from_waker(&waker)).is_pending());
        assert!(reader.poll_next(&mut Context::from_waker(&waker)).is_pending());
    }
    queue.push(&batch(1, 1, 1, 1), 1);
    queue.close();
    let woken = |count: &Arc<Count>| count.0.load(Ordering::SeqCst);
    assert!(counts.iter().all(|count| woken(count) == 1));
    let waker = Waker::noop();
    assert!(reader.poll_next(&mut Context::from_waker(waker)).is_ready());
    assert_eq!(reader.poll_next(&mut Context::from_waker(waker)), Poll::Ready(None));
}

#[test]
fn what_a_reader_has_from_elsewhere_is_its_own_affair() {
    let (journal, mut other) = journal(100, 10_000);
    let mut reader = Reader::at_end(&journal, None);
    reader.knows(origin(1), 4);
    reader.knows(origin(2), u64::MAX);
    reader.knows(origin(3), 2);
    journal.push(&batch(1, 2, 3, 1), 2);
    journal.push(&batch(2, 7, 8, 1), 7);
    let mut context = Context::from_waker(Waker::noop());
    assert!(reader.poll_next(&mut context).is_pending(), "nothing for it, and no end");
    journal.push(&batch(1, 4, 6, 1), 4);
    journal.push_gap(origin(3), 1, 5);
    journal.push(&batch(3, 9, 9, 1), 9);
    assert_eq!(read(&mut reader), ["1:5", "1:6", "3:3-5?", "3:9"]);
    assert_eq!(reader.ordinal(), 1_008);
    let all = ["1:2", "1:3", "2:7", "2:8", "1:4", "1:5", "1:6", "3:1-5?", "3:9"];
    assert_eq!(read(&mut other), all);
    reader.knows(origin(4), 2);
    journal.push(&batch(4, 5, 5, 1), 5);
    assert_eq!(read(&mut reader), ["4:3-4?", "4:5"], "what nobody brings is told");
}
