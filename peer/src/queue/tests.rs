use std::task::Wake;

use tidings_proto::crypto::Signer;
use tidings_proto::wire::batch::{BatchHeader, Message as Sent};
use tidings_proto::{Incarnation, NodeId};

use super::*;

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

fn queue(messages_max: usize, bytes_max: usize) -> Queue {
    Queue::new(topic(), QueueLimits { messages_max, bytes_max }, false, Arc::default())
}

/// Everything that can be read, in short: `1:5` is message 5 of stream 1, `1:5-7!` a gap that the
/// slow reader caused, `1:5-7?` one that nobody could fill.
fn read(queue: &Queue) -> Vec<String> {
    let deliveries = std::iter::from_fn(|| queue.try_next());
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
    let queue = queue(100, 1 << 20);
    queue.push(&batch(1, 1, 4, 1), 3);
    queue.push(&batch(1, 5, 5, 1), 6);
    assert_eq!(queue.len(), 2);
    assert_eq!(read(&queue), ["1:3", "1:4"]);
    assert_eq!(queue.len(), 0);
}

#[test]
fn overflow_drops_the_oldest_and_names_the_range() {
    let queue = queue(4, 1 << 20);
    queue.push(&batch(1, 1, 3, 1), 2);
    queue.push(&batch(2, 1, 2, 1), 1);
    queue.push(&batch(1, 4, 5, 1), 4);
    assert_eq!(queue.dropped(), 2);
    assert_eq!(read(&queue), ["1:2-3!", "2:1", "2:2", "1:4", "1:5"]);
}

#[test]
fn ranges_that_are_dropped_one_after_the_other_are_told_as_one() {
    let queue = queue(2, 1 << 20);
    for seq in 1..=9 {
        queue.push(&batch(1, seq, seq, 1), seq);
    }
    assert_eq!((queue.dropped(), queue.len()), (7, 2));
    assert_eq!(read(&queue), ["1:1-7!", "1:8", "1:9"]);
}

#[test]
fn what_is_being_read_is_not_dropped() {
    let queue = queue(4, 1 << 20);
    queue.push(&batch(1, 1, 3, 1), 1);
    assert!(queue.try_next().is_some());
    for seq in 4..=7 {
        queue.push(&batch(1, seq, seq, 1), seq);
    }
    assert_eq!(read(&queue), ["1:2", "1:3", "1:4-5!", "1:6", "1:7"]);
}

#[test]
fn bytes_are_limited_but_one_batch_always_fits() {
    let queue = queue(100, 1_000);
    queue.push(&batch(1, 1, 1, 5_000), 1);
    assert_eq!(queue.len(), 1);
    queue.push(&batch(1, 2, 2, 5_000), 2);
    assert_eq!(read(&queue), ["1:1-1!", "1:2"]);
}

#[test]
fn gaps_are_kept_in_order_and_bounded() {
    let queue = queue(3, 1 << 20);
    queue.push(&batch(1, 1, 1, 1), 1);
    queue.push_gap(origin(1), 2, 4);
    queue.push(&batch(1, 5, 5, 1), 5);
    assert_eq!(read(&queue), ["1:1", "1:2-4?", "1:5"]);
    for n in 0..50 {
        queue.push_gap(origin(2), 10 * n + 1, 10 * n + 5);
    }
    assert_eq!(queue.dropped(), 0, "a gap is not a message");
    assert_eq!(read(&queue), ["2:1-465!", "2:471-475?", "2:481-485?", "2:491-495?"]);
}

#[test]
fn a_replay_is_followed_by_what_is_live_without_hole_or_duplicate() {
    let queue = Queue::new(topic(), QueueLimits::default(), true, Arc::default());
    let retained = [batch(1, 4, 5, 1), batch(2, 7, 7, 1), batch(1, 2, 3, 1), batch(1, 8, 8, 1)];
    queue.push(&retained[3], 8);
    queue.push_gap(origin(1), 6, 7);
    assert_eq!(read(&queue), [""; 0], "what is live is among what is retained");
    queue.replay(&retained);
    queue.push(&batch(1, 9, 9, 1), 9);
    let expected = ["1:2", "1:3", "2:7", "1:4", "1:5", "1:6-7?", "1:8", "1:9"];
    assert_eq!(read(&queue), expected);
}

#[test]
fn a_deleted_topic_ends_the_queue_after_what_it_holds() {
    let queue = queue(10, 1 << 20);
    queue.push(&batch(1, 1, 1, 1), 1);
    queue.topic_deleted();
    queue.push(&batch(1, 2, 2, 1), 2);
    assert!(!queue.is_finished());
    assert_eq!(read(&queue), ["1:1", "deleted"]);
    assert!(queue.is_finished());
}

#[test]
fn what_a_closed_queue_holds_passes_to_its_successor() {
    let former = queue(10, 1 << 20);
    former.push(&batch(1, 1, 3, 1), 1);
    assert!(former.try_next().is_some());
    former.topic_deleted();
    assert!(former.is_closed() && !former.is_finished());
    let successor = queue(10, 1 << 20);
    successor.push(&batch(2, 1, 1, 1), 1);
    successor.inherit(&former);
    assert!(former.is_finished());
    assert_eq!(successor.len(), 3);
    assert_eq!(read(&successor), ["1:2", "1:3", "deleted", "2:1"]);
}

struct Count(std::sync::atomic::AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn all_that_wait_are_woken_and_their_number_is_bounded() {
    let queue = queue(10, 1 << 20);
    let counts: Vec<_> = (0..WAKERS_MAX + 1).map(|_| Arc::new(Count(Default::default()))).collect();
    for count in &counts {
        let waker = Waker::from(Arc::clone(count));
        assert!(queue.poll_next(&mut Context::from_waker(&waker)).is_pending());
        assert!(queue.poll_next(&mut Context::from_waker(&waker)).is_pending());
    }
    queue.push(&batch(1, 1, 1, 1), 1);
    queue.close();
    let woken = |count: &Arc<Count>| count.0.load(Ordering::SeqCst);
    assert!(counts.iter().all(|count| woken(count) == 1));
    let waker = Waker::noop();
    assert!(queue.poll_next(&mut Context::from_waker(waker)).is_ready());
    assert_eq!(queue.poll_next(&mut Context::from_waker(waker)), Poll::Ready(None));
}
