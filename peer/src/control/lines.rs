//! Lines from a socket, of bounded length.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Read from the socket at once, at most ...
const READ_BYTES_MAX: usize = 64 << 10;
/// ... and by who has sent little: memory that each idle connection has.
const READ_BYTES_MIN: usize = 4 << 10;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line without its end, `\n` or `\r\n`. The last one may have none.
    Complete(Bytes),
    /// A line has more bytes than allowed. What follows cannot be read.
    TooLong,
    /// No more lines.
    End,
}

/// Cuts what a reader brings into lines.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    buffer: BytesMut,
    /// The first bytes of the buffer that hold no line end.
    searched: usize,
    line_max: usize,
    /// How much is read next: the last read says whether more is on its way.
    read_bytes: usize,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(reader: R, line_max: usize) -> Self {
        let read_bytes = READ_BYTES_MIN;
        Self { reader, buffer: BytesMut::new(), searched: 0, line_max, read_bytes, ended: false }
    }

    /// The next line. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> io::Result<Line> {
        loop {
            if let Some(line) = self.cut() {
                return Ok(line);
            }
            if self.ended {
                self.searched = 0;
                let rest = self.buffer.split().freeze();
                return Ok(if rest.is_empty() { Line::End } else { Line::Complete(rest) });
            }
            self.buffer.reserve(self.read_bytes);
            let room = self.buffer.capacity() - self.buffer.len();
            let read = self.reader.read_buf(&mut self.buffer).await?;
            self.ended = read == 0;
            self.read_bytes = if read == room { READ_BYTES_MAX } else { READ_BYTES_MIN };
        }
    }

    /// Reads and forgets what still comes, up to `bytes_max`, so that closing the connection does
    /// not destroy an answer that is on its way.
    pub(crate) async fn discard(&mut self, bytes_max: usize) -> io::Result<()> {
        let mut discarded = self.buffer.len();
        while discarded < bytes_max {
            self.buffer.clear();
            self.buffer.reserve(READ_BYTES_MAX);
            match self.reader.read_buf(&mut self.buffer).await? {
                0 => return Ok(()),
                read => discarded += read,
            }
        }
        Ok(())
    }

    /// Whether the next line is here already, or a part of it.
    pub(crate) fn is_ahead(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The reader itself.
    pub(crate) fn reader(&self) -> &R {
        &self.reader
    }

    fn cut(&mut self) -> Option<Line> {
        let fresh = &self.buffer[self.searched..];
        let Some(at) = fresh.iter().position(|&byte| byte == b'\n') else {
            self.searched = self.buffer.len();
            // One more byte may be the `\r` of a line that is just within the limit.
            return (self.buffer.len() > self.line_max + 1).then_some(Line::TooLong);
        };
        let mut line = self.buffer.split_to(self.searched + at);
        self.buffer.advance(1);
        self.searched = 0;
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        Some(if line.len() > self.line_max { Line::TooLong } else { Line::Complete(line.freeze()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(input: &[u8], line_max: usize) -> Vec<Line> {
        let mut lines = Lines::new(input, line_max);
        let mut all = Vec::new();
        loop {
            let line = lines.next().await.expect("reading from memory");
            let done = matches!(line, Line::End | Line::TooLong);
            all.push(line);
            if done {
                return all;
            }
        }
    }

    fn line(text: &'static str) -> Line {
        Line::Complete(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn lines_end_with_lf_crlf_or_the_input() {
        let expected = [line("a"), line(""), line("b"), line("c"), Line::End];
        assert_eq!(all(b"a\n\nb\r\nc", 10).await, expected);
    }

    #[tokio::test]
    async fn the_limit_is_exact() {
        assert_eq!(all(b"12345\n", 5).await, [line("12345"), Line::End]);
        assert_eq!(all(b"12345\r\n", 5).await, [line("12345"), Line::End]);
        assert_eq!(all(b"123456\n", 5).await, [Line::TooLong]);
        assert_eq!(all(b"1234567890", 5).await, [Line::TooLong]);
    }

    #[tokio::test]
    async fn a_line_may_come_byte_by_byte() {
        let (mut writer, reader) = tokio::io::duplex(1);
        let writing = tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut writer, b"hello\nworld\n").await
        });
        let mut lines = Lines::new(reader, 100);
        assert_eq!(lines.next().await.expect("open"), line("hello"));
        assert_eq!(lines.next().await.expect("open"), line("world"));
        assert_eq!(lines.next().await.expect("open"), Line::End);
        writing.await.expect("no panic").expect("written");
    }
}
