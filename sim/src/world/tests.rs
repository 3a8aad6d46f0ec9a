//! The world with a small machine that reports everything it is told.

use std::collections::VecDeque;
use std::time::Duration;

use tidings_proto::wire::frame::{Frame, Goodbye, Reason};
use tidings_proto::{Class, DialId, Input, Instant, LinkDown, LinkId, Machine, NodeId, Output};

use super::{Crash, Host, Timers, World};
use crate::network::{NetworkConfig, address};
use crate::trace::Trace;

/// Sends a ping with each number it is commanded to, on its newest link, and answers pings.
#[derive(Debug, Default)]
struct Echo {
    outputs: VecDeque<Output<String, u64>>,
    link: Option<LinkId>,
    alarm: Option<Instant>,
}

#[derive(Debug)]
enum Order {
    Dial(u32),
    Send(u64),
    Close,
    Alarm(u64),
    Persist(u64),
}

impl Machine for Echo {
    type Command = Order;
    type Event = String;
    type Durable = u64;

    fn handle(&mut self, now: Instant, input: Input<Order>) {
        let text = match &input {
            Input::Received { frame: Frame::Ping(n), .. } => format!("ping {n}"),
            Input::Received { frame: Frame::Goodbye(_), .. } => "goodbye".into(),
            Input::Received { .. } => "frame".into(),
            Input::LinkUp { dialed, .. } => format!("up {}", dialed.is_some()),
            Input::LinkDown { cause: LinkDown::Closed, .. } => "down".into(),
            Input::LinkDown { .. } => "malformed".into(),
            Input::DialFailed { cause, .. } => cause.as_str().into(),
            Input::Shed { frames, .. } => format!("shed {frames}"),
            Input::Persisted(token) => format!("persisted {token}"),
            Input::Tick => "tick".into(),
            Input::Command(_) => String::new(),
        };
        if !text.is_empty() {
            self.outputs.push_back(Output::Event(format!("{} {text}", now.as_micros() / 1_000)));
        }
        match input {
            Input::LinkUp { link, .. } => self.link = Some(link),
            Input::Tick => self.alarm = None,
            Input::Command(order) => self.order(order),
            _ => {}
        }
    }

    fn poll_output(&mut self) -> Option<Output<String, u64>> {
        self.outputs.pop_front()
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.alarm
    }
}

impl Echo {
    fn order(&mut self, order: Order) {
        let link = self.link.unwrap_or_default();
        self.outputs.push_back(match order {
            Order::Dial(to) => {
                Output::Dial { dial: DialId(1), address: address(to), timeout_ms: 2_000 }
            }
            Order::Send(n) => Output::Send { link, class: Class::Own, frame: Frame::Ping(n) },
            Order::Close => {
                let text = String::new();
                Output::Close { link, goodbye: Some(Goodbye { reason: Reason::Leaving, text }) }
            }
            Order::Alarm(ms) => {
                self.alarm = Some(Instant::from_millis(ms));
                return;
            }
            Order::Persist(token) => Output::Persist { token, record: token },
        });
    }
}

#[derive(Debug, Default)]
struct Log(Vec<(u32, String)>, Vec<u64>);

impl Host<Echo> for Log {
    type Token = u8;

    fn event(&mut self, _: &mut Timers<'_, u8>, node: u32, event: String) -> u64 {
        self.0.push((node, event));
        0
    }

    fn persisted(&mut self, _: u32, record: u64) {
        self.1.push(record);
    }

    fn received(&mut self, _: Instant, _: u32, _: u32, _: &Frame, _: u32) {}
}

fn world(config: NetworkConfig) -> World<Echo, Log> {
    let mut world = World::new(1, config, Trace::new(None), Log::default());
    for number in 0..3 {
        let node = world.add(NodeId([number; 32]));
        world.start(node, 0, Echo::default());
    }
    world
}

fn linked(config: NetworkConfig) -> World<Echo, Log> {
    let mut world = world(config);
    world.command(0, Order::Dial(1));
    pass(&mut world, 1_000);
    assert_eq!(said(&mut world, 0).len(), 1);
    world.host.0.clear();
    world
}

fn pass(world: &mut World<Echo, Log>, millis: u64) {
    let limit = world.now() + Duration::from_millis(millis);
    while world.run(limit).is_some() {}
}

/// What a node said since the last time, without the times.
fn said(world: &mut World<Echo, Log>, node: u32) -> Vec<String> {
    let told = world.host.0.iter().filter(|(of, _)| *of == node);
    let texts = told.map(|(_, text)| text.split_once(' ').expect("time").1.to_owned()).collect();
    world.host.0.retain(|(of, _)| *of != node);
    texts
}

#[test]
fn a_dial_takes_two_round_trips() {
    let mut world = world(NetworkConfig::default());
    world.command(0, Order::Dial(1));
    pass(&mut world, 1_000);
    let one_way = |a, b| NetworkConfig::default().latency.one_way_us(1, a, b);
    let up = 2 * (one_way(0, 1) + one_way(1, 0));
    let expected = [
        (0, format!("{} up true", up / 1_000)),
        (1, format!("{} up false", (up + one_way(0, 1)) / 1_000)),
    ];
    assert_eq!(world.host.0, expected);
}

#[test]
fn frames_stay_in_order_when_some_are_late() {
    for encode in [false, true] {
        let config = NetworkConfig { loss_ppm: 300_000, encode, ..NetworkConfig::default() };
        let mut world = linked(config);
        for n in 0..200 {
            world.command(0, Order::Send(n));
            pass(&mut world, 3);
        }
        pass(&mut world, 2_000);
        let expected: Vec<String> = (0..200).map(|n| format!("ping {n}")).collect();
        assert_eq!(said(&mut world, 1), expected);
        assert!(world.counts.retransmitted > 30);
    }
}

#[test]
fn a_dead_process_is_noticed_at_once_and_a_vanished_host_only_by_talking_to_it() {
    let mut world = linked(NetworkConfig::default());
    world.crash(1, Crash::Process);
    pass(&mut world, 100);
    assert_eq!(said(&mut world, 0), ["down"]);
    world.command(0, Order::Dial(1));
    pass(&mut world, 1_000);
    assert_eq!(said(&mut world, 0), ["refused"]);

    let mut world = linked(NetworkConfig::default());
    world.crash(1, Crash::Host);
    pass(&mut world, 60_000);
    assert!(said(&mut world, 0).is_empty());
    world.command(0, Order::Send(1));
    pass(&mut world, 10_000);
    assert!(said(&mut world, 0).is_empty());
    pass(&mut world, 15_000);
    assert_eq!(said(&mut world, 0), ["down"]);
    world.command(0, Order::Dial(1));
    pass(&mut world, 3_000);
    assert_eq!(said(&mut world, 0), ["timeout"]);
    assert_eq!(world.links(), 0);
}

#[test]
fn a_host_that_is_back_resets_what_it_does_not_know() {
    let mut world = linked(NetworkConfig::default());
    world.crash(1, Crash::Host);
    world.start(1, 0, Echo::default());
    world.command(0, Order::Send(1));
    pass(&mut world, 200);
    assert_eq!(said(&mut world, 0), ["down"]);
    assert!(said(&mut world, 1).is_empty());
}

#[test]
fn a_stopped_process_finds_everything_in_order() {
    let mut world = linked(NetworkConfig::default());
    world.command(1, Order::Alarm(1_500));
    assert!(world.pause(1));
    for n in 0..5 {
        world.command(0, Order::Send(n));
    }
    pass(&mut world, 5_000);
    assert!(said(&mut world, 1).is_empty());
    assert!(!world.command(1, Order::Send(9)));
    world.resume(1);
    pass(&mut world, 1);
    let mut said = said(&mut world, 1);
    said.retain(|text| text != "tick");
    assert_eq!(said, ["ping 0", "ping 1", "ping 2", "ping 3", "ping 4"]);
}

#[test]
fn dials_to_a_stopped_process_wait() {
    let mut world = world(NetworkConfig::default());
    world.pause(1);
    world.command(0, Order::Dial(1));
    pass(&mut world, 1_000);
    assert!(said(&mut world, 0).is_empty());
    world.resume(1);
    pass(&mut world, 500);
    assert_eq!(said(&mut world, 0), ["up true"]);
    world.pause(1);
    world.command(0, Order::Dial(1));
    pass(&mut world, 2_500);
    assert_eq!(said(&mut world, 0), ["timeout"]);
}

#[test]
fn a_short_cut_delays_and_a_long_one_breaks() {
    let mut world = linked(NetworkConfig::default());
    world.cut(0, 1);
    for n in 0..3 {
        world.command(0, Order::Send(n));
    }
    world.command(1, Order::Send(7));
    pass(&mut world, 5_000);
    assert_eq!((said(&mut world, 0), said(&mut world, 1)), (vec!["ping 7".to_owned()], vec![]));
    world.mend(0, 1);
    world.command(0, Order::Send(3));
    pass(&mut world, 2_000);
    assert_eq!(said(&mut world, 1), ["ping 0", "ping 1", "ping 2", "ping 3"]);

    world.split(4, &[1]);
    world.command(0, Order::Send(4));
    pass(&mut world, 25_000);
    assert_eq!(
        (said(&mut world, 0), said(&mut world, 1)),
        (vec!["down".into()], vec!["down".into()])
    );
    world.command(0, Order::Dial(1));
    pass(&mut world, 2_500);
    assert_eq!(said(&mut world, 0), ["timeout"]);
    world.join(4);
    world.command(0, Order::Dial(1));
    pass(&mut world, 2_500);
    assert_eq!(said(&mut world, 0), ["up true"]);
}

#[test]
fn a_full_queue_sheds_and_says_so() {
    let mut world = linked(NetworkConfig { queue_bytes_max: 14, ..NetworkConfig::default() });
    world.cut(0, 1);
    for n in 0..3 {
        world.command(0, Order::Send(n));
    }
    assert_eq!(said(&mut world, 0), ["shed 1"]);
    world.mend(0, 1);
    pass(&mut world, 2_000);
    assert_eq!(said(&mut world, 1), ["ping 0", "ping 1"]);
}

#[test]
fn a_close_is_said_behind_what_was_sent() {
    let mut world = linked(NetworkConfig::default());
    world.command(0, Order::Send(1));
    world.command(0, Order::Close);
    world.command(0, Order::Send(2));
    pass(&mut world, 200);
    assert_eq!(said(&mut world, 1), ["ping 1", "goodbye", "down"]);
    assert!(said(&mut world, 0).is_empty());
    assert_eq!(world.links(), 0);
}

#[test]
fn damage_is_noticed_and_never_panics() {
    let mut world = linked(NetworkConfig::default());
    world.damage_ppm = 500_000;
    let mut noticed = 0;
    for n in 0..400 {
        world.command(0, Order::Send(n));
        pass(&mut world, 200);
        if said(&mut world, 1).contains(&"malformed".to_owned()) {
            noticed += 1;
            world.command(0, Order::Dial(1));
            pass(&mut world, 1_000);
        }
    }
    assert!(world.counts.damaged > 100 && noticed > 5, "{noticed} of {:?}", world.counts);
}

#[test]
fn records_reach_the_disk_unless_the_node_dies_first() {
    let mut world = linked(NetworkConfig::default());
    world.command(0, Order::Persist(1));
    pass(&mut world, 5);
    world.command(0, Order::Persist(2));
    world.crash(0, Crash::Process);
    pass(&mut world, 5);
    assert_eq!(world.host.1.first(), Some(&1));
    assert_eq!(said(&mut world, 0), ["persisted 1"]);
}

#[test]
fn of_writes_under_way_the_first_few_survive_a_crash() {
    let mut lost = 0;
    let mut world = linked(NetworkConfig::default());
    for round in 0..50 {
        (1..=4).for_each(|n| {
            world.command(0, Order::Persist(n));
        });
        world.crash(0, Crash::Process);
        let survived = std::mem::take(&mut world.host.1);
        assert!((1..=4).collect::<Vec<_>>().starts_with(&survived), "{survived:?}");
        lost += 4 - survived.len() as u64;
        pass(&mut world, 400);
        assert_eq!((world.host.1.len(), world.counts.writes_lost), (0, lost), "round {round}");
        world.start(0, 0, Echo::default());
    }
    assert!((20..180).contains(&lost), "{lost}");
    assert!(said(&mut world, 0).is_empty(), "nobody was told");
}

#[test]
fn deadlines_are_met_on_a_clock_that_runs_slow() {
    let mut world = world(NetworkConfig::default());
    world.crash(2, Crash::Process);
    pass(&mut world, 500);
    world.start(2, -100_000, Echo::default());
    world.command(2, Order::Alarm(900));
    world.command(2, Order::Alarm(1_800));
    pass(&mut world, 1_999);
    assert!(said(&mut world, 2).is_empty());
    pass(&mut world, 2);
    assert_eq!(world.host.0, [(2, "1800 tick".to_owned())]);
}

#[test]
fn the_same_world_twice_has_the_same_hash() {
    let run = |n: u64| {
        let mut world = linked(NetworkConfig { loss_ppm: 100_000, ..NetworkConfig::default() });
        (0..50).for_each(|i| assert!(world.command(0, Order::Send(i * n))));
        pass(&mut world, 1_000);
        world.trace.hash()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
