//! Links as two ordered streams, as TCP gives them, and the weather that stops packets.
//!
//! Nothing is lost on a link that lives: a lost packet is a delay, since the transport repeats
//! it, and all that follows waits for it. While the path of a stream is cut, what is sent is
//! held at the sender; when the cut ends it goes on, and when that takes too long the link
//! breaks.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::BytesMut;
use tidings_proto::wire::frame::Frame;
use tidings_proto::{Instant, LinkId};

use crate::latency::Latency;
use crate::slab::Key;

/// How the network of a run behaves all the time.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Where the nodes are.
    pub latency: Latency,
    /// Frames that arrive late because a packet was lost and repeated, per million.
    pub loss_ppm: u32,
    /// Frames that a faulty sender sends twice, per million.
    pub duplicate_ppm: u32,
    /// Each frame takes up to this much longer, in microseconds: frames of different links
    /// overtake each other, those of one link stay in order.
    pub jitter_us: u32,
    /// Every frame is written and read as bytes.
    pub encode: bool,
    /// A link whose stream is stopped this long breaks, in milliseconds.
    pub break_after_ms: u64,
    /// Bytes that a sender holds per link before it sheds (design §9).
    pub queue_bytes_max: usize,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            latency: Latency::Uniform,
            loss_ppm: 0,
            duplicate_ppm: 0,
            jitter_us: 0,
            encode: false,
            break_after_ms: 20_000,
            queue_bytes_max: 8 << 20,
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Link {
    /// The dialling end, the accepting end.
    pub ends: [End; 2],
    /// The stream from end 0 to end 1, and back.
    pub flows: [Flow; 2],
}

/// One end of a connection.
#[derive(Debug)]
pub struct End {
    /// The node.
    pub node: u32,
    /// How far it is.
    pub state: EndState,
}

/// How far an end of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndState {
    /// Accepted; the machine has not been told.
    Opening,
    /// The machine knows it.
    Open,
    /// Closed in order, or reset.
    Closed,
    /// The host vanished without a word: once it is back, it answers with a reset.
    Vanished,
}

/// A stream of frames in one direction.
#[derive(Debug)]
pub struct Flow {
    /// When the last one arrives: later ones arrive no earlier.
    pub last_arrival: Instant,
    /// When the last one has left its sender, where that takes time.
    pub sent: Instant,
    /// One way, in microseconds.
    pub latency_us: u32,
    /// The first frame has been taken from the bytes received.
    pub greeted: bool,
    /// What is held because the path is cut.
    pub stalled: Option<Box<Stalled>>,
    /// Bytes received that are no whole frame yet.
    pub received: Option<Box<BytesMut>>,
}

/// What is held because a path is cut.
#[derive(Debug)]
pub struct Stalled {
    /// Since when.
    pub since: Instant,
    /// In order of sending.
    pub items: VecDeque<Item>,
    /// Bytes of the frames among them.
    pub bytes: usize,
}

/// What travels in a stream.
#[derive(Debug)]
pub enum Item {
    /// The connection stands: the accepting end's first news of it.
    Up,
    /// A frame, and how many bytes it would take.
    Frame(Frame, u32),
    /// A frame as bytes.
    Bytes(BytesMut),
    /// Closed in order.
    Fin,
    /// Nobody is there any more.
    Reset,
}

/// One end of one link, as an event or a machine names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndKey {
    /// The link.
    pub link: Key,
    /// 0 dialled, 1 accepted.
    pub side: u8,
}

impl EndKey {
    /// The number that the machine at this end knows it by.
    pub fn id(self) -> LinkId {
        LinkId(
            u64::from(self.link.generation) << 33
                | u64::from(self.link.index) << 1
                | u64::from(self.side),
        )
    }

    /// The end that a machine's number names. Numbers that were never given name none.
    pub fn from_id(id: LinkId) -> Self {
        let index = u32::try_from(id.0 >> 1 & u64::from(u32::MAX)).expect("masked");
        let generation = u32::try_from(id.0 >> 33).expect("31 bits");
        Self { link: Key { index, generation }, side: u8::from(id.0 & 1 == 1) }
    }

    /// The other end.
    pub fn other(self) -> Self {
        Self { side: 1 - self.side, ..self }
    }
}

impl Link {
    /// A connection that `dialer` has just made with `acceptor`.
    pub fn new(dialer: u32, acceptor: u32, latencies_us: [u32; 2]) -> Self {
        let flow = |latency_us| Flow {
            last_arrival: Instant::ZERO,
            sent: Instant::ZERO,
            latency_us,
            greeted: false,
            stalled: None,
            received: None,
        };
        Self {
            ends: [
                End { node: dialer, state: EndState::Open },
                End { node: acceptor, state: EndState::Opening },
            ],
            flows: latencies_us.map(flow),
        }
    }

    /// Whether neither end is of use any more.
    pub fn is_over(&self) -> bool {
        let over = |end: &End| matches!(end.state, EndState::Closed | EndState::Vanished);
        self.ends.iter().all(over)
    }
}

/// What stops packets: one-way cuts of pairs, and partitions of all nodes.
#[derive(Debug, Default)]
pub struct Weather {
    cuts: BTreeSet<(u32, u32)>,
    /// A bit per partition: nodes that differ in one cannot reach each other.
    sides: Vec<u32>,
    partitions: u32,
}

impl Weather {
    /// Whether packets from `from` do not reach `to`.
    pub fn blocks(&self, from: u32, to: u32) -> bool {
        (self.partitions != 0 && self.side(from) != self.side(to))
            || (!self.cuts.is_empty() && self.cuts.contains(&(from, to)))
    }

    /// Stops packets from `from` to `to`.
    pub fn cut(&mut self, from: u32, to: u32) {
        self.cuts.insert((from, to));
    }

    /// Ends a cut.
    pub fn mend(&mut self, from: u32, to: u32) {
        self.cuts.remove(&(from, to));
    }

    /// Splits all nodes: those in `group` are apart from all others. `number` is 0 to 31.
    pub fn split(&mut self, number: u32, group: &[u32]) {
        let bit = 1 << (number % u32::BITS);
        self.partitions |= bit;
        for &node in group {
            let node = node as usize;
            if self.sides.len() <= node {
                self.sides.resize(node + 1, 0);
            }
            self.sides[node] |= bit;
        }
    }

    /// Ends a partition.
    pub fn join(&mut self, number: u32) {
        let bit = 1 << (number % u32::BITS);
        self.partitions &= !bit;
        for side in &mut self.sides {
            *side &= !bit;
        }
    }

    fn side(&self, node: u32) -> u32 {
        self.sides.get(node as usize).copied().unwrap_or(0)
    }
}

/// The port that every node listens on.
const PORT: u16 = 7200;

/// Where node `index` can be dialled: 10.x.y.z spells its number.
pub fn address(index: u32) -> SocketAddr {
    let [_, x, y, z] = index.to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, x, y, z)), PORT)
}

/// The node with this address, if it is of the simulated network. It may not exist.
pub fn index_of(address: SocketAddr) -> Option<u32> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    let [first, x, y, z] = ip.octets();
    (first == 10 && address.port() == PORT).then(|| u32::from_be_bytes([0, x, y, z]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ends_and_nodes_round_trip() {
        for (index, generation, side) in [(0, 0, 0), (5, 9, 1), (u32::MAX, (1 << 31) - 1, 1)] {
            let end = EndKey { link: Key { index, generation }, side };
            assert_eq!(EndKey::from_id(end.id()), end);
            assert_eq!(end.other().other(), end);
        }
        for index in [0, 255, 256, 100_000, (1 << 24) - 1] {
            assert_eq!(index_of(address(index)), Some(index));
        }
        assert_eq!(index_of("127.0.0.1:7200".parse().expect("address")), None);
    }

    #[test]
    fn cuts_are_one_way_and_partitions_overlap() {
        let mut weather = Weather::default();
        weather.cut(1, 2);
        assert!(weather.blocks(1, 2) && !weather.blocks(2, 1));
        weather.mend(1, 2);
        weather.split(0, &[1, 2]);
        weather.split(1, &[2, 3]);
        assert!(weather.blocks(1, 2) && weather.blocks(2, 3) && weather.blocks(0, 2));
        weather.join(1);
        assert!(!weather.blocks(1, 2) && weather.blocks(2, 3));
        weather.join(0);
        assert!(!weather.blocks(2, 3));
    }
}
