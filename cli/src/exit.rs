//! How a command can fail, and the exit code that says so.

use std::process::ExitCode;

use fanfare_nats::connect::ConnectError;
use fanfare_nats::survey;
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
        Err(Failure::Failed(error)) => (1, told(&error)),
        Err(Failure::Usage(text)) => (2, format!("fanfare: {text}")),
        Err(Failure::NoServer(error)) => (69, told(&error)),
        Err(Failure::Configuration(error)) => (78, error.to_string()),
        Err(Failure::Code { code, error }) => (code, told(&error)),
    };
    eprintln!("{text}");
    ExitCode::from(code)
}

/// What happened, from the outermost cause to the innermost, and what to do where that is known.
fn told(error: &anyhow::Error) -> String {
    let mut text = format!("fanfare: {}", survey::told(error.as_ref()));
    if let Some(refused) = error.downcast_ref::<ConnectError>() {
        text.extend(["\n  ", &survey::of_refusal(refused).advice]);
    }
    text
}

/// Prints what clap has to say: help on standard output (0), complaints on standard error (2).
pub(crate) fn of_command_line(error: &clap::Error) -> ExitCode {
    // A closed pipe is nobody to tell.
    let _printed = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the request failed: {0}")]
    struct SaysItsCause(#[source] std::io::Error);

    #[test]
    fn a_cause_is_told_once() {
        let error = SaysItsCause(std::io::Error::other("refused"));
        let error = anyhow::Error::from(error).context("nothing was stored");
        let expected = "fanfare: nothing was stored: the request failed: refused";
        assert_eq!(told(&error), expected);
    }

    #[test]
    fn whoever_reaches_no_server_is_told_where_to_look() {
        let error = ConnectError::NoJetStream {
            version: "2.15.1".to_owned(),
        };
        let error = anyhow::Error::from(error).context("nats://broker:4222");
        let text = told(&error);
        assert!(text.starts_with("fanfare: nats://broker:4222: nats-server 2.15.1 runs without"));
        assert!(text.ends_with("\n  switch JetStream on for this account and this server"));
    }
}
