//! How a command can fail, and the exit code that says so.

use std::process::ExitCode;

use fanfare_nats_server::ObtainError;

use crate::config::ConfigError;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A role or a child failed, a drain was cut off, a command could not do its work: 1.
    Failed(anyhow::Error),
    /// The command line is wrong: 2.
    Usage(String),
    /// There is no nats-server (`EX_UNAVAILABLE` of sysexits.h): 69.
    NoServer(anyhow::Error),
    /// The configuration is wrong (`EX_CONFIG` of sysexits.h): 78.
    Configuration(ConfigError),
    /// A code of the command's own.
    Code {
        /// The exit code.
        code: u8,
        /// Why.
        error: anyhow::Error,
    },
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Configuration(error)
    }
}

impl From<ObtainError> for Failure {
    fn from(error: ObtainError) -> Self {
        Self::NoServer(error.into())
    }
}

/// Tells why, and returns the code.
pub(crate) fn of(ended: Result<(), Failure>) -> ExitCode {
    let (code, text) = match ended {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Failed(error)) => (1, format!("fanfare: {error:#}")),
        Err(Failure::Usage(text)) => (2, format!("fanfare: {text}")),
        Err(Failure::NoServer(error)) => (69, format!("fanfare: {error:#}")),
        Err(Failure::Configuration(error)) => (78, error.to_string()),
        Err(Failure::Code { code, error }) => (code, format!("fanfare: {error:#}")),
    };
    eprintln!("{text}");
    ExitCode::from(code)
}

/// Prints what clap has to say: help on standard output (0), complaints on standard error (2).
pub(crate) fn of_command_line(error: &clap::Error) -> ExitCode {
    // A closed pipe is nobody to tell.
    let _printed = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
