//! The connection of a shell to a peer.

use serde_json::Value;
use tidings::control::{Client, ClientError, Code, Incoming, Problem, Receiver, Sender};

use crate::failure::Failure;

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    /// Where the peer is.
    pub(super) address: String,
    /// CONNECT made it.
    pub(super) chosen: bool,
    /// It has a session with a name.
    pub(super) is_session: bool,
    /// It is broken.
    pub(super) is_lost: bool,
    /// Subscriptions whose messages come.
    pub(super) streams: usize,
    sender: Sender,
    receiver: Receiver,
}

impl Link {
    /// Connects.
    pub(super) async fn open(address: &str) -> Result<Self, Failure> {
        let (sender, receiver) = Client::connect(address).await?.split();
        eprintln!("connected to {address}");
        Ok(Self {
            address: address.to_owned(),
            chosen: false,
            is_session: false,
            is_lost: false,
            streams: 0,
            sender,
            receiver,
        })
    }

    /// Sends a request.
    pub(super) async fn send(&mut self, request: &Value) -> Result<(), Failure> {
        self.sender.queue_json(request)?;
        let sent = self.sender.flush().await;
        self.checked(sent)
    }

    /// What the peer says next. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Result<Incoming, Failure> {
        let next = self.receiver.next().await;
        self.checked(next)
    }

    fn checked<T>(&mut self, result: Result<T, ClientError>) -> Result<T, Failure> {
        self.is_lost |= result.is_err();
        Ok(result?)
    }

    /// Takes note of what an answer changes. A refusal is a failure that says what helps.
    pub(super) fn note(
        &mut self,
        request: &Value,
        answer: Result<Value, Problem>,
    ) -> Result<Value, Failure> {
        let answer = answer.map_err(|problem| {
            let hint = hint(problem.code);
            Failure::from(ClientError::Refused(problem)).followed_by(hint)
        })?;
        match command_of(request).as_str() {
            "subscribe" if request["stream"] == true => self.streams += 1,
            "unsubscribe" => self.streams = self.streams.saturating_sub(1),
            "connect" => {
                self.is_session = true;
                // Restored subscriptions bring messages on their own.
                self.streams += answer["topics"].as_array().map_or(0, Vec::len);
            }
            "disconnect" => self.is_session = false,
            _ => {}
        }
        Ok(answer)
    }
}

/// The command of a request, in small letters.
pub(super) fn command_of(request: &Value) -> String {
    request["command"].as_str().unwrap_or_default().to_ascii_lowercase()
}

fn hint(code: Code) -> &'static str {
    match code {
        Code::TopicNotFound => "; LIST_TOPICS shows what there is, CREATE_TOPIC makes one",
        Code::NotSubscribed => "; SUBSCRIBE first",
        Code::UnknownCommand => "; -h shows all",
        Code::NoQuorum => "; SEEDS shows which are reachable",
        _ => "",
    }
}
