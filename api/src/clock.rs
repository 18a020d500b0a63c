//! The one place of this crate that reads the wall clock.

use jiff::Timestamp;

/// The current time.
#[expect(
    clippy::disallowed_methods,
    reason = "the shell's clock; decisions take `now` as an argument"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
