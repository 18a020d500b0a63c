//! The one place that reads the clock.

/// Microseconds since the Unix epoch, the unit of the ledger.
#[expect(
    clippy::disallowed_methods,
    reason = "compared with the times of the ledger"
)]
pub fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
