//! A provider's own record of what it took, against the receipts.
//!
//! One object of JSON a line. Read are `kind` (`request`, `answered`), of a request `seq`, `token`,
//! `event`, `verdict` (`accepted` counts) and `status`, of an answer `of` (a `seq`) and `sent`. The
//! doubles of `fanfare sim` write it; whoever keeps such a record of a real provider can too.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context;
use fanfare_nats::story::audit::Audit;
use fanfare_nats::story::census::{Census, token_hash};
use serde::Deserialize;

/// A ledger that was opened and not read.
pub(super) struct Ledger {
    lines: BufReader<File>,
    name: String,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    Request {
        #[serde(default)]
        seq: u64,
        token: String,
        #[serde(default)]
        event: Option<String>,
        verdict: String,
        #[serde(default)]
        status: Option<u16>,
    },
    Answered {
        of: u64,
        sent: bool,
    },
    #[serde(other)]
    Other,
}

/// How often one event was accepted for one token.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    accepted: u32,
    /// Of these, the answer was lost or said something else: whoever sent it could not know.
    unheard: u32,
}

/// What a ledger says of the events that are judged.
pub(super) struct Arrivals {
    tallies: HashMap<(usize, u64), Tally>,
    per_app: BTreeMap<String, PerApp>,
}

#[derive(Clone, Copy, Debug, Default)]
struct PerApp {
    found: u64,
    missing: u64,
    unrecorded: u64,
}

/// The receipts and the ledger beside each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    /// Acceptances of judged events in the ledger.
    pub(super) accepted: u64,
    /// Beyond the first of their event and token.
    pub(super) repeated: u64,
    /// Of these, an earlier answer was lost on its way or was no acceptance.
    pub(super) unheard: u64,
    /// Accepted by the receipts, and not in the ledger: really lost.
    pub(super) missing: u64,
    /// In the ledger, and not accepted by the receipts: arrived without a record, or not yet with one.
    pub(super) unrecorded: u64,
    /// Apps of which the ledger knows nothing, with what was owed to them.
    pub(super) other_apps: Vec<(String, u64)>,
}

impl Compared {
    /// Repeats that no lost answer explains.
    pub(super) fn unexplained(&self) -> u64 {
        self.repeated.saturating_sub(self.unheard)
    }

    /// Whether nothing is missing, and no more is repeated than changes of hands can have caused.
    pub(super) fn adds_up(&self, repeats_bound: u64) -> bool {
        self.missing == 0 && self.unexplained() <= repeats_bound
    }
}

impl Ledger {
    /// Opens it.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
        Ok(Self {
            lines: BufReader::with_capacity(1 << 16, file),
            name,
        })
    }

    /// Reads all of it, and keeps what it says of these events (their ids, to their places). A last
    /// line without its end is still being written.
    pub(super) fn read(mut self, events: &HashMap<String, usize>) -> anyhow::Result<Arrivals> {
        let mut arrivals = Arrivals {
            tallies: HashMap::new(),
            per_app: BTreeMap::new(),
        };
        let mut unanswered = HashMap::new();
        let (mut text, mut n, mut has_answers) = (Vec::new(), 0_u64, false);
        loop {
            text.clear();
            n += 1;
            let read = self.lines.read_until(b'\n', &mut text);
            let read = read.with_context(|| format!("cannot read {}", self.name))?;
            if read == 0 || text.last() != Some(&b'\n') {
                break;
            }
            let line = serde_json::from_slice(&text)
                .with_context(|| format!("line {n} of {} is no entry", self.name))?;
            match line {
                Line::Request {
                    seq,
                    token,
                    event,
                    verdict,
                    status,
                } if verdict == "accepted" => {
                    let Some(place) = event.and_then(|it| events.get(&it)) else {
                        continue;
                    };
                    let key = (*place, token_hash(&token));
                    let tally = arrivals.tallies.entry(key).or_default();
                    tally.accepted += 1;
                    if status.is_some_and(|it| !(200..300).contains(&it)) {
                        tally.unheard += 1;
                    } else {
                        unanswered.insert(seq, key);
                    }
                }
                Line::Answered { of, sent } => {
                    has_answers = true;
                    if let Some(key) = unanswered.remove(&of)
                        && !sent
                        && let Some(tally) = arrivals.tallies.get_mut(&key)
                    {
                        tally.unheard += 1;
                    }
                }
                Line::Request { .. } | Line::Other => {}
            }
        }
        if has_answers {
            for key in unanswered.into_values() {
                if let Some(tally) = arrivals.tallies.get_mut(&key) {
                    tally.unheard += 1;
                }
            }
        }
        Ok(arrivals)
    }
}

impl Arrivals {
    /// Sets one event's receipts against it.
    pub(super) fn compare(&mut self, place: usize, audit: &Audit<'_>, census: &Census) {
        for (device, is_accepted) in audit.owed() {
            let Some(token) = census.token(device) else {
                continue;
            };
            let has_arrived = self.tallies.contains_key(&(place, token));
            let app = census.app(device).map(ToString::to_string);
            let app = self.per_app.entry(app.unwrap_or_default()).or_default();
            match (is_accepted, has_arrived) {
                (true, true) => app.found += 1,
                (true, false) => app.missing += 1,
                (false, true) => app.unrecorded += 1,
                (false, false) => {}
            }
        }
    }

    /// The comparison, when all events were.
    pub(super) fn compared(self) -> Compared {
        let mut compared = Compared::default();
        for tally in self.tallies.into_values() {
            let again = tally.accepted.saturating_sub(1);
            compared.accepted += u64::from(tally.accepted);
            compared.repeated += u64::from(again);
            compared.unheard += u64::from(again.min(tally.unheard));
        }
        for (app, it) in self.per_app {
            if it.found == 0 && it.unrecorded == 0 && compared.accepted > 0 {
                compared.other_apps.push((app, it.missing));
                continue;
            }
            compared.missing += it.missing;
            compared.unrecorded += it.unrecorded;
        }
        compared
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn took(seq: u64, token: &str, status: u16) -> Value {
        json!({
            "kind": "request", "seq": seq, "token": token, "event": "e",
            "verdict": "accepted", "status": status,
        })
    }

    fn answered(of: u64, sent: bool) -> Value {
        json!({ "kind": "answered", "of": of, "sent": sent })
    }

    /// What a ledger with these lines says of repeats: all, and those that a lost answer explains.
    #[track_caller]
    fn check(lines: &[Value], repeated: u64, unheard: u64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let mut text = String::new();
        for line in lines {
            text.push_str(&line.to_string());
            text.push('\n');
        }
        text.push_str("{\"kind\":\"req"); // Still being written.
        std::fs::write(&path, text).unwrap();
        let events = HashMap::from([("e".to_owned(), 0)]);
        let arrivals = Ledger::open(&path).unwrap().read(&events).unwrap();
        let compared = arrivals.compared();
        assert_eq!((compared.repeated, compared.unheard), (repeated, unheard));
    }

    #[test]
    fn repeats_are_counted_and_lost_answers_explain_them() {
        check(&[took(1, "a", 200), took(2, "b", 200)], 0, 0);
        check(&[took(1, "a", 200), took(2, "a", 200)], 1, 0);
        let heard = [
            took(1, "a", 200),
            answered(1, true),
            took(2, "a", 200),
            answered(2, true),
        ];
        check(&heard, 1, 0);
        let cut = [
            took(1, "a", 200),
            answered(1, false),
            took(2, "a", 200),
            answered(2, true),
        ];
        check(&cut, 1, 1);
        check(&[took(1, "a", 503), took(2, "a", 200)], 1, 1);
        let refused = json!({
            "kind": "request", "seq": 3, "token": "a", "event": "e", "verdict": "refused",
        });
        let other = json!({
            "kind": "request", "seq": 4, "token": "a", "event": "f", "verdict": "accepted",
        });
        check(
            &[took(1, "a", 200), refused, other, json!({ "kind": "note" })],
            0,
            0,
        );
    }
}
