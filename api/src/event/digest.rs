//! What an app posted, as a hash: two requests with the same digest mean the same event.

use std::time::Duration;

use bytes::Bytes;
use fanfare_nats::Topic;
use fanfare_nats::event::Content;
use fanfare_nats::policy::Wish;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Changes when the canonical form does: a digest of another form never compares equal by chance.
const FORM: &str = "1";

/// The hash of what was asked for. Derived times, chance, and what the configuration adds are not
/// part of it: an operator who edits a policy makes no retry a conflict. The order of topics and of
/// keys does not matter.
pub(crate) fn digest(topics: &[Topic], content: &Content, wish: &Wish) -> String {
    let mut topics: Vec<&str> = topics.iter().map(Topic::as_str).collect();
    topics.sort_unstable();
    // What is not said counts as these words, whatever a topic section makes of it.
    let mut asked = json!({
        "topics": topics,
        "content": content,
        "urgency": wish.urgency.unwrap_or_default().as_str(),
        "guarantee": wish.guarantee.unwrap_or_default().as_str(),
        "expires_in_s": wish.expires_in.map(|it| it.as_secs()),
    });
    // A key of its own only where it was asked for: older digests had none.
    if let (Some(retry), Some(asked)) = (&wish.retry, asked.as_object_mut()) {
        let retries = json!({
            "attempts": retry.attempts(),
            "first_ms": milliseconds(retry.first()),
            "longest_ms": milliseconds(retry.longest()),
        });
        asked.insert("retries".to_owned(), retries);
    }
    let hash = Sha256::digest(canonical(asked).to_string());
    format!("{FORM}:{:x}", Bytes::copy_from_slice(&hash))
}

fn milliseconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
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
        let wish = Wish {
            expires_in: expires_in_s.map(Duration::from_secs),
            ..Wish::default()
        };
        digest(&topics, &content, &wish)
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
