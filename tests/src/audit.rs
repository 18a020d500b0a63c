//! What was owed and what arrived, by code that shares nothing with the notifier.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fanfare_sim::ledger::{Request, Verdict};
use serde_json::{Value, json};

/// The devices that a test registered: the token to the patterns.
#[derive(Clone, Debug, Default)]
pub struct Registrations(BTreeMap<String, Vec<String>>);

/// An event as it is stored: its id and topics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredEvent {
    /// Event id.
    pub id: String,
    /// Its topics.
    pub topics: Vec<String>,
}

/// Debts against the ledger. A delivery is a pair of token and event id.
#[derive(Debug, Default)]
pub struct Audit {
    /// What had to arrive.
    pub owed: BTreeSet<(String, String)>,
    /// How often each arrived.
    pub accepted: HashMap<(String, String), u64>,
}

impl Registrations {
    /// Notes a device and returns the document that registers it.
    pub fn add(&mut self, app: &str, token: &str, patterns: &[&str]) -> Value {
        let noted = patterns.iter().map(|it| (*it).to_owned()).collect();
        self.0.insert(token.to_owned(), noted);
        json!({"app": app, "token": token, "topics": patterns})
    }

    /// Their number.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who had to get which of these events.
    pub fn owed(&self, events: &[StoredEvent]) -> BTreeSet<(String, String)> {
        let mut owed = BTreeSet::new();
        for event in events {
            for (token, patterns) in &self.0 {
                let follows = |topic: &String| patterns.iter().any(|it| is_match(it, topic));
                if event.topics.iter().any(follows) {
                    owed.insert((token.clone(), event.id.clone()));
                }
            }
        }
        owed
    }
}

/// `*` stands for one word, `>` at the end for one or more.
fn is_match(pattern: &str, topic: &str) -> bool {
    let mut topic = topic.split('.');
    for word in pattern.split('.') {
        match (word, topic.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (word, Some(found)) if word == found => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}

impl Audit {
    /// Sets debts against what the doubles accepted.
    pub fn new(owed: BTreeSet<(String, String)>, requests: &[Request]) -> Self {
        let mut accepted: HashMap<_, u64> = HashMap::new();
        for request in requests.iter().filter(|it| it.verdict == Verdict::Accepted) {
            let event = request.event.clone().unwrap_or_default();
            *accepted.entry((request.token.clone(), event)).or_default() += 1;
        }
        Self { owed, accepted }
    }

    /// Owed and never accepted.
    pub fn lost(&self) -> Vec<&(String, String)> {
        self.owed
            .iter()
            .filter(|it| !self.accepted.contains_key(*it))
            .collect()
    }

    /// Accepted beyond the first time, all deliveries together.
    pub fn repeated(&self) -> u64 {
        self.accepted.values().map(|it| it - 1).sum()
    }

    /// Accepted and not owed.
    pub fn surplus(&self) -> Vec<&(String, String)> {
        self.accepted
            .keys()
            .filter(|it| !self.owed.contains(*it))
            .collect()
    }

    /// Checks that all that was owed arrived, nothing else did, and at most so many twice.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn check(&self, most_repeated: u64) {
        assert!(
            !self.owed.is_empty(),
            "nothing was owed: the test shows nothing"
        );
        let (lost, surplus) = (self.lost(), self.surplus());
        assert!(
            lost.is_empty(),
            "{} of {} lost: {lost:?}",
            lost.len(),
            self.owed.len()
        );
        assert!(
            surplus.is_empty(),
            "{} to nobody's debt: {surplus:?}",
            surplus.len()
        );
        let repeated = self.repeated();
        assert!(
            repeated <= most_repeated,
            "{repeated} repeated, at most {most_repeated} may be"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_documentation_says() {
        for (pattern, topic, expected) in [
            ("quakes.us", "quakes.us", true),
            ("quakes.*", "quakes.us", true),
            ("quakes.>", "quakes.us.ca", true),
            (">", "quakes", true),
            ("quakes.>", "quakes", false),
            ("quakes.*", "quakes.us.ca", false),
            ("quakes", "quakes.us", false),
            ("quakes.us", "quakes.uk", false),
        ] {
            assert_eq!(is_match(pattern, topic), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn lost_repeated_and_surplus_are_told_apart() {
        let pair = |token: &str| (token.to_owned(), "e".to_owned());
        let audit = Audit {
            owed: ["a", "b"].map(pair).into(),
            accepted: [(pair("b"), 3), (pair("c"), 1)].into(),
        };
        assert_eq!(audit.lost(), [&pair("a")]);
        assert_eq!(audit.surplus(), [&pair("c")]);
        assert_eq!(audit.repeated(), 2);
    }
}
