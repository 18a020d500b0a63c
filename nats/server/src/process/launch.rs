//! What to start, and how.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use super::Signal;
use super::child::{Child, State};
use super::supervise;

/// A line that a child printed, without its line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// On standard output.
    Out(String),
    /// On standard error.
    Err(String),
}

impl Line {
    /// The text, wherever it was printed.
    pub fn text(&self) -> &str {
        match self {
            Self::Out(text) | Self::Err(text) => text,
        }
    }
}

/// Where a child's standard output and standard error go.
#[derive(Clone, Default)]
pub enum Output {
    /// To ours.
    Inherit,
    /// Nowhere.
    Discard,
    /// Line by line to us; the last ones are kept for [`Child::last_lines`].
    #[default]
    Keep,
    /// As `Keep`, and each line is passed on. Called on a thread of the child's own; while it
    /// blocks, so does the child once its pipe is full.
    Lines(Arc<dyn Fn(&Line) + Send + Sync>),
}

/// A child process about to be started. Standard input is empty.
pub struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) variables: Vec<(OsString, Option<OsString>)>,
    pub(super) folder: Option<PathBuf>,
    pub(super) on_our_death: Signal,
    pub(super) output: Output,
    pub(super) shared_files: Vec<File>,
}

impl Launch {
    /// A child running `program`, which inherits our environment and is killed if we die.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            variables: Vec::new(),
            folder: None,
            on_our_death: Signal::Kill,
            output: Output::default(),
            shared_files: Vec::new(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), Some(value.into())));
        self
    }

    /// Removes an environment variable.
    #[must_use]
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), None));
        self
    }

    /// Starts in this folder instead of ours.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Chooses what the kernel sends to the child when we die without ending it (default: SIGKILL).
    #[must_use]
    pub fn on_our_death(mut self, signal: Signal) -> Self {
        self.on_our_death = signal;
        self
    }

    /// Chooses where its output goes.
    #[must_use]
    pub fn output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }

    /// Lets the child hold `file` open as long as it lives: a lock on it ends with the last of us
    /// two.
    #[must_use]
    pub fn share(mut self, file: File) -> Self {
        self.shared_files.push(file);
        self
    }

    /// Starts the child. Blocks for the milliseconds that fork and exec take.
    ///
    /// # Errors
    /// Those of the operating system: no such program, no permission, too many processes.
    pub fn start(self) -> io::Result<Child> {
        let state = Arc::new(State::default());
        let (started, answer) = mpsc::sync_channel(1);
        let name = self
            .program
            .file_name()
            .map_or_else(String::new, |it| it.to_string_lossy().into());
        let for_thread = Arc::clone(&state);
        std::thread::Builder::new()
            .name(format!("child {name}"))
            .spawn(move || supervise::run(self, &for_thread, &started))?;
        let pid = answer.recv().map_err(io::Error::other)??;
        Ok(Child::new(pid, state))
    }
}
