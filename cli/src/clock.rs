//! The one place of this crate that reads the clock.

/// The current time; steps of the machine's clock do not move it.
pub(crate) fn now() -> jiff::Timestamp {
    fanfare_nats::clock::now()
}
