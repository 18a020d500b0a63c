//! Scripted faults: which requests get another answer than the honest one.
//!
//! Rules are tried in order; the first that matches answers. A request that the double would refuse
//! by itself (bad token, bad header, bad credentials) is refused before any rule is asked.

mod answer;

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use answer::{Answer, RetryAfter, Scope};
use serde::{Deserialize, Serialize};

use crate::ledger::ProviderKind;

/// A rule as it is configured or posted. What is left out does not restrict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which double.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderKind>,
    /// APNs topic or FCM project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// One device token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// All tokens that begin so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_prefix: Option<String>,
    /// One event id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// One connection, by its number in the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<u64>,
    /// Share of requests, 0 to 1, chosen by a hash of the request's number.
    #[serde(default = "all")]
    pub share: f64,
    /// Share of tokens, 0 to 1: the same tokens each time.
    #[serde(default = "all")]
    pub token_share: f64,
    /// Matching requests let through first.
    #[serde(default)]
    pub skip: u64,
    /// Requests answered before the rule is spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Milliseconds from the rule's arrival until it begins to match.
    #[serde(default)]
    pub after_ms: u64,
    /// Milliseconds for which it then matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// What happens.
    pub answer: Answer,
}

fn all() -> f64 {
    1.0
}

impl Rule {
    /// A rule for every request of every provider.
    pub fn new(answer: Answer) -> Self {
        Self {
            provider: None,
            app: None,
            token: None,
            token_prefix: None,
            event: None,
            connection: None,
            share: 1.0,
            token_share: 1.0,
            skip: 0,
            count: None,
            after_ms: 0,
            for_ms: None,
            answer,
        }
    }

    fn matches(&self, asked: &Asked<'_>) -> bool {
        fn is<T: PartialEq>(wanted: Option<&T>, found: &T) -> bool {
            wanted.is_none_or(|it| it == found)
        }
        fn is_text(wanted: Option<&String>, found: &str) -> bool {
            wanted.is_none_or(|it| it == found)
        }
        is(self.provider.as_ref(), &asked.provider)
            && is(self.connection.as_ref(), &asked.connection)
            && is_text(self.app.as_ref(), asked.app)
            && is_text(self.token.as_ref(), asked.token)
            && self
                .token_prefix
                .as_ref()
                .is_none_or(|it| asked.token.starts_with(it.as_str()))
            && self
                .event
                .as_ref()
                .is_none_or(|it| asked.event == Some(it.as_str()))
            && is_chosen(asked.token, self.token_share)
            && is_chosen(&asked.number, self.share)
    }
}

/// Whether `it` is among the `share` chosen by hash. `DefaultHasher::new` has fixed keys.
fn is_chosen(it: &(impl std::hash::Hash + ?Sized), share: f64) -> bool {
    if share >= 1.0 {
        return true;
    }
    let mut hasher = DefaultHasher::new();
    it.hash(&mut hasher);
    #[expect(clippy::cast_precision_loss, reason = "a share needs no 64 bits")]
    let place = hasher.finish() as f64 / u64::MAX as f64;
    place < share
}

/// A request in front of the rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) provider: ProviderKind,
    pub(crate) app: &'a str,
    pub(crate) token: &'a str,
    pub(crate) event: Option<&'a str>,
    pub(crate) connection: u64,
    /// Number of the request over all doubles.
    pub(crate) number: u64,
    /// Fingerprint of the credential it came with, and when that was first seen.
    pub(crate) credential: Credential,
    pub(crate) now_ms: i64,
}

/// A provider token or OAuth token, without its secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) fingerprint: u64,
    pub(crate) first_seen_ms: i64,
}

/// A rule at work, as the control endpoint shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActiveRule {
    /// Its number, for taking it away.
    pub id: u64,
    /// The rule.
    pub rule: Rule,
    /// Requests that matched, skipped ones included.
    pub matched: u64,
    /// Requests answered.
    pub answered: u64,
}

#[derive(Debug)]
struct Slot {
    active: ActiveRule,
    since_ms: i64,
    /// Credentials that [`Answer::Credentials`] refuses until a new one comes.
    refused: Vec<u64>,
}

/// The rules of a sim.
#[derive(Debug, Default)]
pub struct Script {
    slots: Mutex<Vec<Slot>>,
    // Read on each request, so that a script without rules costs one load.
    n_slots: AtomicUsize,
    next_id: std::sync::atomic::AtomicU64,
}

impl Script {
    /// Adds a rule after the others, from `now_ms` (Unix milliseconds) on. Returns its id.
    pub fn add(&self, rule: Rule, now_ms: i64) -> u64 {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed) + 1;
        let active = ActiveRule {
            id,
            rule,
            matched: 0,
            answered: 0,
        };
        let mut slots = self.lock();
        slots.push(Slot {
            active,
            since_ms: now_ms,
            refused: Vec::new(),
        });
        self.n_slots.store(slots.len(), Ordering::Release);
        id
    }

    /// Takes a rule away; `false` if there is none of that id.
    pub fn remove(&self, id: u64) -> bool {
        let mut slots = self.lock();
        let n_before = slots.len();
        slots.retain(|slot| slot.active.id != id);
        self.n_slots.store(slots.len(), Ordering::Release);
        slots.len() < n_before
    }

    /// Takes all rules away.
    pub fn clear(&self) {
        self.lock().clear();
        self.n_slots.store(0, Ordering::Release);
    }

    /// The rules and how often they matched, spent ones included.
    pub fn rules(&self) -> Vec<ActiveRule> {
        self.lock().iter().map(|slot| slot.active.clone()).collect()
    }

    /// The answer of the first rule that matches, counted as given.
    pub(crate) fn take(&self, asked: &Asked<'_>) -> Option<Answer> {
        if self.n_slots.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.lock().iter_mut().find_map(|slot| slot.take(asked))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn take(&mut self, asked: &Asked<'_>) -> Option<Answer> {
        let rule = &self.active.rule;
        let age_ms = asked.now_ms.saturating_sub_unsigned(rule.after_ms) - self.since_ms;
        let is_over = rule
            .for_ms
            .is_some_and(|it| 0_i64.saturating_add_unsigned(it) <= age_ms);
        let is_spent = rule.count.is_some_and(|it| it <= self.active.answered);
        if age_ms < 0 || is_over || is_spent || !rule.matches(asked) {
            return None;
        }
        if let Answer::Credentials { n_credentials } = rule.answer
            && !self.refuses(asked.credential, n_credentials)
        {
            return None;
        }
        self.active.matched += 1;
        if self.active.matched <= self.active.rule.skip {
            return None;
        }
        self.active.answered += 1;
        Some(self.active.rule.answer.clone())
    }

    /// A credential is refused if it is older than the rule, or among the first `n_credentials`
    /// that met it: whoever renews gets through.
    fn refuses(&mut self, credential: Credential, n_credentials: usize) -> bool {
        let is_known = self.refused.contains(&credential.fingerprint);
        let is_old = credential.first_seen_ms < self.since_ms;
        if !is_known && !is_old && n_credentials <= self.refused.len() {
            return false;
        }
        if !is_known {
            self.refused.push(credential.fingerprint);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(token: &str, number: u64, now_ms: i64) -> Asked<'_> {
        Asked {
            provider: ProviderKind::Apns,
            app: "org.example.app",
            token,
            event: None,
            connection: 1,
            number,
            credential: Credential {
                fingerprint: 1,
                first_seen_ms: 0,
            },
            now_ms,
        }
    }

    fn answers(rule: Rule, requests: impl Iterator<Item = (String, u64, i64)>) -> Vec<u64> {
        let script = Script::default();
        script.add(rule, 1000);
        requests
            .filter(|(token, number, now)| script.take(&asked(token, *number, *now)).is_some())
            .map(|(_, number, _)| number)
            .collect()
    }

    #[test]
    fn skip_and_count_choose_a_run_of_requests() {
        let rule = Rule {
            skip: 2,
            count: Some(3),
            ..Rule::new(Answer::Internal)
        };
        let requests = (0..10).map(|it| (String::from("aa"), it, 1000));
        assert_eq!(answers(rule, requests), [2, 3, 4]);
    }

    #[test]
    fn a_rule_begins_and_ends_in_time() {
        let rule = Rule {
            after_ms: 10,
            for_ms: Some(20),
            ..Rule::new(Answer::Internal)
        };
        let times = [1000, 1009, 1010, 1029, 1030];
        let requests = (0..)
            .zip(times)
            .map(|(it, now)| (String::from("aa"), it, now));
        assert_eq!(answers(rule, requests), [2, 3]);
    }

    #[test]
    fn a_share_of_tokens_is_the_same_tokens_each_time() {
        let rule = Rule {
            token_share: 0.2,
            ..Rule::new(Answer::Internal)
        };
        let round = || (0..1000).map(|it| (format!("{it:064x}"), it, 1000));
        let first = answers(rule.clone(), round());
        assert!((150..250).contains(&first.len()), "{}", first.len());
        assert_eq!(first, answers(rule, round()));
    }

    #[test]
    fn renewed_credentials_get_through() {
        let script = Script::default();
        script.add(Rule::new(Answer::Credentials { n_credentials: 1 }), 1000);
        let with = |fingerprint, first_seen_ms| Asked {
            credential: Credential {
                fingerprint,
                first_seen_ms,
            },
            ..asked("aa", 1, 2000)
        };
        assert!(script.take(&with(7, 500)).is_some(), "older than the rule");
        assert!(script.take(&with(7, 500)).is_some(), "and again");
        assert!(script.take(&with(8, 1500)).is_none(), "renewed");
    }
}
