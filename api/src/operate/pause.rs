//! The body of a pause: until when.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use utoipa::ToSchema;

use crate::fields::{Fields, Flaw, Flaws, Read};
use crate::text;

/// The longest pause. Work waits for hours, plans are kept for two days: whoever means longer says it
/// again, and nobody has to remember a pause of last year.
const LONGEST: Duration = Duration::from_hours(30 * 24);
/// The longest text of a length of time.
const MAX_LENGTH: usize = 32;

/// Until when; exactly one of the two.
#[derive(ToSchema)]
#[schema(as = PauseDocument)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "described here, read by hand")]
pub(crate) struct Document {
    /// For how long, from when the request is served: hours, minutes, seconds; at most 30 days.
    #[schema(
        pattern = "^([0-9]{1,3}d)?([0-9]{1,3}h)?([0-9]{1,5}m)?([0-9]{1,7}s)?$",
        min_length = 2,
        max_length = 32,
        example = "30m"
    )]
    r#for: Option<String>,
    /// A moment to come, at most 30 days from now.
    until: Option<Timestamp>,
}

/// Reads the body: the moment at which the pause ends.
pub(crate) fn read(body: Value, now: Timestamp) -> Result<Timestamp, Vec<Flaw>> {
    let mut flaws = Flaws::default();
    let until = Fields::open(body, "", &mut flaws).and_then(|mut fields| {
        let is_for = fields.has("for");
        let is_until = fields.has("until");
        let until = fields.optional("until", &mut flaws, |it| moment(it, now));
        let lasting = fields.optional("for", &mut flaws, |it| end_of(it, now));
        fields.finish(&mut flaws);
        match (is_for, is_until) {
            (true, true) => flaws.add("/until", "cannot be told beside `for`"),
            (false, false) => flaws.add("", "must have `for` or `until`"),
            (true, false) | (false, true) => {}
        }
        until.or(lasting)
    });
    flaws.judge(until)
}

fn moment(value: Value, now: Timestamp) -> Read<Timestamp> {
    let text = text::string(value)?;
    let until: Option<Timestamp> = text.parse().ok();
    let until = until.ok_or("must be a time such as 2026-03-01T12:00:00Z")?;
    within(until, now)
}

fn end_of(value: Value, now: Timestamp) -> Read<Timestamp> {
    let text = text::string(value)?;
    let lasting: Option<SignedDuration> = length(&text);
    let until = lasting.and_then(|it| now.checked_add(it).ok());
    let until = until.ok_or("must be a length of time such as 30m, 2h or 1d")?;
    within(until, now)
}

/// A length of time; a day is 24 hours.
pub(crate) fn length(text: &str) -> Option<SignedDuration> {
    if text.is_empty() || text.len() > MAX_LENGTH || text.contains('-') {
        return None;
    }
    let Some((days, rest)) = text.split_once('d') else {
        return text.parse().ok();
    };
    let days: u32 = days.parse().ok().filter(|it| *it <= 1000)?;
    let days = SignedDuration::from_hours(24 * i64::from(days));
    let rest = match rest {
        "" => SignedDuration::ZERO,
        rest => rest.parse().ok()?,
    };
    days.checked_add(rest)
}

fn within(until: Timestamp, now: Timestamp) -> Read<Timestamp> {
    if until <= now {
        return Err("must lie in the future".into());
    }
    if until.duration_since(now).unsigned_abs() > LONGEST {
        return Err("must end within 30 days; say it again then".into());
    }
    Ok(until)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn noon() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    #[track_caller]
    fn check(body: Value, expected: &str) {
        let read = read(body.clone(), noon()).unwrap();
        assert_eq!(read.to_string(), expected, "{body}");
    }

    #[track_caller]
    fn check_refused(body: Value, pointer: &str) {
        let flaws = read(body.clone(), noon()).unwrap_err();
        let pointers: Vec<_> = flaws.iter().map(|it| it.pointer.as_str()).collect();
        assert_eq!(pointers, [pointer], "{body}");
    }

    #[test]
    fn a_pause_ends_at_a_moment_or_after_a_time() {
        check(json!({"for": "30m"}), "2026-03-01T12:30:00Z");
        check(json!({"for": "1h30m"}), "2026-03-01T13:30:00Z");
        check(json!({"for": "1d"}), "2026-03-02T12:00:00Z");
        check(json!({"for": "30d"}), "2026-03-31T12:00:00Z");
        check(json!({"for": "1d12h"}), "2026-03-03T00:00:00Z");
        let until = "2026-03-01T12:00:01Z";
        check(json!({"until": until}), until);
        check(json!({"until": until, "for": null}), until);
    }

    #[test]
    fn a_pause_has_an_end_that_is_near_and_to_come() {
        check_refused(json!({}), "");
        check_refused(json!([]), "");
        check_refused(json!({"until": "2026-03-01T12:00:00Z"}), "/until");
        check_refused(json!({"until": "2026-04-01T12:00:00Z"}), "/until");
        check_refused(json!({"until": 7}), "/until");
        for lasting in [
            "31d",
            "0s",
            "-1h",
            "soon",
            "",
            "999999999999h",
            "1d-1h",
            "dd",
            "30 days ago",
            "1.5d",
            "99999999999999999999d",
        ] {
            check_refused(json!({"for": lasting}), "/for");
        }
        let both = json!({"for": "1h", "until": "2026-03-01T13:00:00Z"});
        check_refused(both, "/until");
        check_refused(json!({"for": "1h", "lane": "ios-bulk"}), "/lane");
    }
}
