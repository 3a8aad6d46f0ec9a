//! `peer sub`: print messages as they come.

use std::future::poll_fn;
use std::io::{self, BufWriter, Write as _};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tidings::control::EventView;
use tidings_runtime::table;

use crate::cli::Control;
use crate::commands::begin::{Begin, Unread};
use crate::commands::follow::{Follower, Wanted};
use crate::commands::message::{Style, note_gap};
use crate::failure::Failure;
use crate::span;

/// Print the messages of topics as they come
///
/// When the peer is restarted, or the connection to it is lost, it is tried again until it
/// answers. Each publisher's messages go on after the last one that was printed: nothing comes
/// twice, and what nobody retains any more is noted as missing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peer sub Sports
  peer sub Sports Weather --all          what is retained first
  peer sub Sports --since 10m            or --last 100
  peer sub Sports --count 1 --wait 5s    exit code 27 when nothing comes for 5 s
  peer sub Sports --session desk         what waits in the session 'desk' first
  peer sub ticks --policy drop-oldest --buffer 100   of what is not read in time, the newest
  peer sub Sports --raw | tee received.txt")]
pub(crate) struct Args {
    /// The topics, or filters such as 'sport/#' and 'sensors/+/temp'
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Give up when no message comes for so long, e.g. 5s: exit code 27
    #[arg(long, value_name = "DURATION", value_parser = span::parse)]
    wait: Option<Duration>,
    #[command(flatten)]
    begin: Begin,
    #[command(flatten)]
    unread: Unread,
    /// Keep the log of a durable topic on the peer's disk too
    #[arg(long)]
    durable: bool,
    /// Use the session of that name: what comes while nobody is connected waits in it for
    /// `session_expiry`, also for the next `peer sub` with this name
    #[arg(long, alias = "name", value_name = "NAME", conflicts_with_all = ["all", "last", "since"])]
    session: Option<String>,
    #[command(flatten)]
    style: Style,
    #[command(flatten)]
    control: Control,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let wanted = Wanted {
        start: args.begin.start(),
        policy: args.unread.policy()?,
        durable: args.durable,
        session: args.session,
    };
    let mut events = Follower::start(args.control, args.topics, wanted).await?;
    let mut printer = Printer { out: BufWriter::new(io::stdout()), style: args.style, printed: 0 };
    let printed = printer.follow(&mut events, args.count, args.wait).await;
    // What was printed is seen, whatever ended it.
    printer.out.flush()?;
    events.printed().await;
    printed
}

struct Printer {
    out: BufWriter<io::Stdout>,
    style: Style,
    printed: u64,
}

impl Printer {
    async fn follow(
        &mut self,
        events: &mut Follower,
        count: Option<u64>,
        wait: Option<Duration>,
    ) -> Result<(), Failure> {
        while count.is_none_or(|count| self.printed < count) {
            let event = self.next(events, wait).await?;
            self.print(&event)?;
            if let EventView::TopicDeleted { topic } = &event
                && !events.forget(topic)
            {
                return Err(Failure::refused("no topic is left"));
            }
        }
        Ok(())
    }

    /// Flushes only before waiting: what comes together is written together.
    async fn next(
        &mut self,
        events: &mut Follower,
        wait: Option<Duration>,
    ) -> Result<EventView, Failure> {
        {
            let mut next = pin!(events.next());
            if let Poll::Ready(event) = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await {
                return event;
            }
        }
        self.out.flush()?;
        events.printed().await;
        let next = events.next();
        let Some(wait) = wait else { return next.await };
        match tokio::time::timeout(wait, next).await {
            Ok(event) => event,
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
                eprintln!("peer: topic '{}' was deleted", table::printable(topic));
            }
        }
        Ok(())
    }
}
