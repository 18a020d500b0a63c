//! What a response's head says (pure): when to come back, and where to go on.

use std::time::Duration;

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL, LINK, RETRY_AFTER};
use jiff::Timestamp;
use url::Url;

/// The longest pause that a publisher's headers are granted: beyond it an operator would take the
/// source for dead.
const MAX_PAUSE: Duration = Duration::from_hours(1);

/// `Retry-After` as seconds or a date, rounded up.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = if let Ok(seconds) = text.parse::<u64>() {
        seconds
    } else {
        let until = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        let left = u64::try_from(until.duration_since(now).as_secs()).unwrap_or(0);
        left.saturating_add(1)
    };
    Some(Duration::from_secs(seconds).min(MAX_PAUSE))
}

/// How long the publisher says that nothing changes: what is left of `max-age`, or
/// `X-Poll-Interval`.
pub(super) fn lower_bound(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let max_age = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .filter_map(|it| {
            it.trim()
                .to_ascii_lowercase()
                .strip_prefix("max-age=")?
                .trim_matches('"')
                .parse::<u64>()
                .ok()
        })
        .max();
    let left = max_age.map(|it| it.saturating_sub(number(AGE.as_str()).unwrap_or(0)));
    let seconds = left.max(number("x-poll-interval")).filter(|it| *it > 0)?;
    Some(Duration::from_secs(seconds).min(MAX_PAUSE))
}

/// The target of `Link: <…>; rel="next"` (RFC 8288), resolved against `base`.
pub(super) fn next_page(headers: &HeaderMap, base: &Url) -> Option<Url> {
    headers
        .get_all(LINK)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .find_map(next_target)
        .and_then(|it| base.join(it).ok())
}

fn next_target(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, tail) = after.split_once('>')?;
        let end = tail.find('<').unwrap_or(tail.len());
        let (parameters, next) = tail.split_at_checked(end)?;
        let is_next = parameters.split([';', ',']).any(|it| {
            let Some((name, value)) = it.split_once('=') else {
                return false;
            };
            name.trim().eq_ignore_ascii_case("rel")
                && value
                    .trim()
                    .trim_matches('"')
                    .split_whitespace()
                    .any(|it| it == "next")
        });
        if is_next {
            return Some(target);
        }
        rest = next;
    }
    None
}

/// When to poll again: never before the publisher's lower bound, and not in step with others.
/// `chance` is −1 to 1 and moves the interval by a tenth.
pub(super) fn interval(every: Duration, bound: Option<Duration>, chance: f64) -> Duration {
    let bound = bound.unwrap_or_default();
    let jittered = every.mul_f64(1.0 + 0.1 * chance.clamp(-1.0, 1.0));
    jittered.max(bound + every.min(bound).mul_f64(0.1 * chance.abs().min(1.0)))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "2022-07-19T04:39:00Z".parse().unwrap();
        let read = |text: &str| retry_after(&headers(&[("retry-after", text)]), now);
        assert_eq!(read("120"), Some(Duration::from_mins(2)));
        assert_eq!(
            read("Tue, 19 Jul 2022 04:39:19 GMT"),
            Some(Duration::from_secs(20))
        );
        assert_eq!(
            read("Tue, 19 Jul 2022 04:00:00 GMT"),
            Some(Duration::from_secs(1))
        );
        assert_eq!(read("99999999"), Some(MAX_PAUSE));
        assert_eq!(read("soon"), None);
    }

    #[test]
    fn what_is_left_of_max_age_is_a_lower_bound() {
        let read =
            |pairs: &[(&'static str, &str)]| lower_bound(&headers(pairs)).map(|it| it.as_secs());
        assert_eq!(read(&[("cache-control", "public, max-age=60")]), Some(60));
        assert_eq!(
            read(&[("cache-control", "max-age=60"), ("age", "45")]),
            Some(15)
        );
        assert_eq!(
            read(&[("cache-control", "max-age=60"), ("age", "99")]),
            None
        );
        assert_eq!(read(&[("x-poll-interval", "30")]), Some(30));
        assert_eq!(read(&[("cache-control", "no-cache")]), None);
    }

    #[test]
    fn the_next_page_is_found_among_other_links() {
        let base = Url::parse("https://api.example.org/repos/a/issues?per_page=3").unwrap();
        let read = |text: &str| next_page(&headers(&[("link", text)]), &base).map(String::from);
        assert_eq!(
            read(
                "<https://api.example.org/repositories/1/issues?page=1>; rel=\"prev\", <https://api.example.org/repositories/1/issues?page=3>; rel=\"next\""
            ),
            Some("https://api.example.org/repositories/1/issues?page=3".to_owned())
        );
        assert_eq!(
            read("</x?page=2>; title=\"a, b\"; rel=next"),
            Some("https://api.example.org/x?page=2".to_owned())
        );
        assert_eq!(read("<https://api.example.org/x>; rel=\"last\""), None);
        assert_eq!(read("nonsense <"), None);
    }

    proptest! {
        #[test]
        fn an_interval_is_never_below_the_publishers_bound(
            every_ms in 20_u64..100_000, bound_ms in 0_u64..100_000, chance in -1.0_f64..1.0
        ) {
            let (every, bound) = (Duration::from_millis(every_ms), Duration::from_millis(bound_ms));
            let wait = interval(every, Some(bound), chance);
            prop_assert!(wait >= bound && wait >= every.mul_f64(0.899));
            prop_assert!(wait <= every.max(bound).mul_f64(1.101));
        }

        #[test]
        fn foreign_headers_never_panic(text in "[ -~]{0,60}") {
            let base = Url::parse("https://example.org/").unwrap();
            let _ = next_page(&headers(&[("link", &text)]), &base);
            let _ = lower_bound(&headers(&[("cache-control", &text)]));
        }
    }
}
