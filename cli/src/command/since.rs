//! Times in the past, as people name them.

use fanfare_fetcher::config::Period;
use jiff::Timestamp;

use crate::exit::Failure;

/// A length of time before `now`, or a time.
///
/// # Errors
/// `Usage` for anything else.
pub(super) fn since(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let Ok(period) = text.parse::<Period>() else {
        return Err(Failure::Usage(format!(
            "`{text}` is neither a length of time, such as 1h or 7d, nor a time, such as \
             2026-11-20T06:00:00Z"
        )));
    };
    now.checked_sub(period.0)
        .map_err(|error| Failure::Usage(format!("`{text}` is too long ago: {error}")))
}
