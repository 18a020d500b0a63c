//! Text and links of others are data: nothing in them reads differently from what it is, and a tap opens
//! a page or an app and nothing else. Pure; whoever takes such texts in asks here.

use thiserror::Error;

/// Schemes that run code, carry content or reach into the device.
const BARRED_SCHEMES: [&str; 9] = [
    "about",
    "blob",
    "content",
    "data",
    "file",
    "filesystem",
    "intent",
    "javascript",
    "vbscript",
];
/// The longest link in bytes.
pub const MAX_LINK: usize = 2048;

/// Why a text is no address to be opened.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LinkError {
    /// Too long.
    #[error("must have at most {MAX_LINK} bytes")]
    Length,
    /// Something hides in it.
    #[error("must not contain spaces or control characters")]
    Hidden,
    /// No scheme.
    #[error("must be an absolute address with a scheme")]
    Relative,
    /// A page without a host.
    #[error("must name a host")]
    Host,
    /// Not this scheme.
    #[error("has a scheme that is not allowed")]
    Scheme,
    /// Not a page.
    #[error("must be an https or http address with a host")]
    Picture,
}

/// One line for people: control characters and overriding direction marks are dropped, line ends
/// become spaces.
pub fn line(text: &str) -> String {
    let spaced = text.replace(['\n', '\r', '\t'], " ");
    shown(&spaced, |_| false)
}

/// Several lines for people: of the control characters only the line feed stays.
pub fn prose(text: &str) -> String {
    let lines = text.replace("\r\n", "\n").replace('\t', " ");
    shown(&lines, |it| it == '\n')
}

fn shown(text: &str, is_kept: impl Fn(char) -> bool) -> String {
    let is_shown = |it: &char| is_kept(*it) || (!it.is_control() && !is_bidi(*it));
    let clean: String = text.chars().filter(is_shown).collect();
    clean.trim().to_owned()
}

/// Embeddings, overrides and isolates, which make a text read differently from what it is. The
/// plain direction marks stay: right-to-left languages need them.
pub fn is_bidi(it: char) -> bool {
    matches!(it, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a tap may open this address: `https`, `http`, or an app's own scheme.
///
/// # Errors
/// [`LinkError`] says why not.
pub fn link(text: &str) -> Result<(), LinkError> {
    match scheme(text)?.as_str() {
        "http" | "https" if !has_host(text) => Err(LinkError::Host),
        it if BARRED_SCHEMES.contains(&it) => Err(LinkError::Scheme),
        _ => Ok(()),
    }
}

/// Whether this is a picture's address: `https` or `http`.
///
/// # Errors
/// [`LinkError`] says why not.
pub fn picture(text: &str) -> Result<(), LinkError> {
    match scheme(text)?.as_str() {
        "http" | "https" if has_host(text) => Ok(()),
        _ => Err(LinkError::Picture),
    }
}

/// The lower-case scheme of an address in which nothing hides: browsers drop tabs and line ends
/// inside one, so `java\nscript:` must not get through.
fn scheme(text: &str) -> Result<String, LinkError> {
    if text.len() > MAX_LINK {
        return Err(LinkError::Length);
    }
    let hides = |it: char| it.is_control() || it.is_whitespace() || is_bidi(it);
    if text.chars().any(hides) {
        return Err(LinkError::Hidden);
    }
    let (scheme, _) = text.split_once(':').ok_or(LinkError::Relative)?;
    let scheme = scheme.to_ascii_lowercase();
    // RFC 3986 section 3.1.
    let is_letter = |it: char| it.is_ascii_alphanumeric() || matches!(it, '+' | '-' | '.');
    let is_scheme = scheme.starts_with(|it: char| it.is_ascii_lowercase());
    if is_scheme && scheme.chars().all(is_letter) {
        Ok(scheme)
    } else {
        Err(LinkError::Relative)
    }
}

fn has_host(text: &str) -> bool {
    text.split_once("://").is_some_and(|(_, rest)| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
        let host = authority.rsplit('@').next().unwrap_or("");
        !host.is_empty() && !host.starts_with(':') && !host.contains('\\')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_for_people_loses_what_is_not_text() {
        assert_eq!(line("a\u{7}b\u{202e}c\nd "), "abc d");
        assert_eq!(prose("a\r\nb\tc\u{0}\u{2066}"), "a\nb c");
        assert_eq!(line("👨‍👩‍👧 ‏שלום"), "👨‍👩‍👧 ‏שלום");
        assert_eq!(line("\u{7}\u{202e}"), "");
    }

    #[track_caller]
    fn check(text: &str, is_link: bool, is_picture: bool) {
        assert_eq!(link(text).is_ok(), is_link, "{text:?}");
        assert_eq!(picture(text).is_ok(), is_picture, "{text:?}");
    }

    #[test]
    fn links_are_kept_by_scheme() {
        check("https://example.org/a?b#c", true, true);
        check("HTTP://example.org", true, true);
        check("myapp://order/7", true, false);
        check("JaVaScRiPt:alert(1)", false, false);
        check("java\nscript:alert(1)", false, false);
        check(" javascript:alert(1)", false, false);
        check("data:text/html,x", false, false);
        check("intent://x#Intent;end", false, false);
        check("/relative", false, false);
        check("https:///nohost", false, false);
        check(&format!("https://e.org/{}", "x".repeat(2048)), false, false);
    }
}
