//! How long the steps of a batch take: `cargo bench -p tidings-proto --bench proto`.
//!
//! Compare on a machine that does nothing else. Criterion compares with its last run by itself.

mod rig;

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rig::{Arriving, Rig, Wanted, step};
use tidings_proto::config::{GossipConfig, Verify};
use tidings_proto::crypto::Scheme;
use tidings_proto::wire::batch::{Batch, BatchHeader, Message};
use tidings_proto::wire::codec::{self, Decoded, FRAME_BYTES_MAX};
use tidings_proto::wire::frame::{BatchFrame, Frame};
use tidings_proto::{Instant, LinkId};

/// Messages and bytes of a batch: as at a low rate, and as under load.
const SIZES: [(usize, usize); 2] = [(1, 100), (64, 1_024)];
const PEERS: usize = 16;

/// A peer in the middle of an overlay, and one end of the stream that it passes on.
struct Relay {
    rig: Rig,
    /// Which peer it is.
    n: usize,
    link: LinkId,
    /// The newest that it has.
    latest: BatchFrame,
    now: Instant,
    wanted: Vec<Wanted>,
}

fn decode(bytes: &[u8]) -> Frame {
    match codec::decode(&mut BytesMut::from(bytes), FRAME_BYTES_MAX) {
        Ok(Decoded::Frame(frame)) => frame,
        other => panic!("no frame: {other:?}"),
    }
}

impl Relay {
    fn new(verify: Verify) -> Self {
        let mut rig = Rig::new(PEERS, GossipConfig { verify, verify_share: 0 });
        rig.sent.fill(0);
        rig.publish(0, 1, 100);
        rig.run(Duration::from_secs(1));
        let n = (1..PEERS).max_by_key(|n| rig.sent[*n]).expect("there are peers");
        assert!(rig.sent[n] > 0, "somebody passes on what the first one publishes");
        let (link, bytes) = rig.latest[n].clone().expect("it received a batch");
        let Frame::Batch(latest) = decode(&bytes) else { panic!("a batch was kept") };
        let now = rig.now;
        Self { rig, n, link, latest, now, wanted: Vec::with_capacity(PEERS * 4) }
    }

    /// The next batch of the stream, as it comes from the same neighbour.
    fn next(&mut self, (count, size): (usize, usize)) -> BytesMut {
        let header = self.latest.batch.header().clone();
        let header = BatchHeader { first_seq: header.last_seq() + 1, ..header };
        let messages = vec![Message::new(vec![b'x'; size]); count];
        self.latest.batch = Batch::sign(header, &messages, &self.rig.signers[0]);
        self.latest()
    }

    fn latest(&self) -> BytesMut {
        let encoded = codec::encode(&Frame::Batch(self.latest.clone()));
        let mut bytes = BytesMut::from(&encoded.head[..]);
        bytes.extend_from_slice(&encoded.tail);
        bytes
    }

    /// A batch comes. Returns how many messages the application gets, and how many neighbours
    /// get the batch.
    fn receive(&mut self, bytes: BytesMut) -> (u64, usize) {
        self.now = self.now + Duration::from_micros(1);
        let arriving = Arriving::Bytes { link: self.link, bytes };
        step(&mut self.rig.peers[self.n], self.now, arriving, &mut self.wanted);
        let (mut delivered, mut sent) = (0, 0);
        for wanted in self.wanted.drain(..) {
            match wanted {
                Wanted::Delivered { messages } => delivered += messages,
                Wanted::Bytes { encoded, .. } => sent += usize::from(!encoded.tail.is_empty()),
                _ => {}
            }
        }
        (delivered, sent)
    }
}

fn batches(criterion: &mut Criterion) {
    let relay = Relay::new(Verify::Every);
    let header = relay.latest.batch.header().clone();
    let signer = &relay.rig.signers[0];
    for (count, size) in SIZES {
        let name = format!("{count} x {size} B");
        let messages = vec![Message::new(vec![b'x'; size]); count];
        let batch: Arc<Batch> = Batch::sign(header.clone(), &messages, signer);
        let mut group = criterion.benchmark_group(&name);
        group.throughput(Throughput::Bytes((count * size) as u64));
        group.bench_function("encode and sign a batch", |bencher| {
            bencher.iter(|| Batch::sign(header.clone(), black_box(&messages), signer));
        });
        group.bench_function("verify a batch", |bencher| {
            bencher.iter(|| assert!(black_box(&batch).verify(Scheme::Ed25519)));
        });
        group.bench_function("decode a batch", |bencher| {
            let bytes: &Bytes = batch.bytes();
            bencher.iter(|| Batch::decode(black_box(bytes).clone()).expect("a batch"));
        });
        group.finish();
    }
}

fn pass_on(criterion: &mut Criterion, name: &str, size: (usize, usize), verify: Verify) {
    let relay = RefCell::new(Relay::new(verify));
    let mut group = criterion.benchmark_group(format!("{} x {} B", size.0, size.1));
    group.bench_function(name, |bencher| {
        bencher.iter_batched(
            || relay.borrow_mut().next(size),
            |bytes| {
                let (delivered, sent) = relay.borrow_mut().receive(bytes);
                assert_eq!(delivered, size.0 as u64, "all of it is delivered");
                assert!(sent > 0, "it is passed on");
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn drop_copies(criterion: &mut Criterion, size: (usize, usize)) {
    let mut relay = Relay::new(Verify::Every);
    let first = relay.next(size);
    assert_eq!(relay.receive(first).0, size.0 as u64, "the first of them is delivered");
    let copy = relay.latest();
    let (before, mut copies) = (relay.rig.peers[relay.n].stats().batches_duplicate, 0);
    let mut group = criterion.benchmark_group(format!("{} x {} B", size.0, size.1));
    group.bench_function("drop a batch that came before", |bencher| {
        bencher.iter_batched(
            || copy.clone(),
            |bytes| {
                copies += 1;
                assert_eq!(relay.receive(bytes), (0, 0), "nothing comes of it");
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
    let dropped = relay.rig.peers[relay.n].stats().batches_duplicate - before;
    assert_eq!(dropped, copies, "all of them came before");
}

fn steps(criterion: &mut Criterion) {
    for size in SIZES {
        pass_on(criterion, "pass a batch on, checked", size, Verify::Every);
        pass_on(criterion, "pass a batch on, not checked", size, Verify::Links);
        drop_copies(criterion, size);
    }
}

criterion_group!(benches, batches, steps);
criterion_main!(benches);
