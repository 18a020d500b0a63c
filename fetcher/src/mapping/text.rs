//! Text for people: markup taken out, lengths bounded, segments for topics.

/// The text of a piece of HTML: tags and the insides of `script` and `style` gone, entities
/// replaced, white space folded.
pub(crate) fn plain(html: &str) -> String {
    let mut words = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        let (text, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
        words.push_str(text);
        rest = if let Some(after) = after_tag(tail) {
            words.push(' ');
            after
        } else {
            // A lone `<` is text.
            words.push('<');
            tail.get(1..).unwrap_or_default()
        };
    }
    words.push_str(rest);
    fold(&entities(&words))
}

/// What follows the tag, comment or silent element that `text` begins with.
fn after_tag(text: &str) -> Option<&str> {
    if let Some(comment) = text.strip_prefix("<!--") {
        return Some(comment.split_once("-->").map_or("", |(_, after)| after));
    }
    let name: String = text
        .chars()
        .skip(1)
        .take_while(|it| it.is_ascii_alphanumeric() || *it == '/' || *it == '!' || *it == '?')
        .take(12)
        .collect::<String>()
        .to_ascii_lowercase();
    if name.is_empty() {
        return None;
    }
    let after = text.split_once('>')?.1;
    if name != "script" && name != "style" {
        return Some(after);
    }
    let lower = after.to_ascii_lowercase();
    let end = lower.find(&format!("</{name}")).unwrap_or(lower.len());
    let tail = after.get(end..).unwrap_or_default();
    Some(tail.split_once('>').map_or("", |(_, after)| after))
}

fn entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let entity = after
            .split_once(';')
            .filter(|(name, _)| name.len() <= 8)
            .and_then(|(name, tail)| Some((entity(name)?, tail)));
        if let Some((character, tail)) = entity {
            out.push(character);
            rest = tail;
        } else {
            out.push('&');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        "hellip" => Some('…'),
        "ndash" => Some('–'),
        "mdash" => Some('—'),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code).filter(|it| !it.is_control())
        }
    }
}

fn fold(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// At most `n` characters, the last one `…` where something was cut.
pub(crate) fn cut(text: &str, n: usize) -> String {
    if text.chars().count() <= n {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(n.saturating_sub(1)).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

/// A topic segment: lower case, every run of other characters one `-`, at most 48; `_` if nothing
/// is left.
pub(crate) fn slug(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if character.is_ascii_alphanumeric() || character == '_' {
            out.push(character.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
        if out.len() >= 48 {
            break;
        }
    }
    let out = out.trim_end_matches('-');
    if out.is_empty() {
        "_".to_owned()
    } else {
        out.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markup_goes_and_words_stay() {
        assert_eq!(
            plain("<p>Hello&nbsp;<b>you</b> &amp; me</p>"),
            "Hello you & me"
        );
        assert_eq!(plain("a<script>alert('<b>')</script>b"), "a b");
        assert_eq!(plain("1 < 2 &#38; &#x33; &unknown;"), "1 < 2 & 3 &unknown;");
        assert_eq!(plain("<!-- <b>no</b> -->yes"), "yes");
        assert_eq!(plain("cut off <a href='x"), "cut off <a href='x");
    }

    #[test]
    fn a_long_text_ends_with_an_ellipsis() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut("äöü äöü", 5), "äöü…");
        assert_eq!(cut("abc", 0), "…");
    }

    #[test]
    fn a_slug_is_one_topic_segment() {
        assert_eq!(slug("Small Craft Advisory"), "small-craft-advisory");
        assert_eq!(slug("BTC/USD"), "btc-usd");
        assert_eq!(slug("  ...  "), "_");
        assert_eq!(slug("Zürich"), "z-rich");
    }

    proptest! {
        #[test]
        fn foreign_text_never_panics_and_a_slug_is_always_a_topic(text in ".{0,80}") {
            let _ = plain(&text);
            prop_assert!(cut(&text, 10).chars().count() <= 10);
            prop_assert!(fanfare_nats::Topic::parse(&slug(&text)).is_ok());
        }
    }
}
