//! The fields of a request, one by one, so that an error names the field.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tidings_proto::wire::headers::Headers;

use super::{
    Ask, BUFFER_DEFAULT, BUFFER_MAX, Body, LIST_DEFAULT, LIST_MAX, List, PUBLISH_WAIT_MS_MAX,
    PULL_DEFAULT, PULL_MAX, PULL_WAIT_MS_MAX, Publish, Pull, REPLIES_MAX, Request, Subscribe,
    TIMEOUT_MS_DEFAULT, TIMEOUT_MS_MAX, Unread, start,
};
use crate::control::error::{Code, Problem};
use crate::subscribe::Policy;

/// The fields of a request.
pub(super) struct Fields<'a>(pub(super) HashMap<String, &'a RawValue>);

impl Fields<'_> {
    /// A field's value; `null` is the same as leaving it out.
    pub(super) fn optional<T: DeserializeOwned>(
        &self,
        name: &str,
        what: &str,
    ) -> Result<Option<T>, Problem> {
        let Some(raw) = self.0.get(name) else { return Ok(None) };
        serde_json::from_str(raw.get())
            .map_err(|_| bad_request(format!("field '{name}' must be {what}")))
    }

    pub(super) fn required<T: DeserializeOwned>(
        &self,
        name: &str,
        what: &str,
    ) -> Result<T, Problem> {
        let value = self.optional(name, what)?;
        value.ok_or_else(|| bad_request(format!("field '{name}' is missing: {what}")))
    }

    /// A whole number of an allowed range.
    pub(super) fn number(&self, name: &str, min: u64, max: u64) -> Result<Option<u64>, Problem> {
        let what = format!("a whole number from {min} to {max}");
        let value: Option<u64> = self.optional(name, &what)?;
        match value {
            Some(number) if !(min..=max).contains(&number) => {
                Err(bad_request(format!("field '{name}' must be {what}")))
            }
            value => Ok(value),
        }
    }

    pub(super) fn number_u32(
        &self,
        name: &str,
        min: u32,
        max: u32,
    ) -> Result<Option<u32>, Problem> {
        let number = self.number(name, min.into(), max.into())?;
        Ok(number.and_then(|number| u32::try_from(number).ok()))
    }

    pub(super) fn topic(&self) -> Result<String, Problem> {
        self.required("topic", "a string")
    }

    pub(super) fn body(&self) -> Result<Body, Problem> {
        let text: Option<String> = self.optional("message", "a string")?;
        let encoded: Option<String> = self.optional("message_base64", "a string")?;
        match (text, encoded) {
            (Some(text), None) => Ok(Body(text.into())),
            (None, Some(encoded)) => BASE64
                .decode(encoded)
                .map(|bytes| Body(bytes.into()))
                .map_err(|e| bad_request(format!("field 'message_base64' is not base64: {e}"))),
            (Some(_), Some(_)) => Err(bad_request("give 'message' or 'message_base64', not both")),
            (None, None) => {
                Err(bad_request("field 'message' is missing: a string, or 'message_base64'"))
            }
        }
    }

    /// Texts by name, within the limits of a message's headers.
    pub(super) fn headers(&self) -> Result<Headers, Problem> {
        let what = "an object of strings, such as {\"key\":\"value\"}";
        let headers: Option<BTreeMap<String, String>> = self.optional("headers", what)?;
        Headers::new(headers.unwrap_or_default())
            .map_err(|error| bad_request(format!("field 'headers': {error}")))
    }

    pub(super) fn publish(&self) -> Result<Publish, Problem> {
        Ok(Publish {
            topic: self.topic()?,
            body: self.body()?,
            headers: self.headers()?,
            wait_ms: self.number("wait_ms", 0, PUBLISH_WAIT_MS_MAX)?,
        })
    }

    pub(super) fn ask(&self) -> Result<Ask, Problem> {
        let timeout_ms = self.number("timeout_ms", 1, TIMEOUT_MS_MAX)?;
        Ok(Ask {
            topic: self.topic()?,
            body: self.body()?,
            headers: self.headers()?,
            timeout_ms: timeout_ms.unwrap_or(TIMEOUT_MS_DEFAULT),
            replies: self.number_u32("replies", 1, REPLIES_MAX)?.unwrap_or(1),
        })
    }

    pub(super) fn subscribe(&self) -> Result<Subscribe, Problem> {
        let buffer = self.number_u32("buffer", 1, BUFFER_MAX)?;
        let policy: Option<String> =
            self.optional("policy", "\"block-retention\" or \"drop-oldest\"")?;
        let policy = match (policy.as_deref(), buffer) {
            (None | Some("block-retention"), None) => Policy::BlockRetention,
            (Some("drop-oldest"), buffer) => {
                Policy::DropOldest { messages: buffer.unwrap_or(BUFFER_DEFAULT) as usize }
            }
            (None | Some("block-retention"), Some(_)) => {
                return Err(bad_request("field 'buffer' goes with \"policy\":\"drop-oldest\""));
            }
            (Some(_), _) => {
                let what = "field 'policy' must be \"block-retention\" or \"drop-oldest\"";
                return Err(bad_request(what));
            }
        };
        Ok(Subscribe {
            topic: self.topic()?,
            stream: self.optional("stream", "true or false")?.unwrap_or(false),
            from: self.optional("from", start::ALLOWED)?.unwrap_or_default(),
            policy: Unread(policy),
            durable: self.optional("durable", "true or false")?.unwrap_or(false),
        })
    }

    pub(super) fn connect(&self) -> Result<Request, Problem> {
        let what = "an object of numbers, such as {\"Sports\":12}";
        let received: Option<BTreeMap<String, u64>> = self.optional("received", what)?;
        let name = self.required("name", "a string")?;
        Ok(Request::Connect { name, received: received.unwrap_or_default() })
    }

    pub(super) fn pull(&self) -> Result<Pull, Problem> {
        Ok(Pull {
            topic: self.optional("topic", "a string")?,
            max: self.number_u32("max", 1, PULL_MAX)?.unwrap_or(PULL_DEFAULT),
            wait_ms: self.number("wait_ms", 0, PULL_WAIT_MS_MAX)?.unwrap_or(0),
        })
    }

    pub(super) fn list(&self) -> Result<List, Problem> {
        Ok(List {
            filter: self.optional("filter", "a string")?.unwrap_or_default(),
            offset: self.number_u32("offset", 0, u32::MAX)?.unwrap_or(0),
            limit: self.number_u32("limit", 1, LIST_MAX)?.unwrap_or(LIST_DEFAULT),
        })
    }
}

pub(super) fn bad_request(message: impl Into<String>) -> Problem {
    Problem::new(Code::BadRequest, message)
}
