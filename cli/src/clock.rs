//! The one place of this crate that reads the clock.

/// The current time.
#[expect(
    clippy::disallowed_methods,
    reason = "the one reader; everyone else gets `now`"
)]
pub(crate) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
