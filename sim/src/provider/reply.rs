//! An answer before it goes onto the wire.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;

use crate::script::RetryAfter;

/// Status, headers, body, and the word the ledger keeps.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
    pub(crate) reason: Option<String>,
}

impl Reply {
    pub(crate) fn ok(body: Bytes) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body,
            reason: None,
        }
    }

    pub(crate) fn failed(status: u16, reason: &str, body: Vec<u8>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            reason: Some(reason.to_owned()),
        }
    }

    pub(crate) fn html(status: u16) -> Self {
        let body = format!("<!DOCTYPE html>\n<html><title>Error {status}</title></html>\n");
        Self::failed(status, "html", body.into_bytes()).with(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=UTF-8"),
        )
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn retry_after(self, wait: Option<RetryAfter>, now_ms: i64) -> Self {
        let text = match wait {
            None => return self,
            Some(RetryAfter::Seconds(seconds)) => seconds.to_string(),
            Some(RetryAfter::Date(seconds)) => http_date(now_ms + i64::from(seconds) * 1000),
        };
        match HeaderValue::try_from(text) {
            Ok(value) => self.with(http::header::RETRY_AFTER, value),
            Err(_) => self,
        }
    }
}

/// RFC 9110 section 5.6.7, from Unix milliseconds.
pub(crate) fn http_date(at_ms: i64) -> String {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or_default();
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(
            super::http_date(784_111_777_000),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
    }
}
