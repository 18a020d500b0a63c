//! How far a long question is, where somebody looks on.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line on standard error that goes away; nothing where that is no terminal.
pub(super) fn bar(what: &'static str, n: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(n), ProgressDrawTarget::stderr());
    let bar = match ProgressStyle::with_template("{msg} {pos} of {len}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    };
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
