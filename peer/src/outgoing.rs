//! What is published.

use bytes::Bytes;
use tidings_proto::wire::batch::Message;
use tidings_proto::wire::headers::{Headers, HeadersError, RETAIN};

/// A message to be published: a body, and headers if it has any. Whatever turns into [`Bytes`]
/// is one without headers.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Outgoing {
    /// The body, at most 1 MiB.
    pub body: Bytes,
    /// Texts beside the body, at most 8 KiB.
    pub headers: Headers,
}

impl Outgoing {
    /// A message without headers.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), headers: Headers::default() }
    }

    /// The message with these headers instead of those it has.
    #[must_use]
    pub fn with_headers(self, headers: Headers) -> Self {
        Self { headers, ..self }
    }

    /// The message with one more header, or with another value of it.
    ///
    /// # Errors
    /// The name is no name of a header, or the headers are over 8 KiB.
    pub fn with_header(
        self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, HeadersError> {
        let headers = self.headers.with(name, value)?;
        Ok(self.with_headers(headers))
    }

    /// The message, to be retained by its topic: whoever subscribes later gets it first, until
    /// another one is retained. An empty one takes away what was retained before.
    ///
    /// # Errors
    /// The headers are over 8 KiB with the one that says so, [`RETAIN`].
    pub fn retained(self) -> Result<Self, HeadersError> {
        self.with_header(RETAIN, "true")
    }

    /// Bytes of body and headers.
    pub(crate) fn len(&self) -> usize {
        self.body.len() + self.headers.encoded().len()
    }
}

impl<T: Into<Bytes>> From<T> for Outgoing {
    fn from(body: T) -> Self {
        Self::new(body)
    }
}

impl From<Outgoing> for Message {
    fn from(message: Outgoing) -> Self {
        Self { headers: message.headers, body: message.body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_a_message_and_headers_are_added() {
        assert_eq!(Outgoing::from("x"), Outgoing::new("x"));
        assert_eq!(Outgoing::from(vec![1_u8]).body.as_ref(), [1]);
        let message = Outgoing::new("x").with_header("a", "1").expect("legal");
        let message = message.with_header("b", "2").expect("legal");
        assert_eq!(message.headers.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!(message.len(), 1 + 2 * 5);
        assert_eq!(Outgoing::new("x").with_header("", "1"), Err(HeadersError::EmptyName));
    }
}
