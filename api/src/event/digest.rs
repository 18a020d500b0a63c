//! What an app posted, as a hash: two requests with the same digest mean the same event.

use bytes::Bytes;
use fanfare_nats::Topic;
use fanfare_nats::event::{Content, Guarantee, Urgency};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Changes when the canonical form does: a digest of another form never compares equal by chance.
const FORM: &str = "1";

/// The hash of what was asked for. Derived times and chance are not part of it; the order of topics
/// and of keys does not matter.
pub(crate) fn digest(
    topics: &[Topic],
    content: &Content,
    urgency: Urgency,
    guarantee: Guarantee,
    expires_in_s: Option<u64>,
) -> String {
    let mut topics: Vec<&str> = topics.iter().map(Topic::as_str).collect();
    topics.sort_unstable();
    let asked = json!({
        "topics": topics,
        "content": content,
        "urgency": urgency.as_str(),
        "guarantee": guarantee.as_str(),
        "expires_in_s": expires_in_s,
    });
    let hash = Sha256::digest(canonical(asked).to_string());
    format!("{FORM}:{:x}", Bytes::copy_from_slice(&hash))
}

/// The same value with the keys of every object in order, whatever order the JSON library keeps.
fn canonical(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(String, Value)> = members.into_iter().collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            let members = members.into_iter().map(|(key, it)| (key, canonical(it)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(canonical).collect()),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(topics: &[&str], content: Value, expires_in_s: Option<u64>) -> String {
        let topics: Vec<Topic> = topics.iter().map(|it| Topic::parse(it).unwrap()).collect();
        let content: Content = serde_json::from_value(content).unwrap();
        let (urgency, guarantee) = (Urgency::default(), Guarantee::default());
        digest(&topics, &content, urgency, guarantee, expires_in_s)
    }

    #[test]
    fn order_does_not_matter_and_everything_else_does() {
        let one = of(
            &["a", "b"],
            json!({"title": "t", "data": {"x": 1, "y": {"p": 1, "q": 2}}}),
            None,
        );
        let same = of(
            &["b", "a"],
            json!({"data": {"y": {"q": 2, "p": 1}, "x": 1}, "title": "t"}),
            None,
        );
        assert_eq!(one, same);
        let others = [
            of(
                &["a"],
                json!({"title": "t", "data": {"x": 1, "y": {"p": 1, "q": 2}}}),
                None,
            ),
            of(
                &["a", "b"],
                json!({"title": "u", "data": {"x": 1, "y": {"p": 1, "q": 2}}}),
                None,
            ),
            of(
                &["a", "b"],
                json!({"title": "t", "data": {"x": 2, "y": {"p": 1, "q": 2}}}),
                None,
            ),
            of(
                &["a", "b"],
                json!({"title": "t", "data": {"x": 1, "y": {"p": 1, "q": 2}}}),
                Some(60),
            ),
        ];
        assert!(!others.contains(&one));
    }

    #[test]
    fn a_digest_is_the_same_in_every_version() {
        // `sha256sum` over {"content":{"title":"t"},"expires_in_s":null,"guarantee":"at_least_once",
        // "topics":["a"],"urgency":"urgent"} on one line. If it changes, a retry over an upgrade is
        // refused as other content.
        let expected = "1:2d20d3a689c92754c6bd18fc24dc53527d1b0489fb73cb576a110dda59fb8099";
        assert_eq!(of(&["a"], json!({"title": "t"}), None), expected);
    }
}
