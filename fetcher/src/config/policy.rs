//! How events are delivered, as a source or a `[[topic]]` table says it.

use std::time::Duration;

use fanfare_nats::event::{MAX_EXPIRES_IN, Urgency};
use fanfare_nats::policy::{Policy, Retry, RetryError, TopicPolicies, Wish};
use fanfare_nats::{Pattern, Problem};
use serde::Deserialize;

use super::{Delivery, Period, SourceConfig};

/// `retries = { attempts = 5, first = "2s", longest = "15m" }`. It is one value: what is left out of
/// it has its default.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetriesConfig {
    /// The most attempts per device, 1 to 1000; without it until the event expires.
    pub attempts: Option<u32>,
    /// The longest first wait, `100ms` or more.
    pub first: Option<Period>,
    /// The longest wait of all, at most `24h`.
    pub longest: Option<Period>,
}

/// A `[[topic]]` table: what holds for events on matching topics where their source or request says
/// nothing.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicConfig {
    /// Which topics, as in a subscription: `quakes.>`.
    pub pattern: String,
    /// How long after its publication an event may still be sent; at most 24 hours.
    pub expires_in: Option<Period>,
    /// What may happen when a process dies in the middle of a send.
    pub delivery: Option<Delivery>,
    /// `urgent` or `bulk`.
    pub priority: Option<Urgency>,
    /// How often, and after which waits, a device gets another attempt.
    pub retries: Option<RetriesConfig>,
}

impl RetriesConfig {
    /// The policy that is meant.
    ///
    /// # Errors
    /// [`RetryError`] names the value that cannot be.
    pub fn retry(self) -> Result<Retry, RetryError> {
        let wait = |it: Option<Period>, usual: Duration| it.map_or(usual, |it| it.0);
        let (first, longest) = (
            wait(self.first, Retry::DEFAULT.first()),
            wait(self.longest, Retry::DEFAULT.longest()),
        );
        Retry::new(self.attempts, first, longest)
    }
}

fn wish(
    expires_in: Option<Period>,
    delivery: Option<Delivery>,
    retries: Option<RetriesConfig>,
    urgency: Option<Urgency>,
) -> Wish {
    Wish {
        retry: retries.and_then(|it| it.retry().ok()),
        expires_in: expires_in.map(|it| it.0),
        guarantee: delivery,
        urgency,
    }
}

impl SourceConfig {
    /// What the source says about delivery; `urgency` is its template's, judged per item.
    pub fn wish(&self, urgency: Option<Urgency>) -> Wish {
        wish(self.expires_in, self.delivery, self.retries, urgency)
    }
}

/// The tables whose patterns are valid.
pub(super) fn policies(topics: &[TopicConfig]) -> TopicPolicies {
    let section = |it: &TopicConfig| {
        let pattern = Pattern::parse(&it.pattern).ok()?;
        Some((
            pattern,
            wish(it.expires_in, it.delivery, it.retries, it.priority),
        ))
    };
    TopicPolicies::new(topics.iter().filter_map(section).collect())
}

/// See [`super::Config::deliveries`].
pub(super) fn lines(config: &super::Config) -> Vec<(String, String)> {
    let default = Policy::from(Wish::default());
    let mut lines = vec![("default".to_owned(), default.to_string())];
    let policies = config.topic_policies();
    let sections: Vec<_> = policies.sections().collect();
    let sections = sections.into_iter().rev(); // The most specific last.
    lines.extend(sections.map(|(pattern, wish)| (format!("topic {pattern}"), wish.to_string())));
    lines.extend(config.source.iter().map(|source| {
        let urgency = match source.priority.as_deref() {
            Some("urgent") => Some(Urgency::Urgent),
            Some("bulk") => Some(Urgency::Bulk),
            Some(_) | None => None,
        };
        let is_per_item = source.priority.is_some() && urgency.is_none();
        let by_item = is_per_item.then(|| "priority by item".to_owned());
        let wish = source.wish(urgency);
        let own = (wish != Wish::default()).then(|| wish.to_string());
        let said: Vec<String> = by_item.into_iter().chain(own).collect();
        let said = match said.as_slice() {
            [] => "as its topics say, else the default".to_owned(),
            said => said.join(", "),
        };
        (format!("source {}", source.name), said)
    }));
    lines
}

/// What is wrong with the `[[topic]]` tables.
pub(super) fn topic_problems(topics: &[TopicConfig]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (n, topic) in topics.iter().enumerate() {
        let prefix = format!("topic[{n}]");
        let mut found = problems_of(topic);
        let is_same = |it: &&TopicConfig| it.pattern == topic.pattern;
        if topics.iter().take(n).any(|it| is_same(&it)) {
            let text = "is there a second time: write one table";
            found.push(Problem::new("pattern", text));
        }
        problems.extend(found.into_iter().map(|it| it.under(&prefix)));
    }
    problems
}

fn problems_of(topic: &TopicConfig) -> Vec<Problem> {
    let mut found = problems(topic.expires_in, topic.retries);
    if let Err(error) = Pattern::parse(&topic.pattern) {
        found.push(Problem::new("pattern", error.to_string()));
    }
    let says_nothing = topic.expires_in.is_none()
        && topic.delivery.is_none()
        && topic.priority.is_none()
        && topic.retries.is_none();
    if says_nothing {
        let text = "says nothing: give it `expires_in`, `delivery`, `priority` or `retries`";
        found.push(Problem::new("", text));
    }
    found
}

/// What is wrong with the keys that a source and a `[[topic]]` table share.
pub(super) fn problems(expires_in: Option<Period>, retries: Option<RetriesConfig>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |key: &str, text: String| problems.push(Problem::new(key, text));
    if expires_in.is_some_and(|it| it.0.is_zero() || it.0 > MAX_EXPIRES_IN) {
        add("expires_in", "must be more than 0s and at most 24h".into());
    }
    if let Some(Err(error)) = retries.map(RetriesConfig::retry) {
        let key = match error {
            RetryError::Attempts => "retries.attempts",
            RetryError::First => "retries.first",
            RetryError::Longest => "retries.longest",
        };
        add(key, error.to_string());
    }
    problems
}
