//! How a command fails: what people read, and what scripts see.

use std::io::{self, Write as _};
use std::process::ExitCode;

use tidings_runtime::listen::BindError;
use tidings_runtime::logging::LogError;
use tidings_runtime::store::StoreError;
use tidings_runtime::{ConfigError, DataError, IdentityError};

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

impl Failure {
    /// Something went wrong.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { exit: FAILED, message: message.into() }
    }

    /// The command line or the configuration is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: USAGE, message: message.into() }
    }

    /// The seed says no.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self { exit: REFUSED, message: message.into() }
    }

    /// Nobody answers.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self { exit: UNREACHABLE, message: message.into() }
    }

    /// What went wrong, for a table of several attempts.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Tells people, and gives what scripts see.
    pub(crate) fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            // On a disk that is full nothing can be told, and the code still says that it failed.
            let _ = writeln!(io::stderr(), "seed: {}", self.message);
        }
        ExitCode::from(self.exit)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // `seed peers | head -1` is no failure of anybody.
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

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Unspecified { .. } => Self::usage(error.to_string()),
            IdentityError::Randomness => Self::failed(error.to_string()),
        }
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Owner { .. } => Self::refused(error.to_string()),
            _ => Self::failed(error.to_string()),
        }
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::failed(error.to_string())
    }
}
