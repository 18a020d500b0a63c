//! Entity tags and the preconditions of RFC 9110 section 13. The tag of a device is the revision of
//! its document.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use utoipa::IntoParams;

/// The two headers, as the contract tells of them.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(
    dead_code,
    reason = "they are read as `Preconditions`: this is for the contract"
)]
pub(crate) struct Params {
    /// Only at this revision, or `*`
    #[param(
        rename = "If-Match",
        pattern = "^(\\*|(W/)?\"[0-9]+\"(, ?(W/)?\"[0-9]+\")*)$"
    )]
    if_match: Option<String>,
    /// Only not at this revision; `*`: only if there is none
    #[param(
        rename = "If-None-Match",
        pattern = "^(\\*|(W/)?\"[0-9]+\"(, ?(W/)?\"[0-9]+\")*)$"
    )]
    if_none_match: Option<String>,
}

/// The header value of a revision: `"<revision>"`, a strong tag.
pub(crate) fn etag(revision: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Which tags a precondition names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    /// `*`: any that exists.
    Any,
    /// These revisions; foreign and weak tags are kept apart.
    Listed(Vec<Tag>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tag {
    /// `None` for a tag that this server never wrote.
    revision: Option<u64>,
    is_weak: bool,
}

/// The preconditions of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Preconditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
    /// What exists is not written without one of them.
    is_required: bool,
}

/// A precondition that is not written as RFC 9110 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable(pub(crate) &'static str);

/// Which precondition does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// `If-Match`: the document is another one, or gone.
    Match,
    /// `If-None-Match`: the document is that one, or exists.
    NoneMatch,
    /// Neither was sent, and one has to be.
    Missing,
}

impl Preconditions {
    /// Reads both headers.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, Unreadable> {
        Ok(Self {
            if_match: read_tags(headers, &IF_MATCH, "If-Match")?,
            if_none_match: read_tags(headers, &IF_NONE_MATCH, "If-None-Match")?,
            is_required: false,
        })
    }

    /// The same where one of them has to be sent for what exists.
    pub(crate) fn required(self, is_required: bool) -> Self {
        Self {
            is_required,
            ..self
        }
    }

    /// Whether neither was sent.
    pub(crate) fn are_none(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// Whether they hold for the document at `revision`, `None` if there is none.
    ///
    /// `If-Match` is judged first and by strong comparison, `If-None-Match` by weak comparison
    /// (RFC 9110 sections 13.1 and 13.2.2).
    pub(crate) fn judge(&self, revision: Option<u64>) -> Result<(), Failed> {
        let names = |tags: &Tags, is_strong: bool| match tags {
            Tags::Any => revision.is_some(),
            Tags::Listed(tags) => tags.iter().any(|it| {
                it.revision.is_some() && it.revision == revision && !(is_strong && it.is_weak)
            }),
        };
        if self.is_required && self.are_none() && revision.is_some() {
            return Err(Failed::Missing);
        }
        if self.if_match.as_ref().is_some_and(|it| !names(it, true)) {
            return Err(Failed::Match);
        }
        if self
            .if_none_match
            .as_ref()
            .is_some_and(|it| names(it, false))
        {
            return Err(Failed::NoneMatch);
        }
        Ok(())
    }
}

fn read_tags(
    headers: &HeaderMap,
    name: &HeaderName,
    shown: &'static str,
) -> Result<Option<Tags>, Unreadable> {
    let mut listed = Vec::new();
    let mut is_any = false;
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(|_| Unreadable(shown))?;
        for tag in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            if tag == "*" {
                is_any = true;
            } else {
                listed.push(read_tag(tag).ok_or(Unreadable(shown))?);
            }
        }
    }
    match (is_any, listed.is_empty()) {
        (true, true) => Ok(Some(Tags::Any)),
        (true, false) => Err(Unreadable(shown)),
        (false, false) => Ok(Some(Tags::Listed(listed))),
        // A guard that was sent but is empty must not count as no guard.
        (false, true) if headers.contains_key(name) => Err(Unreadable(shown)),
        (false, true) => Ok(None),
    }
}

fn read_tag(text: &str) -> Option<Tag> {
    let (is_weak, text) = match text.strip_prefix("W/") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('"') {
        return None;
    }
    let revision = inner
        .parse()
        .ok()
        .filter(|it: &u64| it.to_string() == inner);
    Some(Tag { revision, is_weak })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::try_from(value).unwrap())])
    }

    #[track_caller]
    fn check(name: HeaderName, value: &str, revision: Option<u64>, expected: Result<(), Failed>) {
        let read = Preconditions::read(&headers(name, value)).unwrap();
        assert_eq!(read.judge(revision), expected, "{value}");
    }

    #[test]
    fn preconditions_compare_revisions() {
        check(IF_MATCH, "\"7\"", Some(7), Ok(()));
        check(IF_MATCH, "\"6\", \"7\"", Some(7), Ok(()));
        check(IF_MATCH, "\"7\"", Some(8), Err(Failed::Match));
        check(IF_MATCH, "\"7\"", None, Err(Failed::Match));
        check(IF_MATCH, "W/\"7\"", Some(7), Err(Failed::Match));
        check(IF_MATCH, "\"abc\"", Some(7), Err(Failed::Match));
        check(IF_MATCH, "\"abc\"", None, Err(Failed::Match));
        check(IF_MATCH, "*", Some(7), Ok(()));
        check(IF_MATCH, "*", None, Err(Failed::Match));
        check(IF_NONE_MATCH, "*", None, Ok(()));
        check(IF_NONE_MATCH, "*", Some(7), Err(Failed::NoneMatch));
        check(IF_NONE_MATCH, "W/\"7\"", Some(7), Err(Failed::NoneMatch));
        check(IF_NONE_MATCH, "\"07\"", Some(7), Ok(()));
    }

    #[test]
    fn a_guard_that_cannot_be_read_is_not_ignored() {
        for value in ["7", "\"7", "*, \"7\"", "", ",", "\"a\"b\""] {
            let read = Preconditions::read(&headers(IF_MATCH, value));
            assert_eq!(read, Err(Unreadable("If-Match")), "{value}");
        }
    }
}
