//! What shall go: announced in the contract, and told on every answer of it.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue, LINK};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

/// RFC 9745.
const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
/// RFC 8594.
const SUNSET: HeaderName = HeaderName::from_static("sunset");

/// A row that shall go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deprecation {
    /// Since when it is announced.
    pub(crate) since: Timestamp,
    /// When it ends, once that is set: at least six months and two minor versions later.
    pub(crate) sunset: Option<Timestamp>,
    /// The address of what takes its place.
    pub(crate) instead: &'static str,
}

impl Deprecation {
    /// Tells it to whoever asks for the row.
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        // A date of RFC 9651: seconds since 1970.
        let since = format!("@{}", self.since.as_second());
        let sunset = self.sunset.and_then(|it| {
            let printer = DateTimePrinter::new();
            printer.timestamp_to_rfc9110_string(&it).ok()
        });
        for (name, text) in [(DEPRECATION, Some(since)), (SUNSET, sunset)] {
            let value = text.and_then(|it| HeaderValue::try_from(it).ok());
            headers.extend(value.map(|it| (name, it)));
        }
        let link = format!("<{}>; rel=\"successor-version\"", self.instead);
        if let Ok(link) = HeaderValue::try_from(link) {
            headers.append(LINK, link);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shall_go_says_since_when_until_when_and_what_takes_its_place() {
        let announced = Deprecation {
            since: Timestamp::constant(1_688_169_599, 0),
            sunset: None,
            instead: "/v1/events",
        };
        let written = |it: Deprecation| {
            let mut headers = HeaderMap::new();
            let next = HeaderValue::from_static("</v1/x>; rel=\"next\"");
            headers.insert(LINK, next);
            it.write(&mut headers);
            headers
        };
        let headers = written(announced);
        assert_eq!(headers["deprecation"], "@1688169599");
        assert!(!headers.contains_key("sunset"));
        let links: Vec<_> = headers.get_all(LINK).iter().collect();
        let instead = "</v1/events>; rel=\"successor-version\"";
        assert_eq!(links, ["</v1/x>; rel=\"next\"", instead]);

        let sunset = Some(Timestamp::constant(1_719_792_000, 0));
        let headers = written(Deprecation {
            sunset,
            ..announced
        });
        assert_eq!(headers["sunset"], "Mon, 01 Jul 2024 00:00:00 GMT");
    }
}
