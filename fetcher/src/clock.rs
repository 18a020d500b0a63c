//! The one place of this crate that reads the clock.

use jiff::Timestamp;

/// The current time; steps of the machine's clock do not move it.
pub(crate) fn now() -> Timestamp {
    fanfare_nats::clock::now()
}
