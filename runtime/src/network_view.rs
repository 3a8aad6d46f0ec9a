//! What links did, for people and programs: the JSON that `status` shows and the page for
//! Prometheus, the same for both roles.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tidings_proto::Class;
use tidings_proto::wire::kind::FrameKind;

use crate::metrics::Exposition;
use crate::node::{LinkView, Network};
use crate::traffic::{Count, ShedReason};

/// The most links shown one by one; the fullest come first. More than a peer has.
pub const LINKS_SHOWN_MAX: usize = 64;

/// What the links of a node do and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkView {
    /// Frames sent and received since the start, by what they were for: `push` (new batches),
    /// `repair` (batches that were asked for), `announce`, `prune`, `graft`, `digest`, `heads`,
    /// `pull`, `liveness`, `overlay`, `seeds`, `tables`.
    pub traffic: BTreeMap<String, TrafficView>,
    /// Frames that were not sent, by reason (`class_full`, `queue_full`, `link_closed`) and
    /// class (`control`, `own`, `repair`, `forward`, `announce`).
    pub shed: BTreeMap<String, BTreeMap<String, CountView>>,
    /// Frames received of a kind that this version does not know.
    pub unknown_frames: u64,
    /// Links closed because not even control frames had room.
    pub links_overflowed: u64,
    /// What waits to be sent on all links, by class.
    pub queued: BTreeMap<String, CountView>,
    /// How many links there are.
    pub links_total: usize,
    /// Those with most to send, at most [`LINKS_SHOWN_MAX`].
    pub links: Vec<LinkItem>,
}

/// Frames and bytes, before encryption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountView {
    /// Frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl From<Count> for CountView {
    fn from(Count { frames, bytes }: Count) -> Self {
        Self { frames, bytes }
    }
}

/// Both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficView {
    /// Handed to the links' encryption.
    pub sent: CountView,
    /// Received.
    pub received: CountView,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkItem {
    /// The node at the other end.
    pub node: String,
    /// The other end's address, as seen here.
    pub remote: SocketAddr,
    /// This node dialled it.
    pub outbound: bool,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// What waits to be sent, by class.
    pub queued: BTreeMap<String, CountView>,
    /// Frames that were shed because the queue was full, by class.
    pub shed: BTreeMap<String, u64>,
}

impl From<&LinkView> for LinkItem {
    fn from(link: &LinkView) -> Self {
        Self {
            node: link.node.to_string(),
            remote: link.remote,
            outbound: link.outbound,
            bytes_sent: link.bytes_out,
            bytes_received: link.bytes_in,
            queued: by_class(|class| link.queued[class as usize].into()),
            shed: by_class(|class| link.shed[class as usize]),
        }
    }
}

impl From<&Network> for NetworkView {
    fn from(network: &Network) -> Self {
        let traffic = |kind: FrameKind| {
            let (sent, received) = (network.traffic.sent(kind), network.traffic.received(kind));
            let view = TrafficView { sent: sent.into(), received: received.into() };
            (kind.as_str().to_owned(), view)
        };
        let shed = |reason: ShedReason| {
            let of = |class| network.traffic.shed(reason, class).into();
            (reason.as_str().to_owned(), by_class(of))
        };
        Self {
            traffic: FrameKind::ALL.into_iter().map(traffic).collect(),
            shed: ShedReason::ALL.into_iter().map(shed).collect(),
            unknown_frames: network.traffic.unknown_frames,
            links_overflowed: network.traffic.links_overflowed,
            queued: by_class(|class| queued(network, class).into()),
            links_total: network.links.len(),
            links: fullest(network).into_iter().map(Into::into).collect(),
        }
    }
}

fn by_class<T>(of: impl Fn(Class) -> T) -> BTreeMap<String, T> {
    Class::ALL.into_iter().map(|class| (class.as_str().to_owned(), of(class))).collect()
}

fn queued(network: &Network, class: Class) -> Count {
    network.links.iter().fold(Count::default(), |sum, link| {
        let Count { frames, bytes } = link.queued[class as usize];
        Count { frames: sum.frames + frames, bytes: sum.bytes + bytes }
    })
}

fn fullest(network: &Network) -> Vec<&LinkView> {
    let mut links: Vec<_> = network.links.iter().collect();
    links.sort_by_key(|link| std::cmp::Reverse(link.queued_bytes));
    links.truncate(LINKS_SHOWN_MAX);
    links
}

impl Exposition {
    /// Adds what the links of a node do and did, under `{prefix}_…`.
    pub fn network(&mut self, prefix: &str, network: &Network) {
        self.kinds(prefix, "sent", "Frames handed to links", |kind| network.traffic.sent(kind));
        self.kinds(prefix, "received", "Frames received", |kind| network.traffic.received(kind));
        self.counts(&format!("{prefix}_shed"), "_total", "counter", "not sent", |add| {
            for reason in ShedReason::ALL {
                for class in Class::ALL {
                    let labels = [("reason", reason.as_str()), ("class", class.as_str())];
                    add(&labels, network.traffic.shed(reason, class));
                }
            }
        });
        self.counts(&format!("{prefix}_queued"), "", "gauge", "waiting on all links", |add| {
            for class in Class::ALL {
                add(&[("class", class.as_str())], queued(network, class));
            }
        });
        let help = "waiting on the fullest links";
        self.counts(&format!("{prefix}_link_queued"), "", "gauge", help, |add| {
            for link in fullest(network) {
                // Two links to one node, for the moment in which both stand, need two names.
                let (node, number) = (link.node.to_string(), link.link.0.to_string());
                for class in Class::ALL {
                    let labels = [
                        ("node", node.as_str()),
                        ("link", number.as_str()),
                        ("class", class.as_str()),
                    ];
                    add(&labels, link.queued[class as usize]);
                }
            }
        });
        let (unknown, overflowed) =
            (network.traffic.unknown_frames, network.traffic.links_overflowed);
        let help = "Frames received of a kind that this version does not know";
        self.counter(&format!("{prefix}_unknown_frames_total"), help, unknown);
        let help = "Links closed because not even control frames had room";
        self.counter(&format!("{prefix}_links_overflowed_total"), help, overflowed);
    }

    fn kinds(
        &mut self,
        prefix: &str,
        direction: &str,
        help: &str,
        of: impl Fn(FrameKind) -> Count,
    ) {
        for (unit, pick) in UNITS {
            let name = format!("{prefix}_{unit}_{direction}_total");
            self.family(&name, &format!("{help}, by kind: {unit}"), "counter");
            for kind in FrameKind::ALL {
                self.sample(&name, &[("kind", kind.as_str())], pick(of(kind)) as f64);
            }
        }
    }

    /// Adds one metric for frames and one for bytes.
    fn counts(
        &mut self,
        prefix: &str,
        suffix: &str,
        kind: &str,
        help: &str,
        list: impl Fn(&mut dyn FnMut(&[(&str, &str)], Count)),
    ) {
        for (unit, pick) in UNITS {
            let name = format!("{prefix}_{unit}{suffix}");
            self.family(&name, &format!("{unit} {help}"), kind);
            list(&mut |labels, count| self.sample(&name, labels, pick(count) as f64));
        }
    }
}

type Pick = fn(Count) -> u64;

/// What is counted, and which part of a count it is.
const UNITS: [(&str, Pick); 2] = [("frames", |count| count.frames), ("bytes", |count| count.bytes)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::{CLASSES, Traffic};
    use tidings_proto::{LinkId, NodeId};

    fn network() -> Network {
        let mut traffic = Traffic::default();
        traffic.count_sent(FrameKind::Push, 100);
        traffic.count_received(FrameKind::Heads, 7);
        traffic.count_shed(ShedReason::ClassFull, Class::Forward, 50);
        let mut queued = [Count::default(); CLASSES];
        queued[Class::Own as usize] = Count { frames: 2, bytes: 30 };
        let link = |number: u64, queued_bytes| LinkView {
            link: LinkId(number),
            node: NodeId([7; 32]),
            remote: ([127, 0, 0, 1], 7_200).into(),
            outbound: true,
            queued_bytes,
            queued: if queued_bytes > 0 { queued } else { Default::default() },
            bytes_in: 1,
            bytes_out: 2,
            unknown_frames: 0,
            shed: [0, 0, 0, 1, 0],
        };
        Network { links: vec![link(1, 0), link(2, 30)], traffic }
    }

    #[test]
    fn status_names_every_kind_reason_and_class() {
        let view = NetworkView::from(&network());
        let json = serde_json::to_value(&view).expect("legal JSON");
        assert_eq!(json["traffic"]["push"]["sent"]["bytes"], 100);
        assert_eq!(json["traffic"]["heads"]["received"]["frames"], 1);
        let kinds = json["traffic"].as_object().expect("an object");
        assert_eq!(kinds.len(), FrameKind::ALL.len());
        assert_eq!(json["shed"]["class_full"]["forward"]["bytes"], 50);
        assert_eq!(json["shed"]["link_closed"]["announce"]["frames"], 0);
        assert_eq!(
            (&json["links_total"], &json["queued"]["own"]["frames"]),
            (&2.into(), &2.into())
        );
        assert_eq!(json["links"][0]["queued"]["own"]["bytes"], 30, "the fullest first");
        assert_eq!(json["links"][1]["shed"]["forward"], 1);
        let read: NetworkView = serde_json::from_value(json).expect("a view");
        assert_eq!(read, view);
    }

    #[test]
    fn prometheus_reads_every_kind_reason_and_class() {
        let mut page = Exposition::new();
        page.network("x", &network());
        let text = page.into_text();
        for line in [
            "x_bytes_sent_total{kind=\"push\"} 100",
            "x_frames_received_total{kind=\"heads\"} 1",
            "x_shed_bytes_total{reason=\"class_full\",class=\"forward\"} 50",
            "x_shed_frames_total{reason=\"queue_full\",class=\"control\"} 0",
            "x_queued_bytes{class=\"own\"} 30",
            "x_queued_frames{class=\"repair\"} 0",
            "x_links_overflowed_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        let of_link = format!(
            "link_queued_frames{{node=\"{}\",link=\"2\",class=\"own\"}} 2",
            NodeId([7; 32])
        );
        assert!(text.contains(&of_link), "{text}");
        let mut families: Vec<_> = text.lines().filter(|l| l.starts_with("# TYPE")).collect();
        let count = families.len();
        families.sort_unstable();
        families.dedup();
        assert_eq!(families.len(), count, "no metric is declared twice");
    }
}
