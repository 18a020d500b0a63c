//! Overrides: a JSON merge patch (RFC 7396), applied last. Pure.

use serde_json::{Map, Value};

use super::Refusal;
use crate::notification::Notification;

/// Applies the override for `provider`, if there is one, to `target`.
///
/// `reserved` names what an override may not touch, at the top level: identity and address belong
/// to us.
pub(super) fn apply_override(
    what: &Notification,
    provider: &str,
    reserved: &[&str],
    target: &mut Map<String, Value>,
) -> Result<(), Refusal> {
    let Some(patch) = what.overrides.get(provider) else {
        return Ok(());
    };
    let Value::Object(patch) = patch else {
        return Err(Refusal::new(format!(
            "override for {provider} is not an object"
        )));
    };
    if let Some(key) = reserved.iter().find(|it| patch.contains_key(**it)) {
        return Err(Refusal::new(format!(
            "override for {provider} may not set `{key}`"
        )));
    }
    merge(target, patch);
    Ok(())
}

fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                target.remove(key);
            }
            Value::Object(inner) => {
                let slot = target.entry(key.clone()).or_insert(Value::Null);
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                if let Value::Object(slot) = slot {
                    merge(slot, inner);
                }
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                target.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(target: Value, patch: Value, expected: Value) {
        let (Value::Object(mut target), Value::Object(patch)) = (target, patch) else {
            panic!("objects only");
        };
        merge(&mut target, &patch);
        assert_eq!(Value::Object(target), expected);
    }

    // The examples of RFC 7396, appendix A, whose target and patch are objects.
    #[test]
    fn a_merge_patch_sets_replaces_and_removes() {
        check(json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"}));
        check(
            json!({"a": "b"}),
            json!({"b": "c"}),
            json!({"a": "b", "b": "c"}),
        );
        check(json!({"a": "b"}), json!({"a": null}), json!({}));
        check(
            json!({"a": "b", "b": "c"}),
            json!({"a": null}),
            json!({"b": "c"}),
        );
        check(json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"}));
        check(json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]}));
        check(
            json!({"a": {"b": "c"}}),
            json!({"a": {"b": "d", "c": null}}),
            json!({"a": {"b": "d"}}),
        );
        check(
            json!({"a": "foo"}),
            json!({"a": {"bb": {"ccc": null}}}),
            json!({"a": {"bb": {}}}),
        );
    }
}
