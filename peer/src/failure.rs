//! How a command fails: what people read, and what scripts see.

use std::io::{self, Write as _};
use std::process::ExitCode;

use tidings::control::{ClientError, Code};
use tidings::{ConfigError, JoinError};

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: u8,
    message: String,
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const REFUSED: u8 = 3;
const UNREACHABLE: u8 = 4;
const TIMED_OUT: u8 = 27;

impl Failure {
    /// Something went wrong.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { exit: FAILED, message: message.into() }
    }

    /// The command line or the configuration is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: USAGE, message: message.into() }
    }

    /// Not found, denied, taken.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self { exit: REFUSED, message: message.into() }
    }

    /// No message came in time.
    pub(crate) fn timed_out(message: impl Into<String>) -> Self {
        Self { exit: TIMED_OUT, message: message.into() }
    }

    /// Nobody answers.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self { exit: UNREACHABLE, message: message.into() }
    }

    /// The same failure, and what helps.
    pub(crate) fn followed_by(mut self, hint: &str) -> Self {
        self.message.push_str(hint);
        self
    }

    /// The same failure, after people were told of it.
    pub(crate) fn told(mut self) -> Self {
        self.message.clear();
        self
    }

    /// The same failure, told with more about where it happened.
    pub(crate) fn at(mut self, place: &str) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// What people read.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Tells people, and gives what scripts see. A reader that closed the pipe has seen enough.
    pub(crate) fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            // On a disk that is full nothing can be told, and the code still says that it failed.
            let _ = writeln!(io::stderr(), "peer: {}", self.message);
        }
        ExitCode::from(self.exit)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // `peer sub Sports | head -1` is no failure of anybody.
            io::ErrorKind::BrokenPipe => Self { exit: 0, message: String::new() },
            _ => Self::failed(error.to_string()),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Unreachable { .. } | ClientError::Closed => UNREACHABLE,
            ClientError::TooLarge { .. } => REFUSED,
            ClientError::Refused(problem) => exit_of(problem.code),
            _ => FAILED,
        };
        Self { exit, message: error.to_string() }
    }
}

fn exit_of(code: Code) -> u8 {
    match code {
        Code::BadTopic | Code::BadRequest => USAGE,
        Code::NoQuorum | Code::Leaving => UNREACHABLE,
        Code::TopicNotFound
        | Code::TopicExists
        | Code::NotHost
        | Code::NotSubscribed
        | Code::NotConnected
        | Code::NameTaken
        | Code::NameNotFound
        | Code::NotSupported
        | Code::Refused
        | Code::TooLarge
        | Code::Limit => REFUSED,
        _ => FAILED,
    }
}
