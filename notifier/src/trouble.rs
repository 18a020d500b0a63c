//! What goes wrong while the broker is away is tried again many times a second, in every task. It is
//! told once a minute; [the broker's own line](fanfare_nats::Readiness) tells when it began and ended.

use std::error::Error;
use std::fmt::Display;

use crate::shared::Shared;

/// Tells of something that is tried again: loudly if nothing of the kind was told within a minute.
pub(crate) fn tell(
    shared: &Shared,
    what: &'static str,
    about: &dyn Display,
    error: &(dyn Error + 'static),
) {
    shared.metrics.last_error.note(error);
    if shared.broker.is_news(what) {
        tracing::warn!(about = %about, error, "{what}, trying again");
    } else {
        tracing::debug!(about = %about, error, "{what}, trying again");
    }
}
