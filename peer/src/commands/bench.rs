//! `peer bench`: how fast a peer answers and delivers.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use tidings::Headers;
use tidings::control::{Client, EventView, Keep, Request, Subscribe, TopicView};
use tidings_runtime::progress::{Progress, Steps};
use tidings_runtime::shutdown;
use tidings_runtime::table::{Table, print_json};
use tokio::sync::watch;

use crate::cli::Control;
use crate::commands::publish::{Publisher, ROUND_BYTES, ROUND_MESSAGES};
use crate::failure::Failure;

/// Messages that are published one after the other, at most: enough for a 99th percentile.
const SINGLE_MAX: u64 = 1_000;
/// When nothing comes for so long, nothing will. As long as a hole is waited for.
const STALL: Duration = Duration::from_secs(30);

/// Measure how fast this peer publishes and delivers, with a topic of its own
///
/// First each message is published when the one before was received, then all as fast as the peer
/// takes them. The topic is deleted at the end.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peer bench
  peer bench --receiver 127.0.0.1:5556   from peer to peer
  peer bench --count 100000 --size 1024 --json")]
pub(crate) struct Args {
    /// Messages that are published as fast as the peer takes them
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    count: u64,
    /// Size of a message
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(20..=700_000))]
    size: u32,
    /// Control address of the peer that receives [default: the one that publishes]
    #[arg(long, value_name = "ADDR")]
    receiver: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: Control,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    /// Messages of `size` bytes that were published one after the other, and how long it took
    /// until each was answered, and until it was received.
    single: u64,
    size: u32,
    answered: Spread,
    received: Spread,
    /// Messages that were published as fast as possible, and how many a second.
    count: u64,
    published_per_s: f64,
    received_per_s: f64,
    /// Messages that did not come, of all.
    missing: u64,
}

/// Durations, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Spread {
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let mut host = args.control.connect().await?;
    let topic = format!("bench/{:016x}", rand::random::<u64>());
    let (name, policy) = (topic.clone(), Keep::default());
    let create = Request::CreateTopic { topic: name, exist_ok: false, policy };
    host.call::<TopicView>(&create).await?;
    // SIGINT and SIGTERM alike: the topic is deleted first.
    let signals = shutdown::signals()?;
    let measured = tokio::select! {
        measured = measure(&args, &topic) => measured,
        () = signals.cancelled() => Err(Failure::failed("interrupted")),
    };
    // Also when it failed.
    let deleted = host.call::<Value>(&Request::DeleteTopic { topic }).await;
    let measured = measured?;
    deleted?;
    match args.json {
        true => print_json(&measured)?,
        false => print(&measured)?,
    }
    match measured.missing {
        0 => Ok(()),
        missing => Err(Failure::failed(format!("{missing} messages did not come"))),
    }
}

async fn measure(args: &Args, topic: &str) -> Result<Measured, Failure> {
    let mut receiver = match &args.receiver {
        Some(address) => Client::connect(address).await?,
        None => args.control.connect().await?,
    };
    receiver.call::<Value>(&Request::Subscribe(Subscribe::new(topic).streamed())).await?;
    let single = args.count.min(SINGLE_MAX);
    // The first one is not counted: it finds the way.
    let total = 1 + single + args.count;
    let publisher = Publisher::new(args.control.connect().await?, topic, Headers::default());
    let (came, progress) =
        (watch::Sender::new(0), Progress::new("measuring", Steps::Count(total), !args.json));
    let load = Load { single, count: args.count, size: args.size as usize };
    let publishing = load.publish(publisher, came.subscribe());
    let receiving = receive(receiver, total, &came, &progress);
    let (sent, received) = tokio::try_join!(publishing, receiving)?;
    drop(progress);
    Ok(sent.measured(load, args.size, &received))
}

/// What is published.
#[derive(Clone, Copy, Debug)]
struct Load {
    single: u64,
    count: u64,
    size: usize,
}

/// When messages were published.
#[derive(Debug, Default)]
struct Sent {
    at: Vec<Instant>,
    /// How long the answers to those took that were published one after the other.
    answered: Vec<Duration>,
    /// When all were answered.
    end: Option<Instant>,
}

impl Load {
    async fn publish(
        self,
        mut publisher: Publisher,
        mut came: watch::Receiver<u64>,
    ) -> Result<Sent, Failure> {
        let mut sent = Sent { at: vec![Instant::now()], ..Sent::default() };
        publisher.publish(vec![self.body(0)]).await?;
        // Whoever receives has failed, and says so.
        if came.wait_for(|came| *came > 0).await.is_err() {
            return Ok(sent);
        }
        for number in 1..=self.single {
            let begun = Instant::now();
            sent.at.push(begun);
            publisher.publish(vec![self.body(number)]).await?;
            sent.answered.push(begun.elapsed());
            if came.wait_for(|came| *came > number).await.is_err() {
                return Ok(sent);
            }
        }
        let (mut next, end) = (1 + self.single, 1 + self.single + self.count);
        let round_max = (ROUND_BYTES / self.size).clamp(1, ROUND_MESSAGES) as u64;
        while next < end {
            let round = next..end.min(next + round_max);
            next = round.end;
            let begun = Instant::now();
            sent.at.extend(round.clone().map(|_| begun));
            publisher.publish(round.map(|number| self.body(number)).collect()).await?;
        }
        sent.end = Some(Instant::now());
        Ok(sent)
    }

    /// Its number, and as much more as makes the size.
    fn body(self, number: u64) -> Bytes {
        let mut body = format!("{number} ").into_bytes();
        body.resize(self.size.max(body.len()), b'.');
        body.into()
    }
}

/// When each message came, as long as any come.
async fn receive(
    mut client: Client,
    total: u64,
    came: &watch::Sender<u64>,
    progress: &Progress,
) -> Result<Vec<Option<Instant>>, Failure> {
    let mut at = vec![None; usize::try_from(total).unwrap_or(usize::MAX)];
    let mut told = 0;
    while told < total {
        let Ok(event) = tokio::time::timeout(STALL, client.event()).await else {
            let text = format!("nothing came for {} s; {told} of {total} came", STALL.as_secs());
            return Err(Failure::timed_out(text));
        };
        match event? {
            EventView::Message(message) => {
                let body = message.body().unwrap_or_default();
                let number =
                    std::str::from_utf8(&body).ok().and_then(|text| text.split(' ').next());
                let number = number.and_then(|number| number.parse::<usize>().ok());
                if let Some(place) = number.and_then(|number| at.get_mut(number)) {
                    *place = Some(Instant::now());
                }
                told += 1;
            }
            EventView::Gap(gap) => told += gap.count,
            EventView::TopicDeleted { .. } => {
                return Err(Failure::refused("the topic was deleted meanwhile"));
            }
        }
        came.send_replace(told);
        progress.set(told);
    }
    Ok(at)
}

impl Sent {
    fn measured(self, load: Load, size: u32, received: &[Option<Instant>]) -> Measured {
        let burst = 1 + usize::try_from(load.single).unwrap_or(usize::MAX);
        let pairs = self.at.iter().zip(received).skip(1).take(burst - 1);
        let late = pairs.filter_map(|(sent, came)| Some(came.as_ref()?.duration_since(*sent)));
        let rate = |end: Option<Instant>| match (self.at.get(burst), end) {
            (Some(begun), Some(end)) => {
                load.count as f64 / end.duration_since(*begun).as_secs_f64().max(1e-6)
            }
            _ => 0.0,
        };
        Measured {
            single: load.single,
            size,
            received: Spread::of(late.collect()),
            count: load.count,
            published_per_s: rate(self.end),
            received_per_s: rate(received.iter().skip(burst).flatten().max().copied()),
            missing: received.iter().filter(|came| came.is_none()).count() as u64,
            answered: Spread::of(self.answered),
        }
    }
}

impl Spread {
    fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        let at = |percent: usize| {
            let place = (all.len() * percent).div_ceil(100).max(1) - 1;
            all.get(place).map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
        };
        Self { p50_us: at(50), p99_us: at(99), max_us: at(100) }
    }
}

fn print(measured: &Measured) -> Result<(), Failure> {
    let Measured { single, size, answered, received, count, missing, .. } = measured;
    eprintln!("{single} messages of {size} bytes one after the other, then {count} at once");
    let mut spreads = Table::new(["ONE AFTER THE OTHER", "P50 MS", "P99 MS", "MAX MS"]);
    let ms = |us: u64| format!("{:.3}", us as f64 / 1e3);
    for (what, spread) in [("answered after", answered), ("received after", received)] {
        let Spread { p50_us, p99_us, max_us } = *spread;
        spreads.row([what.to_owned(), ms(p50_us), ms(p99_us), ms(max_us)]);
    }
    spreads.print()?;
    println!();
    let mut rates = Table::new(["AT ONCE", "A SECOND"]);
    rates.row(["published".to_owned(), format!("{:.0}", measured.published_per_s)]);
    rates.row(["received".to_owned(), format!("{:.0}", measured.received_per_s)]);
    rates.row(["missing".to_owned(), missing.to_string()]);
    Ok(rates.print()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_measured() {
        let all = (1..=200).rev().map(Duration::from_micros).collect();
        assert_eq!(Spread::of(all), Spread { p50_us: 100, p99_us: 198, max_us: 200 });
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }

    #[test]
    fn a_message_has_its_size_and_its_number() {
        let load = Load { single: 1, count: 1, size: 20 };
        assert_eq!(&load.body(42)[..], b"42 .................");
    }

    #[test]
    fn what_did_not_come_is_missing() {
        let begun = Instant::now();
        let after = |ms| begun + Duration::from_millis(ms);
        let load = Load { single: 2, count: 2, size: 20 };
        let at = vec![begun, begun, after(10), after(20), after(20)];
        let sent = Sent { at, answered: Vec::new(), end: Some(after(1_020)) };
        let came = [Some(begun), Some(after(5)), Some(after(17)), Some(after(2_020)), None];
        let measured = sent.measured(load, 20, &came);
        assert_eq!((measured.received.p50_us, measured.received.max_us), (5_000, 7_000));
        assert!((measured.published_per_s - 2.0).abs() < 1e-9, "{measured:?}");
        assert!((measured.received_per_s - 1.0).abs() < 1e-9, "{measured:?}");
        assert_eq!(measured.missing, 1);
    }
}
