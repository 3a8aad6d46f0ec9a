//! `peer sub`: print messages as they come.

use std::future::poll_fn;
use std::io::{self, BufWriter, Write as _};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use serde_json::Value;
use tidings::control::{Client, EventView, Request, Start};

use crate::cli::Control;
use crate::commands::message::{Style, note_gap};
use crate::failure::Failure;
use crate::{span, table};

/// Print the messages of topics as they come
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peer sub Sports
  peer sub Sports Weather --all          what is retained first
  peer sub Sports --count 1 --wait 5s    exit code 27 when nothing comes for 5 s
  peer sub Sports --raw | tee received.txt")]
pub(crate) struct Args {
    /// The topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Give up when no message comes for so long, e.g. 5s: exit code 27
    #[arg(long, value_name = "DURATION", value_parser = span::parse)]
    wait: Option<Duration>,
    /// Begin with everything that the peer and its neighbours retain
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    style: Style,
    #[command(flatten)]
    control: Control,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let mut client = args.control.connect().await?;
    let from = if args.all { Start::All } else { Start::New };
    for topic in &args.topics {
        let request = Request::Subscribe { topic: topic.clone(), stream: true, from };
        client.call::<Value>(&request).await?;
        eprintln!("subscribed to '{}'", table::printable(topic));
    }
    let mut printer = Printer {
        out: BufWriter::new(io::stdout()),
        style: args.style,
        printed: 0,
        live: args.topics.len(),
    };
    let printed = printer.follow(&mut client, &args).await;
    // What was printed is seen, whatever ended it.
    printer.out.flush()?;
    printed
}

struct Printer {
    out: BufWriter<io::Stdout>,
    style: Style,
    printed: u64,
    /// Topics that are not deleted.
    live: usize,
}

impl Printer {
    async fn follow(&mut self, client: &mut Client, args: &Args) -> Result<(), Failure> {
        while args.count.is_none_or(|count| self.printed < count) {
            let event = self.next(client, args.wait).await?;
            self.print(&event)?;
            if self.live == 0 {
                return Err(Failure::refused("no topic is left"));
            }
        }
        Ok(())
    }

    /// Flushes only before waiting: what comes together is written together.
    async fn next(
        &mut self,
        client: &mut Client,
        wait: Option<Duration>,
    ) -> Result<EventView, Failure> {
        let mut next = pin!(client.event());
        if let Poll::Ready(event) = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await {
            return Ok(event?);
        }
        self.out.flush()?;
        let Some(wait) = wait else { return Ok(next.await?) };
        match tokio::time::timeout(wait, next).await {
            Ok(event) => Ok(event?),
            Err(_) => {
                let message = format!("no message for {}", span::show(wait));
                Err(Failure::timed_out(message))
            }
        }
    }

    fn print(&mut self, event: &EventView) -> Result<(), Failure> {
        if self.style.json {
            serde_json::to_writer(&mut self.out, event).map_err(io::Error::from)?;
            self.out.write_all(b"\n")?;
        }
        match event {
            EventView::Message(message) => {
                if !self.style.json {
                    self.style.write(&mut self.out, message)?;
                }
                self.printed += 1;
            }
            EventView::Gap(gap) => note_gap(gap),
            EventView::TopicDeleted { topic } => {
                self.live -= 1;
                eprintln!("peer: topic '{}' was deleted", table::printable(topic));
            }
        }
        Ok(())
    }
}
