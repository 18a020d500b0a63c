//! Leases for people and for tools.

use std::fmt::Write;

use fanfare_nats::lease::{LeaseReport, Preference, Vacancy};
use jiff::{Timestamp, Unit};
use serde_json::Value;

pub(super) fn shown(at: Timestamp) -> String {
    at.round(Unit::Second).unwrap_or(at).to_string()
}

/// What an operator wishes for a source: what names it counts before what names all.
fn wish<'w>(wishes: &'w [Preference], source: &str) -> Option<&'w Preference> {
    let of = |wanted: Option<&str>| wishes.iter().find(move |it| it.source.as_deref() == wanted);
    of(Some(source)).or_else(|| of(None))
}

/// How a lease became vacant, in words.
fn told(vacancy: &Vacancy) -> String {
    match vacancy {
        Vacancy::Never => "never held".to_owned(),
        Vacancy::Expired => "expired".to_owned(),
        Vacancy::Released { by, to: None } => format!("let go of by {by}"),
        Vacancy::Released { by, to: Some(to) } => format!("handed by {by} to {to}"),
        Vacancy::Withdrawn => "taken away".to_owned(),
    }
}

pub(super) fn as_table(leases: &[LeaseReport], wishes: &[Preference], now: Timestamp) -> String {
    let mut rows = vec![
        [
            "source",
            "holder",
            "host",
            "lease",
            "since",
            "renewed",
            "preferred",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for it in leases {
        let seconds = now.duration_since(it.written).as_secs().max(0);
        let (holder, host, since) = match (&it.holder, &it.vacancy) {
            (Some(holder), _) => (
                holder.node.clone(),
                holder.host.clone(),
                shown(holder.since),
            ),
            (None, Some(vacancy)) => (
                format!("- ({})", told(vacancy)),
                String::new(),
                String::new(),
            ),
            (None, None) => ("? (unreadable)".to_owned(), String::new(), String::new()),
        };
        rows.push(vec![
            it.source.clone(),
            holder,
            host,
            it.number.map(|it| it.to_string()).unwrap_or_default(),
            since,
            format!("{seconds} s ago"),
            wish(wishes, &it.source)
                .map(|it| format!("{} until {}", it.node, shown(it.until)))
                .unwrap_or_default(),
        ]);
    }
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|it| it.get(column));
        cells.map(String::len).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..7).map(width).collect();
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

pub(super) fn as_json(leases: &[LeaseReport], wishes: &[Preference]) -> String {
    leases.iter().fold(String::new(), |mut text, it| {
        let holder = it.holder.as_ref();
        let wish = wish(wishes, &it.source);
        let line = serde_json::json!({
            "source": it.source,
            "holder": holder.map(|it| it.node.as_str()),
            "host": holder.map(|it| it.host.as_str()),
            "lease": it.number,
            "since": holder.map(|it| it.since),
            "written": it.written,
            "vacancy": it.vacancy.as_ref().map(told),
            "preferred": wish.map_or(Value::Null, |it| {
                serde_json::json!({ "node": it.node, "until": it.until })
            }),
        });
        let _ok = writeln!(text, "{line}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases() -> Vec<LeaseReport> {
        let vacant = |source: &str, vacancy| LeaseReport {
            source: source.to_owned(),
            holder: None,
            number: None,
            vacancy: Some(vacancy),
            written: Timestamp::UNIX_EPOCH,
        };
        let released = Vacancy::Released {
            by: "n1".to_owned(),
            to: None,
        };
        vec![vacant("a", released), vacant("longer", Vacancy::Expired)]
    }

    fn wishes() -> Vec<Preference> {
        vec![Preference {
            source: Some("a".to_owned()),
            node: "n2".to_owned(),
            until: Timestamp::from_second(60).unwrap(),
        }]
    }

    #[test]
    fn a_table_has_a_line_for_each_lease_and_says_how_a_vacancy_came() {
        let now = Timestamp::from_second(3).unwrap();
        let expected = "\
source  holder               host  lease  since  renewed  preferred
a       - (let go of by n1)                      3 s ago  n2 until 1970-01-01T00:01:00Z
longer  - (expired)                              3 s ago
";
        assert_eq!(as_table(&leases(), &wishes(), now), expected);
    }

    #[test]
    fn json_has_an_object_for_each_lease() {
        let text = as_json(&leases(), &wishes());
        let lines: Vec<Value> = text
            .lines()
            .map(|it| serde_json::from_str(it).unwrap())
            .collect();
        assert_eq!(lines[0]["preferred"]["node"], "n2");
        assert_eq!(lines[1]["vacancy"], "expired");
        assert_eq!(lines[1]["preferred"], Value::Null);
    }
}
