//! How long the steps of a batch take: `cargo bench -p tidings-proto --bench proto`.
//!
//! Compare on a machine that does nothing else. Criterion compares with its last run by itself.

mod rig;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rig::{Arriving, Rig, step};
use tidings_proto::crypto::Scheme;
use tidings_proto::wire::batch::{Batch, BatchHeader, Message};
use tidings_proto::wire::codec::{self, Decoded, FRAME_BYTES_MAX};
use tidings_proto::wire::frame::{BatchFrame, Frame};
use tidings_proto::{Instant, LinkId};

/// Messages and bytes of a batch: as at a low rate, and as under load.
const SIZES: [(usize, usize); 2] = [(1, 100), (64, 1_024)];
const PEERS: usize = 16;
/// Who passes batches on.
const RELAY: usize = PEERS - 1;

/// A peer in the middle of an overlay, and one end of the stream that it passes on.
struct Relay {
    rig: Rig,
    link: LinkId,
    /// The newest that it has.
    latest: BatchFrame,
    now: Instant,
}

fn decode(bytes: &[u8]) -> Frame {
    match codec::decode(&mut BytesMut::from(bytes), FRAME_BYTES_MAX) {
        Ok(Decoded::Frame(frame)) => frame,
        other => panic!("no frame: {other:?}"),
    }
}

impl Relay {
    fn new() -> Self {
        let mut rig = Rig::new(PEERS);
        for _ in 0..20 {
            rig.publish(0, 100);
            rig.run(Duration::from_millis(200));
        }
        let (link, bytes) = rig.latest[RELAY].clone().expect("it received a batch");
        let Frame::Batch(latest) = decode(&bytes) else { panic!("a batch was kept") };
        let now = rig.now;
        Self { rig, link, latest, now }
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

    fn pass_on(&mut self, bytes: BytesMut) -> usize {
        self.now = self.now + Duration::from_micros(1);
        let arriving = Arriving::Bytes { link: self.link, bytes };
        step(&mut self.rig.peers[RELAY], self.now, arriving).len()
    }
}

fn batches(criterion: &mut Criterion) {
    let relay = Relay::new();
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

fn steps(criterion: &mut Criterion) {
    for size in SIZES {
        let mut relay = Relay::new();
        let mut group = criterion.benchmark_group(format!("{} x {} B", size.0, size.1));
        group.bench_function("pass a batch on along the tree", |bencher| {
            let relay = std::cell::RefCell::new(&mut relay);
            bencher.iter_batched(
                || relay.borrow_mut().next(size),
                |bytes| assert!(relay.borrow_mut().pass_on(bytes) > 0, "it is delivered"),
                BatchSize::PerIteration,
            );
        });
        let before = relay.rig.peers[RELAY].stats().batches_duplicate;
        let (latest, mut copies) = (relay.latest(), 0);
        group.bench_function("drop a batch that came before", |bencher| {
            bencher.iter_batched(
                || latest.clone(),
                |bytes| {
                    copies += 1;
                    relay.pass_on(bytes)
                },
                BatchSize::PerIteration,
            );
        });
        let dropped = relay.rig.peers[RELAY].stats().batches_duplicate - before;
        assert_eq!(dropped, copies, "all of them came before");
        group.finish();
    }
}

criterion_group!(benches, batches, steps);
criterion_main!(benches);
