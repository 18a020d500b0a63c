//! Readers of single values. Text from outside is data: cleaned where a person reads it, refused
//! where it is an identity or an address.

use fanfare_nats::Topic;
use fanfare_nats::harmless::{self, LinkError, is_bidi};
use fanfare_nats::topic::{self, TopicError};
use serde_json::{Map, Value};

use crate::fields::Read;

/// A text of 1 to `most` characters without control characters, taken as it is: names and ids.
pub(crate) fn name(value: Value, most: usize) -> Read<String> {
    let text = string(value)?;
    if text.is_empty() || text.chars().count() > most {
        return Err(format!("must have 1 to {most} characters").into());
    }
    if text.chars().any(|it| it.is_control() || is_bidi(it)) {
        return Err("must not contain control characters".into());
    }
    Ok(text)
}

/// One line for people: control characters are dropped, line ends become spaces.
pub(crate) fn line(value: Value, most: usize) -> Read<String> {
    shown(&harmless::line(&string(value)?), most)
}

/// Several lines for people: control characters but the line feed are dropped.
pub(crate) fn prose(value: Value, most: usize) -> Read<String> {
    shown(&harmless::prose(&string(value)?), most)
}

fn shown(clean: &str, most: usize) -> Read<String> {
    let clean = clean.trim();
    if clean.is_empty() {
        return Err("must not be empty".into());
    }
    if clean.chars().count() > most {
        return Err(format!("must have at most {most} characters").into());
    }
    Ok(clean.to_owned())
}

/// Text of others as it can be shown: on one line, without what a person cannot see, cut off.
pub(crate) fn glimpse(text: &str, most: usize) -> String {
    let seen = text
        .chars()
        .map(|it| if it.is_whitespace() { ' ' } else { it });
    let seen = seen.filter(|it| !it.is_control() && !is_bidi(*it));
    seen.take(most).collect()
}

/// Any string.
pub(crate) fn string(value: Value) -> Read<String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err("must be a text".into())
        }
    }
}

/// An address that a tap may open: `https`, `http`, or an app's own scheme.
pub(crate) fn link(value: Value) -> Read<String> {
    address(value, harmless::link)
}

/// A picture's address: `https` or `http`.
pub(crate) fn picture(value: Value) -> Read<String> {
    address(value, harmless::picture)
}

fn address(value: Value, judge: fn(&str) -> Result<(), LinkError>) -> Read<String> {
    let text = string(value)?;
    judge(&text).map_err(|error| error.to_string())?;
    Ok(text)
}

/// A duration in seconds: a whole number, or a whole number with `s`, `m`, `h` or `d`.
pub(crate) fn seconds(value: Value, most: u64) -> Read<u64> {
    let seconds = match &value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => written_seconds(text),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    match seconds {
        Some(seconds) if (1..=most).contains(&seconds) => Ok(seconds),
        Some(_) => Err(format!("must be 1 to {most} seconds").into()),
        None => {
            Err("must be a whole number of seconds, or a text like \"90s\", \"30m\", \"6h\"".into())
        }
    }
}

/// A time as it is written, `90s`, `30m`, `6h` or `7d`, in seconds.
pub(crate) fn written_seconds(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..)? {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    if digits.is_empty() || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// One word of a closed list.
pub(crate) fn word<T: Copy>(value: Value, words: &[(&'static str, T)]) -> Read<T> {
    let text = string(value)?;
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("must be one of: {}", words.join(", ")).into()
    })
}

/// An object of at most `most` bytes as JSON.
pub(crate) fn object(value: Value, most: usize) -> Read<Map<String, Value>> {
    if value.to_string().len() > most {
        return Err(format!("must have at most {most} bytes as JSON").into());
    }
    match value {
        Value::Object(object) => Ok(object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err("must be an object".into())
        }
    }
}

/// A topic that the poster may address: not reserved, or one of the two reserved forms.
pub(crate) fn topic(value: Value) -> Read<Topic> {
    let topic = Topic::parse(&string(value)?).map_err(|it| topic_complaint(&it))?;
    if topic.is_reserved() && !is_addressable(&topic) {
        return Err(format!(
            "starts with `{0}.`, which is reserved: only `{0}.device.<id>` and `{0}.user.<hash>` \
             can be addressed",
            topic::RESERVED
        )
        .into());
    }
    Ok(topic)
}

fn is_addressable(topic: &Topic) -> bool {
    let mut segments = topic.as_str().split('.').skip(1);
    let (kind, whom, rest) = (segments.next(), segments.next(), segments.next());
    match (kind, whom, rest) {
        (Some("device"), Some(id), None) => fanfare_nats::DeviceId::parse(id).is_ok(),
        (Some("user"), Some(hash), None) => fanfare_nats::DeviceHash::parse(hash).is_some(),
        _ => false,
    }
}

/// What is wrong with a topic or pattern, without its text.
pub(crate) fn topic_complaint(error: &TopicError) -> std::borrow::Cow<'static, str> {
    match error {
        TopicError::Segment(_) => {
            "has a segment that is empty or has other characters than letters, digits, `_` and `-`"
                .into()
        }
        TopicError::Empty
        | TopicError::TooLong
        | TopicError::TailNotLast
        | TopicError::Reserved => error.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn text_for_people_loses_what_is_not_text() {
        assert_eq!(line(json!("a\u{7}b\u{202e}c\nd "), 9).unwrap(), "abc d");
        assert_eq!(prose(json!("a\r\nb\tc\u{0}"), 9).unwrap(), "a\nb c");
        assert_eq!(line(json!("👨‍👩‍👧 ‏שלום"), 20).unwrap(), "👨‍👩‍👧 ‏שלום");
        assert!(line(json!("\u{7} \n"), 9).is_err());
        assert!(line(json!("ten chars!"), 9).is_err());
        assert!(line(json!(7), 9).is_err());
    }

    #[track_caller]
    fn check_link(text: &str, is_link: bool, is_picture: bool) {
        assert_eq!(link(json!(text)).is_ok(), is_link, "link {text:?}");
        assert_eq!(picture(json!(text)).is_ok(), is_picture, "picture {text:?}");
    }

    #[test]
    fn links_are_judged_by_scheme() {
        check_link("https://example.org/a?b#c", true, true);
        check_link("HTTP://example.org", true, true);
        check_link("myapp://order/7", true, false);
        check_link("mailto:a@example.org", true, false);
        check_link("javascript:alert(1)", false, false);
        check_link("JaVaScRiPt:alert(1)", false, false);
        check_link("java\nscript:alert(1)", false, false);
        check_link(" javascript:alert(1)", false, false);
        check_link("data:text/html,x", false, false);
        check_link("file:///etc/passwd", false, false);
        check_link("intent://x#Intent;end", false, false);
        check_link("//example.org", false, false);
        check_link("/relative", false, false);
        check_link("https:///nohost", false, false);
        check_link("https://user@:80/", false, false);
        check_link("https:example.org", false, false);
        check_link("", false, false);
        check_link(&format!("https://e.org/{}", "x".repeat(2048)), false, false);
    }

    #[track_caller]
    fn check_seconds(value: Value, expected: Option<u64>) {
        assert_eq!(seconds(value, 86_400).ok(), expected);
    }

    #[test]
    fn durations_are_numbers_or_numbers_with_a_unit() {
        check_seconds(json!(60), Some(60));
        check_seconds(json!("90s"), Some(90));
        check_seconds(json!("6h"), Some(21_600));
        check_seconds(json!("1d"), Some(86_400));
        check_seconds(json!("25h"), None);
        check_seconds(json!(0), None);
        check_seconds(json!(-5), None);
        check_seconds(json!(1.5), None);
        check_seconds(json!("6"), None);
        check_seconds(json!("h"), None);
        check_seconds(json!("+6h"), None);
        check_seconds(json!("6 h"), None);
        check_seconds(json!("99999999999999999999d"), None);
        check_seconds(json!("18446744073709551615d"), None);
    }

    #[track_caller]
    fn check_topic(text: &str, is_topic: bool) {
        assert_eq!(topic(json!(text)).is_ok(), is_topic, "{text}");
    }

    #[test]
    fn reserved_topics_are_addressable_in_their_two_forms_only() {
        check_topic("quakes.us", true);
        check_topic("fanfare.device.phone-1", true);
        check_topic("fanfare.user.00ff00ff00ff00ff", true);
        check_topic("fanfare", false);
        check_topic("fanfare.device", false);
        check_topic("fanfare.device.phone-1.x", false);
        check_topic("fanfare.user.ada", false);
        check_topic("fanfare.other.x", false);
        check_topic("quakes.*", false);
    }

    #[test]
    fn complaints_never_quote_the_value() {
        let secret = "tok en";
        for read in [
            topic(json!(secret)).map(|_| ()).unwrap_err(),
            link(json!(secret)).map(|_| ()).unwrap_err(),
            word(json!(secret), &[("a", 1)]).map(|_| ()).unwrap_err(),
            seconds(json!(secret), 9).map(|_| ()).unwrap_err(),
        ] {
            assert!(!read.contains("tok"), "{read}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_reader_panic(text in ".{0,60}") {
            let value = || json!(text);
            let _ = (name(value(), 20), line(value(), 20), prose(value(), 20), link(value()));
            let _ = (picture(value()), seconds(value(), 20), topic(value()));
        }

        #[test]
        fn what_people_read_has_no_control_characters(text in ".{1,60}") {
            if let Ok(clean) = line(json!(text), 60) {
                prop_assert!(!clean.chars().any(char::is_control));
            }
        }
    }
}
