//! `peer pub`: publish messages, many at once, in order.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use tidings::control::{
    Client, ClientError, Code, Incoming, Publish, PublishedView, Receiver, Request, Sender,
};
use tidings::{Headers, RETAIN};
use tidings_runtime::progress::{Progress, Steps};
use tidings_runtime::table;

use crate::cli::Control;
use crate::commands::headers;
use crate::commands::source::Source;
use crate::failure::Failure;
use crate::span;

/// Messages on their way to the peer at once.
pub(super) const ROUND_MESSAGES: usize = 1_024;
/// Bytes on their way to the peer at once, about.
pub(super) const ROUND_BYTES: usize = 1 << 20;
/// A busy peer is asked again after this, unless it says when.
const RETRY_MS: u32 = 10;

/// Publish a message, or each line of a file or of standard input
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peer pub Sports 'Football match tonight!'
  peer pub Sports --file lines.txt       each line is a message, without its newline
  tail -f /var/log/syslog | peer pub logs/syslog
  peer pub Sports tick --count 10 --sleep 1s
  peer pub sensors/1/temp 21.5 --retain  whoever subscribes later gets it first
  peer pub sensors/1/temp '' --retain    nobody does any more")]
pub(crate) struct Args {
    /// The topic
    topic: String,
    /// The message; without it the lines of standard input
    body: Option<String>,
    /// Publish each line of FILE, `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "body")]
    file: Option<PathBuf>,
    /// Publish BODY so many times
    #[arg(long, value_name = "N", requires = "body", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// A header of each message, e.g. -H priority:high; may be repeated
    #[arg(short = 'H', long, value_name = "KEY:VALUE", value_parser = headers::parse)]
    header: Vec<(String, String)>,
    /// The topic retains the message: whoever subscribes later gets it first. An empty one takes
    /// away what was retained before
    #[arg(long)]
    retain: bool,
    /// Wait between two messages, e.g. 500ms
    #[arg(long, value_name = "DURATION", value_parser = span::parse)]
    sleep: Option<Duration>,
    /// Print the summary as JSON on standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: Control,
}

/// What was published.
#[derive(Debug, Default, Serialize)]
struct Summary {
    topic: String,
    published: u64,
    bytes: u64,
    first_seq: Option<u64>,
    last_seq: Option<u64>,
    /// Links on which the last message went out.
    reached: u32,
    elapsed_ms: u64,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let mut source = match (args.body, &args.file) {
        (Some(body), _) => Source::repeated(body, args.count),
        (None, Some(path)) => Source::file(path)?,
        (None, None) => Source::stdin()?,
    };
    let retain = args.retain.then(|| (RETAIN.to_owned(), "true".to_owned()));
    let headers = headers::of(args.header.into_iter().chain(retain).collect())?;
    let mut publisher = Publisher::new(args.control.connect().await?, &args.topic, headers);
    let begun = Instant::now();
    let steps = source.steps;
    let progress = Progress::new("publishing", steps, !args.json);
    // With pauses between messages each one goes on its own.
    let round_max = if args.sleep.is_some() { 1 } else { ROUND_MESSAGES };
    loop {
        let round = source.next(round_max, ROUND_BYTES).await?;
        if round.is_empty() {
            break;
        }
        if let Some(sleep) = args.sleep.filter(|_| publisher.summary.published > 0) {
            tokio::time::sleep(sleep).await;
        }
        publisher.publish(round).await?;
        let Summary { published, bytes, .. } = &publisher.summary;
        progress.set(match steps {
            // Lines are counted with their ends.
            Steps::Bytes(_) => bytes + published,
            Steps::Count(_) | Steps::Unknown => *published,
        });
    }
    drop(progress);
    let elapsed = begun.elapsed();
    let mut summary = publisher.summary;
    summary.elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    if args.json {
        return Ok(table::print_json(&summary)?);
    }
    tell(&summary, elapsed);
    Ok(())
}

/// Publishes many messages, in order.
pub(super) struct Publisher {
    sender: Sender,
    receiver: Receiver,
    headers: Headers,
    summary: Summary,
}

impl Publisher {
    /// Publishes to that topic, each message with these headers.
    pub(super) fn new(client: Client, topic: &str, headers: Headers) -> Self {
        let (sender, receiver) = client.split();
        let summary = Summary { topic: topic.to_owned(), ..Summary::default() };
        Self { sender, receiver, headers, summary }
    }

    /// Publishes a round; what the peer was too busy for comes again, in order, before the next.
    pub(super) async fn publish(&mut self, mut round: Vec<Bytes>) -> Result<(), Failure> {
        loop {
            let (busy, retry_ms) = self.attempt(&round).await?;
            if busy.is_empty() {
                return Ok(());
            }
            round = busy;
            tokio::time::sleep(Duration::from_millis(u64::from(retry_ms))).await;
        }
    }

    /// Sends all and reads the answers meanwhile. Returns what the peer was too busy for.
    async fn attempt(&mut self, round: &[Bytes]) -> Result<(Vec<Bytes>, u32), Failure> {
        let Self { sender, receiver, headers, summary } = self;
        for (at, body) in round.iter().enumerate() {
            let publish = Publish::new(summary.topic.clone(), body.clone());
            let request = Request::Publish(Publish { headers: headers.clone(), ..publish });
            let number = summary.published + 1 + at as u64;
            let queued = sender.queue(&request);
            queued.map_err(|error| Failure::from(error).at(&format!("message {number}")))?;
        }
        let (sent, heard) = tokio::join!(sender.flush(), answers(receiver, round, summary));
        // When the peer refuses and closes, its reason says more than the broken connection.
        let busy = heard?;
        sent?;
        Ok(busy)
    }
}

async fn answers(
    receiver: &mut Receiver,
    round: &[Bytes],
    summary: &mut Summary,
) -> Result<(Vec<Bytes>, u32), Failure> {
    let mut busy = Vec::new();
    let mut retry_ms = RETRY_MS;
    for body in round {
        let answer = match receiver.next().await? {
            Incoming::Answer(answer) => answer,
            Incoming::Event(_) => return Err(Failure::failed("an event nobody asked for")),
        };
        match answer {
            Ok(value) => {
                let published: PublishedView = serde_json::from_value(value)
                    .map_err(|error| ClientError::Protocol(error.to_string()))?;
                summary.add(body, published);
            }
            Err(problem) if problem.code == Code::Busy => {
                retry_ms = problem.retry_ms.unwrap_or(retry_ms).max(1);
                busy.push(body.clone());
            }
            Err(problem) => {
                let failure = Failure::from(ClientError::Refused(problem));
                return Err(match summary.published {
                    0 => failure,
                    n => failure.at(&format!("after {n} messages")),
                });
            }
        }
    }
    Ok((busy, retry_ms))
}

impl Summary {
    fn add(&mut self, body: &Bytes, published: PublishedView) {
        self.published += 1;
        self.bytes += body.len() as u64;
        self.first_seq.get_or_insert(published.seq);
        self.last_seq = Some(published.seq);
        self.reached = published.reached;
    }
}

fn tell(summary: &Summary, elapsed: Duration) {
    let Summary { topic, published, bytes, reached, .. } = summary;
    let topic = table::printable(topic);
    match published {
        1 => eprintln!("published {bytes} bytes to '{topic}' on {reached} links"),
        n => {
            let rate = (*n as f64 / elapsed.as_secs_f64().max(1e-6)).round();
            let span = span::show(elapsed);
            eprintln!("published {n} messages, {bytes} bytes, to '{topic}' in {span} ({rate}/s)");
        }
    }
}
