//! Times as feeds write them.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, fmt};

/// Reads a time: RFC 3339, RFC 2822, or without an offset (then UTC), also only a day (its first
/// moment). Anything else is `None`; numbers need to be told apart by the caller.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if let Ok(time) = fmt::rfc2822::parse(text) {
        return Some(time.timestamp());
    }
    // A lone word or number is no date, although civil parsing takes compact forms.
    if !text.contains('-') {
        return None;
    }
    let civil = text
        .parse::<DateTime>()
        .or_else(|_| {
            text.parse::<Date>()
                .map(|it| it.to_datetime(jiff::civil::Time::midnight()))
        })
        .ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|it| it.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let expected = expected.map(|it| it.parse::<Timestamp>().unwrap());
        assert_eq!(parse_time(text), expected, "{text}");
    }

    #[test]
    fn the_usual_forms_are_read() {
        check("2024-12-08T22:46:06+00:00", Some("2024-12-08T22:46:06Z"));
        check("2024-01-08T13:48:00-06:00", Some("2024-01-08T19:48:00Z"));
        check(
            "Tue, 19 Jul 2022 04:39:19 GMT",
            Some("2022-07-19T04:39:19Z"),
        );
        check(
            "Tue, 19 Jul 2022 04:39:19 EST",
            Some("2022-07-19T09:39:19Z"),
        );
        check("2025-06-05", Some("2025-06-05T00:00:00Z"));
        check("2021-04-17 16:51:02", Some("2021-04-17T16:51:02Z"));
        check(
            " 2021-04-17T16:43:37.089723Z ",
            Some("2021-04-17T16:43:37.089723Z"),
        );
    }

    #[test]
    fn nonsense_is_no_time() {
        for text in [
            "",
            "date:now -1 hour",
            "date:today 16:00:-5 -24 hours",
            "yesterday",
            "1746366018110",
            "2024-13-01",
            "none",
        ] {
            check(text, None);
        }
    }

    proptest! {
        #[test]
        fn foreign_text_never_panics(text in ".{0,40}") {
            let _ = parse_time(&text);
        }
    }
}
