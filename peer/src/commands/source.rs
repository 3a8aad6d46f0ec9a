//! What `peer pub` publishes: an argument, or the lines of a file or of standard input.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Read as _};
use std::path::Path;

use bytes::Bytes;
use tidings_runtime::progress::Steps;
use tokio::sync::mpsc;

use crate::failure::Failure;

/// Lines read ahead.
const AHEAD: usize = 4_096;
/// No longer line can be published.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Messages in order, read by a thread of their own, so that what is there is published before
/// the rest comes.
#[derive(Debug)]
pub(crate) struct Source {
    messages: mpsc::Receiver<io::Result<Bytes>>,
    /// How many there will be, as far as that is known.
    pub(crate) steps: Steps,
}

impl Source {
    /// The same message `count` times.
    pub(crate) fn repeated(body: String, count: u64) -> Self {
        let (sender, messages) = mpsc::channel(AHEAD);
        let body = Bytes::from(body);
        std::thread::spawn(move || {
            // The receiver goes away when publishing failed.
            (0..count).all(|_| sender.blocking_send(Ok(body.clone())).is_ok())
        });
        Self { messages, steps: Steps::Count(count) }
    }

    /// The lines of a file; `-` is standard input.
    pub(crate) fn file(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self::lines(io::stdin()));
        }
        let file = File::open(path)
            .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
        // Of a pipe or a device nobody knows.
        let size = file.metadata().ok().filter(|about| about.is_file()).map(|about| about.len());
        let steps = size.map_or(Steps::Unknown, Steps::Bytes);
        Ok(Self { steps, ..Self::lines(file) })
    }

    /// The lines of standard input, unless a person would have to type them unasked.
    pub(crate) fn stdin() -> Result<Self, Failure> {
        if io::stdin().is_terminal() {
            let message = "nothing to publish: give a BODY, --file FILE, or pipe lines into it";
            return Err(Failure::usage(message));
        }
        Ok(Self::lines(io::stdin()))
    }

    fn lines(reader: impl io::Read + Send + 'static) -> Self {
        let (sender, messages) = mpsc::channel(AHEAD);
        std::thread::spawn(move || {
            let mut reader = BufReader::with_capacity(64 << 10, reader);
            while let Some(line) = read_line(&mut reader).transpose() {
                let failed = line.is_err();
                if sender.blocking_send(line).is_err() || failed {
                    return;
                }
            }
        });
        Self { messages, steps: Steps::Unknown }
    }

    /// The next messages: waits for one, and takes those that are there already, up to
    /// `messages_max` and about `bytes_max`. Empty at the end.
    pub(crate) async fn next(
        &mut self,
        messages_max: usize,
        bytes_max: usize,
    ) -> io::Result<Vec<Bytes>> {
        let Some(first) = self.messages.recv().await else { return Ok(Vec::new()) };
        let mut round = vec![first?];
        let mut bytes = round[0].len();
        while round.len() < messages_max && bytes < bytes_max {
            let Ok(next) = self.messages.try_recv() else { break };
            let next = next?;
            bytes += next.len();
            round.push(next);
        }
        Ok(round)
    }
}

/// The exact bytes of the next line without its newline; the last line may have none.
pub(super) fn read_line(reader: &mut impl BufRead) -> io::Result<Option<Bytes>> {
    let mut line = Vec::new();
    reader.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.truncate(line.len() - 1);
    } else if line.len() as u64 > LINE_BYTES_MAX {
        let message = format!("a line is longer than {LINE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(Some(line.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_keep_their_exact_bytes() {
        let mut source = Source::lines(&b"a\r\n\n \xff\nlast"[..]);
        let mut all = Vec::new();
        loop {
            let round = source.next(2, 1_000).await.expect("memory");
            assert!(round.len() <= 2);
            if round.is_empty() {
                break;
            }
            all.extend(round);
        }
        assert_eq!(all, [&b"a\r"[..], b"", b" \xff", b"last"]);
    }

    #[tokio::test]
    async fn a_line_that_cannot_be_published_is_an_error() {
        let mut source = Source::lines(io::repeat(b'x').take(3 << 20));
        assert!(source.next(10, 1_000).await.is_err());
    }
}
