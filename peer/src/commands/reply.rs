//! `peer reply`: answer requests with a text or with what a command prints.

use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use bytes::Bytes;
use tidings::control::{Client, EventView, MessageView, Publish, PublishedView, Request};
use tidings::{CORRELATION_ID, Headers, REPLY_TO};
use tidings_runtime::table;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::cli::Control;
use crate::commands::follow::{Follower, Wanted};
use crate::commands::headers;
use crate::commands::message::note_gap;
use crate::commands::request::ERROR;
use crate::failure::Failure;
use crate::span;

/// No longer message can be published.
const BODY_BYTES_MAX: usize = 1 << 20;
/// More notes of a command are not read.
const NOTES_BYTES_MAX: usize = 64 << 10;

/// Reply to the requests of a topic
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peer reply health ok
  peer reply time --command date
  peer reply sums --command bc           the request is on standard input
  peer reply who --command 'echo $TIDINGS_ORIGIN'

The command is run by `sh -c` for each request, with TIDINGS_TOPIC, TIDINGS_ORIGIN, TIDINGS_SEQ,
and TIDINGS_HEADERS as JSON. When it fails, the reply has a header `error`.")]
pub(crate) struct Args {
    /// The topic
    topic: String,
    /// The reply to every request
    #[arg(required_unless_present = "command")]
    body: Option<String>,
    /// Run a command for each request: the request is its input, its output the reply
    #[arg(long, value_name = "CMD", conflicts_with = "body")]
    command: Option<String>,
    /// End after so many requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Run so many commands at once
    #[arg(long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..))]
    jobs: u8,
    /// End a command that takes longer
    #[arg(long, value_name = "DURATION", value_parser = span::parse, default_value = "30s")]
    timeout: Duration,
    /// A header of each reply, e.g. -H type:text/plain; may be repeated
    #[arg(short = 'H', long, value_name = "KEY:VALUE", value_parser = headers::parse)]
    header: Vec<(String, String)>,
    /// Print each reply as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: Control,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let maker = Maker {
        body: args.body.map(Bytes::from).unwrap_or_default(),
        command: args.command,
        timeout: args.timeout,
        headers: headers::of(args.header)?,
    };
    let mut replier = Replier { control: args.control.clone(), client: None, json: args.json };
    let mut requests = Follower::start(args.control, vec![args.topic], Wanted::default()).await?;
    let mut working = JoinSet::new();
    let mut begun = 0;
    loop {
        let more = args.count.is_none_or(|count| begun < count);
        if !more && working.is_empty() {
            return Ok(());
        }
        tokio::select! {
            event = requests.next(), if more && working.len() < usize::from(args.jobs) => {
                match event? {
                    EventView::Message(request) if request.headers.get(REPLY_TO).is_some() => {
                        begun += 1;
                        working.spawn(maker.clone().make(request));
                    }
                    EventView::Message(_) => eprintln!("peer: a message that asks for no reply"),
                    EventView::Gap(gap) => note_gap(&gap),
                    EventView::TopicDeleted { topic } => {
                        let topic = table::printable(&topic);
                        return Err(Failure::refused(format!("topic '{topic}' was deleted")));
                    }
                }
            }
            Some(made) = working.join_next() => {
                let reply = made.map_err(|error| Failure::failed(error.to_string()))??;
                replier.send(reply).await?;
            }
        }
    }
}

/// What makes a reply out of a request.
#[derive(Clone, Debug)]
struct Maker {
    body: Bytes,
    command: Option<String>,
    timeout: Duration,
    headers: Headers,
}

impl Maker {
    async fn make(self, request: MessageView) -> Result<Publish, Failure> {
        let mut headers = self.headers.clone();
        let with = |headers: &Headers, name, value: &str| {
            headers.with(name, value).map_err(|error| Failure::usage(error.to_string()))
        };
        if let Some(id) = request.headers.get(CORRELATION_ID) {
            headers = with(&headers, CORRELATION_ID, id)?;
        }
        let body = match &self.command {
            None => self.body.clone(),
            Some(command) => match self.output(command, &request).await {
                Ok(output) => output,
                Err(error) => {
                    eprintln!("peer: {error}");
                    headers = with(&headers, ERROR, &error)?;
                    Bytes::new()
                }
            },
        };
        let reply_to = request.headers.get(REPLY_TO).unwrap_or_default();
        Ok(Publish { headers, ..Publish::new(reply_to, body) })
    }

    /// What the command prints.
    async fn output(&self, command: &str, request: &MessageView) -> Result<Bytes, String> {
        let failed = |why: String| format!("the command {why}");
        let ran = tokio::time::timeout(self.timeout, run_command(command, request)).await;
        let output = match ran {
            Ok(output) => output.map_err(|error| failed(format!("did not run: {error}")))?,
            Err(_) => return Err(failed(format!("took over {}", span::show(self.timeout)))),
        };
        if output.stdout.len() > BODY_BYTES_MAX {
            return Err(failed("printed more than 1 MiB, the most of a reply".to_owned()));
        }
        if !output.status.success() {
            let notes = String::from_utf8_lossy(&output.stderr);
            let last = notes.trim_end().lines().last().unwrap_or_default();
            let last: String = last.chars().take(200).collect();
            return Err(failed(format!("ended with {}: {last}", output.status)));
        }
        Ok(output.stdout.into())
    }
}

/// Dropping it ends the command.
async fn run_command(command: &str, request: &MessageView) -> io::Result<Output> {
    let headers = serde_json::to_string(&request.headers)?;
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env("TIDINGS_TOPIC", &request.topic)
        .env("TIDINGS_ORIGIN", &request.origin)
        .env("TIDINGS_SEQ", request.seq.to_string())
        .env("TIDINGS_HEADERS", headers)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let body = request.body().unwrap_or_default();
    let stdin = child.stdin.take();
    let writing = async {
        if let Some(mut stdin) = stdin {
            // A command that does not read its input is none the worse for it.
            let _ = stdin.write_all(&body).await;
        }
    };
    let reading = read(child.stdout.take(), BODY_BYTES_MAX);
    let noting = read(child.stderr.take(), NOTES_BYTES_MAX);
    let ((), stdout, stderr) = tokio::join!(writing, reading, noting);
    Ok(Output { status: child.wait().await?, stdout: stdout?, stderr: stderr? })
}

/// Reads to the end, or to one byte more than `bytes_max`; who goes on writing is ended by that.
async fn read(pipe: Option<impl AsyncRead + Unpin>, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(bytes_max as u64 + 1).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// Publishes replies over a connection of its own.
#[derive(Debug)]
struct Replier {
    control: Control,
    client: Option<Client>,
    json: bool,
}

impl Replier {
    /// A requester that is gone is no failure of who replies.
    async fn send(&mut self, reply: Publish) -> Result<(), Failure> {
        let bytes = reply.body.0.len();
        let request = Request::Publish(reply);
        let client = match &mut self.client {
            Some(client) => client,
            None => self.client.insert(self.control.connect().await?),
        };
        match client.call::<PublishedView>(&request).await {
            Ok(published) if self.json => table::print_json(&published)?,
            Ok(_) => eprintln!("replied with {bytes} bytes"),
            Err(error) => {
                // The next reply gets a new connection.
                self.client = None;
                eprintln!("peer: not replied: {error}");
            }
        }
        Ok(())
    }
}
