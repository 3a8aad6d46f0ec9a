//! `peer top`: what a peer does, live.

mod rates;
mod screen;

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use tidings::control::{Request, StatusView};
use tidings_runtime::table;

use crate::cli::Control;
use crate::failure::Failure;
use crate::span;
use rates::Rates;

/// Show what the peer does, live: rates, traffic, links, streams
///
/// On a terminal the screen is drawn anew each interval; Ctrl-C ends it. Elsewhere each look is
/// printed below the last one. Rates are those of the last interval.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Time between two looks, at least 100ms
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// End after so many looks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print one JSON object a line, for each look
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    control: Control,
}

/// More often nobody can read, and the peer has better things to do.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

fn interval(text: &str) -> Result<Duration, String> {
    let interval = span::parse(text)?;
    match interval >= INTERVAL_MIN {
        true => Ok(interval),
        false => Err("at least 100ms".to_owned()),
    }
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let mut client = args.control.connect().await?;
    let mut last: (Instant, StatusView) = (Instant::now(), client.call(&Request::Status).await?);
    let live = io::stdout().is_terminal() && !args.json;
    let _screen = live.then(Screen::open).transpose()?;
    let mut ticks = tokio::time::interval(args.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick is at once, and there is nothing to compare with yet.
    ticks.tick().await;
    let mut looks = 0;
    while args.count.is_none_or(|count| looks < count) {
        tokio::select! {
            ended = tokio::signal::ctrl_c() => return Ok(ended?),
            _ = ticks.tick() => {}
        }
        let now: (Instant, StatusView) = (Instant::now(), client.call(&Request::Status).await?);
        let rates = Rates::between(&last.1, &now.1, now.0.duration_since(last.0));
        show(&args, live, &now.1, &rates)?;
        last = now;
        looks += 1;
    }
    Ok(())
}

fn show(args: &Args, live: bool, status: &StatusView, rates: &Rates) -> Result<(), Failure> {
    if args.json {
        return Ok(table::print_json(rates)?);
    }
    let (columns, rows) = match live {
        true => terminal_size::terminal_size()
            .map_or((COLUMNS, ROWS), |(width, height)| (width.0.into(), height.0.into())),
        false => (usize::MAX, usize::MAX),
    };
    let lines = screen::draw(status, rates, rows);
    let mut text = String::new();
    if live {
        text.push_str(HOME);
    }
    for (number, line) in lines.iter().enumerate() {
        // The last line of a screen has no end, which would move all others up.
        let end = if live && number + 1 == lines.len() { "" } else { "\n" };
        let clear = if live { CLEAR_LINE } else { "" };
        text.extend(line.chars().take(columns));
        text.push_str(clear);
        text.push_str(end);
    }
    text.push_str(if live { CLEAR_BELOW } else { "\n" });
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// The terminal's second screen; the first one is back when this is dropped.
#[derive(Debug)]
struct Screen;

impl Screen {
    fn open() -> io::Result<Self> {
        let mut out = io::stdout().lock();
        out.write_all(b"\x1b[?1049h\x1b[?25l")?;
        out.flush()?;
        Ok(Self)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut out = io::stdout().lock();
        // A terminal that is gone needs nothing restored.
        let _ = out.write_all(b"\x1b[?25h\x1b[?1049l");
        let _ = out.flush();
    }
}

const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
/// What a terminal has that does not say.
const COLUMNS: usize = 80;
const ROWS: usize = 24;
