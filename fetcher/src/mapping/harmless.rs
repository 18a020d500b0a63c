//! What a feed says is data: nothing in it reads differently from what it is, and a tap opens a page
//! or an app and nothing else.

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
const MAX_LINK: usize = 2048;

/// One line for people: control characters and overriding direction marks are dropped, line ends
/// become spaces.
pub(super) fn line(text: &str) -> String {
    let spaced = text.replace(['\n', '\r', '\t'], " ");
    shown(&spaced, |_| false)
}

/// Several lines for people: of the control characters only the line feed stays.
pub(super) fn prose(text: &str) -> String {
    let lines = text.replace("\r\n", "\n").replace('\t', " ");
    shown(&lines, |it| it == '\n')
}

fn shown(text: &str, is_kept: impl Fn(char) -> bool) -> String {
    let is_shown = |it: &char| is_kept(*it) || (!it.is_control() && !is_bidi(*it));
    let clean: String = text.chars().filter(is_shown).collect();
    clean.trim().to_owned()
}

/// Embeddings, overrides and isolates. The plain direction marks stay: right-to-left languages need
/// them.
fn is_bidi(it: char) -> bool {
    matches!(it, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An address that a tap may open: `https`, `http`, or an app's own scheme. An item with another one
/// is told without it.
pub(super) fn link(text: String) -> Option<String> {
    let scheme = scheme(&text)?;
    let is_open = match scheme.as_str() {
        "http" | "https" => has_host(&text),
        it => !BARRED_SCHEMES.contains(&it),
    };
    is_open.then_some(text)
}

/// A picture's address: `https` or `http`.
pub(super) fn picture(text: String) -> Option<String> {
    let is_page = matches!(scheme(&text)?.as_str(), "http" | "https");
    (is_page && has_host(&text)).then_some(text)
}

/// The lower-case scheme of an address in which nothing hides: browsers drop tabs and line ends
/// inside one.
fn scheme(text: &str) -> Option<String> {
    let hides = |it: char| it.is_control() || it.is_whitespace() || is_bidi(it);
    if text.len() > MAX_LINK || text.chars().any(hides) {
        return None;
    }
    let scheme = text.split_once(':')?.0.to_ascii_lowercase();
    // RFC 3986 section 3.1.
    let is_letter = |it: char| it.is_ascii_alphanumeric() || matches!(it, '+' | '-' | '.');
    let is_scheme = scheme.starts_with(|it: char| it.is_ascii_lowercase());
    (is_scheme && scheme.chars().all(is_letter)).then_some(scheme)
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
        assert_eq!(link(text.to_owned()).is_some(), is_link, "{text:?}");
        assert_eq!(picture(text.to_owned()).is_some(), is_picture, "{text:?}");
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
