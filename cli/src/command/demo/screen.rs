//! What is shown while the demo runs: lines that stay, and one line that is updated.
//!
//! Without a terminal the status is a line of its own, once a second.

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

/// Between two status lines where they stay.
const PLAIN_EVERY: Duration = Duration::from_secs(1);
/// Between two updates where they do not.
const LIVE_EVERY: Duration = Duration::from_millis(200);

/// Where the story is shown.
pub(super) struct Screen {
    began: Instant,
    to_stderr: bool,
    bar: Option<ProgressBar>,
    is_over: Cell<bool>,
}

impl Screen {
    /// Standard output, or standard error if that is for the report alone.
    pub(super) fn new(to_stderr: bool) -> Self {
        let is_terminal = if to_stderr {
            std::io::stderr().is_terminal()
        } else {
            std::io::stdout().is_terminal()
        };
        let target = || {
            if to_stderr {
                ProgressDrawTarget::stderr()
            } else {
                ProgressDrawTarget::stdout()
            }
        };
        let bar = is_terminal.then(|| {
            let bar = ProgressBar::with_draw_target(None, target());
            match ProgressStyle::with_template("{wide_msg}") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Self {
            began: Instant::now(),
            to_stderr,
            bar,
            is_over: Cell::new(false),
        }
    }

    /// How long the demo has run.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// How often the status should change.
    pub(super) fn pace(&self) -> Duration {
        if self.bar.is_some() {
            LIVE_EVERY
        } else {
            PLAIN_EVERY
        }
    }

    /// A line of the story, with the time.
    pub(super) fn tell(&self, text: &str) {
        let line = format!("{:5.1} s  {text}", self.elapsed().as_secs_f64());
        match &self.bar {
            Some(bar) if !self.is_over.get() => bar.println(line),
            Some(_) | None => self.write(&line),
        }
    }

    /// The status; replaces the one before where it can.
    pub(super) fn status(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(format!("{:5.1} s  {text}", self.elapsed().as_secs_f64())),
            None => self.tell(text),
        }
    }

    /// Takes the status away.
    pub(super) fn end(&self) {
        self.is_over.set(true);
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// A reader that went away is nobody to tell, and no reason to stop.
    fn write(&self, line: &str) {
        let _gone = if self.to_stderr {
            writeln!(std::io::stderr(), "{line}")
        } else {
            writeln!(std::io::stdout(), "{line}")
        };
    }
}
