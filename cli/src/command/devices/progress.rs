//! How far it is: a line that moves on a terminal, elsewhere a line now and then.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

/// Where nobody looks on, a line is written so often.
const EVERY: Duration = Duration::from_secs(10);

/// Shared by whoever sends and whoever listens: clones are one.
#[derive(Clone)]
pub(super) struct Progress {
    bar: ProgressBar,
    is_terminal: bool,
}

/// When something was last told where nobody looks on.
pub(super) struct Pace(Instant);

impl Pace {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }
}

impl Progress {
    /// Of so many bytes, if it is known how many.
    pub(super) fn of_bytes(total: Option<u64>) -> Self {
        let template = match total {
            Some(_) => "{bar:20} {percent}% ({bytes} of {total_bytes}, {eta} left): {msg}",
            None => "{bytes}: {msg}",
        };
        Self::new(total, template)
    }

    /// Of what has no known end.
    pub(super) fn of_devices() -> Self {
        Self::new(None, "{msg}")
    }

    fn new(total: Option<u64>, template: &str) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        if !is_terminal {
            let bar = ProgressBar::hidden();
            return Self { bar, is_terminal };
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        let bar = match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        };
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, is_terminal }
    }

    /// So many bytes more are on their way.
    pub(super) fn sent(&self, bytes: usize) {
        self.bar.inc(u64::try_from(bytes).unwrap_or(0));
    }

    /// Where it stands now.
    pub(super) fn stands(&self, text: String, pace: &mut Pace) {
        if !self.is_terminal && pace.0.elapsed() >= EVERY {
            pace.0 = Instant::now();
            eprintln!("fanfare: {text}");
        }
        self.bar.set_message(text);
    }

    /// A line that stays, above what moves.
    pub(super) fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    /// Takes it away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
