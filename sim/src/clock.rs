//! The one place where this crate reads the wall clock.

use jiff::Timestamp;

/// The time now. Decisions take it as an argument.
pub(crate) fn now() -> Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "the crate's one reading of the clock"
    )]
    Timestamp::now()
}
