//! A message on standard output.

use std::io::{self, Write};

use tidings::control::{GapView, MessageView};
use tidings_runtime::table::{printable, short};

/// How messages are printed.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Style {
    /// Print bodies only, each followed by a newline
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

impl Style {
    /// Writes one message as bytes or as a line for people.
    pub(crate) fn write(self, out: &mut impl Write, message: &MessageView) -> io::Result<()> {
        let Some(body) = message.body() else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is not base64"));
        };
        if self.raw {
            out.write_all(&body)?;
            return out.write_all(b"\n");
        }
        let MessageView { topic, origin_addr, seq, published_at, .. } = message;
        let text = printable(&String::from_utf8_lossy(&body));
        write!(out, "{published_at} {} {origin_addr} {seq}", printable(topic))?;
        for (name, value) in &message.headers {
            write!(out, " {}={}", printable(name), printable(value))?;
        }
        writeln!(out, " {text}")
    }
}

/// Tells people of missing messages.
pub(crate) fn note_gap(gap: &GapView) {
    eprintln!("{}", gap_note(gap));
}

/// What people are told of missing messages.
pub(crate) fn gap_note(gap: &GapView) -> String {
    let GapView { topic, origin, from, to, count, reason, .. } = gap;
    let (topic, origin) = (printable(topic), short(origin));
    format!("peer: {count} messages are missing: {topic} {origin} {from}..{to} ({reason})")
}
