//! Keys for people and for tools; never a hash, and a secret only in [`made`].

use std::collections::BTreeMap;
use std::fmt::Write;

use fanfare_nats::key::{Key, NewSecret};
use fanfare_nats::keys::{KeyName, StoredKey};
use jiff::{Timestamp, Unit};
use serde_json::{Value, json};

type Uses = BTreeMap<KeyName, Timestamp>;

fn second(at: Timestamp) -> String {
    at.round(Unit::Second).unwrap_or(at).to_string()
}

pub(super) fn scopes(key: &Key) -> String {
    let scopes: Vec<_> = key.scopes.iter().map(ToString::to_string).collect();
    scopes.join(" ")
}

fn used(key: &Key, uses: &Uses) -> Option<Timestamp> {
    uses.get(&(key.tenant.clone(), key.id.clone())).copied()
}

/// How a key stands, in words.
fn state(key: &Key, now: Timestamp) -> String {
    if let Some(at) = key.revoked_at {
        return format!("taken back {}", second(at));
    }
    match key.expires_at {
        Some(at) if at <= now => format!("expired {}", second(at)),
        Some(at) => format!("until {}", second(at)),
        None => "good".to_owned(),
    }
}

pub(super) fn as_table(keys: &[StoredKey], uses: &Uses, now: Timestamp) -> String {
    let head = [
        "id",
        "tenant",
        "name",
        "scopes",
        "created",
        "state",
        "last used",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for StoredKey { key, .. } in keys {
        rows.push([
            key.id.to_string(),
            key.tenant.to_string(),
            key.name.clone(),
            scopes(key),
            second(key.created_at),
            state(key, now),
            used(key, uses).map_or_else(|| "never".to_owned(), second),
        ]);
    }
    let width = |n: usize| {
        let cells = rows.iter().filter_map(|it| it.get(n));
        cells.map(|it| it.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    rows.iter().fold(String::new(), |mut text, row| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        // Writing to a String cannot fail.
        let _ok = writeln!(text, "{}", cells.join("  ").trim_end());
        text
    })
}

fn shown(key: &Key) -> Value {
    let scopes: Vec<_> = key.scopes.iter().map(ToString::to_string).collect();
    json!({
        "id": key.id.as_str(),
        "tenant": key.tenant.as_str(),
        "name": key.name,
        "scopes": scopes,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    })
}

pub(super) fn as_json(keys: &[StoredKey], uses: &Uses) -> String {
    keys.iter().fold(String::new(), |mut text, it| {
        let mut line = shown(&it.key);
        if let Some(members) = line.as_object_mut() {
            members.insert("last_used".to_owned(), json!(used(&it.key, uses)));
        }
        let _ok = writeln!(text, "{line}");
        text
    })
}

/// The answer to whoever made a key: the one place where its secret is.
pub(super) fn made(key: &Key, secret: &NewSecret) -> String {
    let mut made = shown(key);
    if let Some(members) = made.as_object_mut() {
        members.insert("key".to_owned(), secret.reveal().into());
    }
    made.to_string()
}

#[cfg(test)]
mod tests {
    use fanfare_nats::key::Tenant;
    use jiff::ToSpan;

    use super::*;

    #[test]
    fn a_list_says_how_each_key_stands_and_nothing_that_opens() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let made = |name: &str, end| {
            let scopes = vec![
                "read".parse().unwrap(),
                "events:publish:a.>".parse().unwrap(),
            ];
            Key::create(Tenant::main(), name, scopes, end, now).unwrap()
        };
        let (one, secret) = made("one", None);
        let (old, _) = made("old", Some(now + 1.hour()));
        let (mut gone, _) = made("gone", None);
        gone.revoked_at = Some(now);
        let uses = Uses::from([((one.tenant.clone(), one.id.clone()), now)]);
        let keys = [one, old, gone].map(|key| StoredKey { revision: 1, key });
        let table = as_table(&keys, &uses, now + 2.hours());
        let lines: Vec<&str> = table.lines().collect();
        assert!(
            lines[1].ends_with("good                             2026-03-01T12:00:00Z"),
            "{table}"
        );
        assert!(lines[1].contains("events:publish:a.> read"), "{table}");
        assert!(lines[2].contains("expired 2026-03-01T13:00:00Z"), "{table}");
        assert!(
            lines[3].contains("taken back 2026-03-01T12:00:00Z"),
            "{table}"
        );
        assert!(lines[3].ends_with("never"), "{table}");
        let json = as_json(&keys, &uses);
        assert_eq!(json.lines().count(), 3);
        for text in [&table, &json] {
            assert!(
                !text.contains(secret.reveal()) && !text.contains("sha256"),
                "{text}"
            );
        }
        assert!(super::made(&keys[0].key, &secret).contains(secret.reveal()));
    }
}
