//! Members as a table and as JSON. Pure.

use std::fmt::Write;

use fanfare_nats::members::{RENEW_EVERY, Seen};
use jiff::{SignedDuration, Timestamp, Unit};
use serde_json::{Value, json};

use crate::command::dead_letters::table;

/// A renewal that is this late was missed, and not only delayed.
const LATE: u32 = 2;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) seen: Seen,
    /// The exclusive sources that it reads.
    pub(super) leases: Vec<String>,
}

/// A moment as people read it.
pub(super) fn second(at: Timestamp) -> String {
    at.round(Unit::Second).unwrap_or(at).to_string()
}

/// A length of time in its two largest units.
fn lasting(time: SignedDuration) -> String {
    let s = time.as_secs().max(0);
    match (s / 86_400, s / 3600 % 24, s / 60 % 60, s % 60) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, s) => format!("{m}m{s:02}s"),
        (0, h, m, _) => format!("{h}h{m:02}m"),
        (d, h, _, _) => format!("{d}d{h:02}h"),
    }
}

fn state(seen: &Seen, now: Timestamp) -> String {
    let silent = now.duration_since(seen.renewed);
    let is_late = SignedDuration::try_from(RENEW_EVERY * LATE).is_ok_and(|it| it < silent);
    match &seen.member.waits_for {
        _ if is_late => format!("not heard of for {}", lasting(silent)),
        None => "ready".to_owned(),
        Some(why) => format!("not ready: {why}"),
    }
}

pub(super) fn as_table(rows: &[Row], now: Timestamp) -> String {
    let head = [
        "role", "node", "host", "version", "weight", "up for", "renewed", "leases", "state",
    ];
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            let member = &row.seen.member;
            [
                member.role.clone(),
                member.node.clone(),
                member.host.clone(),
                member.version.clone(),
                member.weight.to_string(),
                lasting(now.duration_since(member.started)),
                format!("{} ago", lasting(now.duration_since(row.seen.renewed))),
                row.leases.join(","),
                state(&row.seen, now),
            ]
        })
        .collect();
    table::of(head, &rows)
}

fn object(row: &Row) -> Value {
    let member = &row.seen.member;
    json!({
        "role": member.role,
        "node": member.node,
        "host": member.host,
        "version": member.version,
        "weight": member.weight,
        "started": member.started,
        "renewed": row.seen.renewed,
        "ready": member.waits_for.is_none(),
        "waits_for": member.waits_for,
        "leases": row.leases,
    })
}

pub(super) fn as_json(rows: &[Row]) -> String {
    rows.iter().fold(String::new(), |mut text, row| {
        // Writing to a String cannot fail.
        let _ok = writeln!(text, "{}", object(row));
        text
    })
}

/// A line for each that came, changed or went; a renewal is no change.
pub(super) fn changes(before: &[Row], after: &[Row]) -> Vec<String> {
    let key = |row: &Row| (row.seen.member.role.clone(), row.seen.member.node.clone());
    let find = |rows: &[Row], of: &Row| rows.iter().find(|it| key(it) == key(of)).cloned();
    let is_same =
        |one: &Row, two: &Row| one.seen.member == two.seen.member && one.leases == two.leases;
    let line = |row: &Row, change: &str| {
        let mut object = object(row);
        if let Value::Object(fields) = &mut object {
            fields.insert("change".to_owned(), change.into());
        }
        object.to_string()
    };
    let mut lines = Vec::new();
    for row in after {
        match find(before, row) {
            None => lines.push(line(row, "came")),
            Some(known) if !is_same(&known, row) => lines.push(line(row, "changed")),
            Some(_) => {}
        }
    }
    let gone = before.iter().filter(|row| find(after, row).is_none());
    lines.extend(gone.map(|row| line(row, "went")));
    lines
}

#[cfg(test)]
mod tests {
    use fanfare_nats::members::Member;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn row(role: &str, renewed: i64, waits_for: Option<&str>, leases: &[&str]) -> Row {
        let member = Member {
            role: role.to_owned(),
            node: "n1".to_owned(),
            host: "east".to_owned(),
            version: "1.2.3".to_owned(),
            weight: 1,
            started: at(0),
            waits_for: waits_for.map(str::to_owned),
        };
        Row {
            seen: Seen {
                member,
                renewed: at(renewed),
            },
            leases: leases.iter().map(|it| (*it).to_owned()).collect(),
        }
    }

    #[test]
    fn a_table_says_how_each_is_and_who_was_not_heard_of() {
        let rows = [
            row("api", 998, None, &[]),
            row("fetcher", 999, Some("index: loading"), &["a", "b"]),
            row("notifier", 985, None, &[]),
        ];
        let expected = "\
role      node  host  version  weight  up for  renewed  leases  state
api       n1    east  1.2.3    1       16m40s  2s ago           ready
fetcher   n1    east  1.2.3    1       16m40s  1s ago   a,b     not ready: index: loading
notifier  n1    east  1.2.3    1       16m40s  15s ago          not heard of for 15s
";
        assert_eq!(as_table(&rows, at(1000)), expected);
    }

    #[test]
    fn a_renewal_is_no_change() {
        let (one, two) = (row("api", 1, None, &[]), row("fetcher", 1, None, &["a"]));
        let before = [one.clone(), two];
        let after = [row("api", 5, None, &[]), row("fetcher", 5, None, &[])];
        let lines = changes(&before, &after);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("\"change\":\"changed\""), "{lines:?}");
        assert!(changes(&after, &[])[1].contains("\"change\":\"went\""));
        assert!(changes(&[], &[one])[0].contains("\"change\":\"came\""));
        assert!(changes(&after, &after).is_empty());
    }

    #[test]
    fn times_are_as_long_as_they_need_to_be() {
        for (seconds, expected) in [
            (-3, "0s"),
            (59, "59s"),
            (61, "1m01s"),
            (3 * 3600 + 59, "3h00m"),
            (90_000, "1d01h"),
        ] {
            assert_eq!(lasting(SignedDuration::from_secs(seconds)), expected);
        }
    }
}
