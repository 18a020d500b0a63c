//! One `[[source]]` table.

use std::collections::BTreeMap;

use fanfare_nats::event::Guarantee;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::input::InputConfig;
use super::period::Period;
use super::policy::RetriesConfig;

/// An upstream: where its items are and what they mean. Texts with `{{ … }}` are templates.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// Name, 1 to 32 of `[a-z0-9_-]`; it stands in subjects and metrics.
    pub name: String,
    /// `shared` (default): every fetcher reads it. `exclusive`: one at a time.
    #[serde(default)]
    pub mode: Mode,
    /// Items older than this are not news.
    #[serde(default = "default_fresh_for")]
    pub fresh_for: Period,
    /// How long after its publication an event may still be sent; at most 24 hours. Default 6
    /// hours.
    pub expires_in: Option<Period>,
    /// How often one item may become an event.
    #[serde(default)]
    pub level: LevelConfig,
    /// Expression: which items count at all.
    pub when: Option<String>,
    /// Template: the source's own stable id of the item.
    pub id: String,
    /// Template: when it happened. Without it every decision is kept for ever.
    pub time: Option<String>,
    /// Templates: whom it concerns. An expression may also give a list.
    pub topics: Vec<String>,
    /// Template: the line in bold.
    pub title: String,
    /// Template: the text below it.
    pub body: Option<String>,
    /// Template: what a tap opens.
    pub url: Option<String>,
    /// Template: a picture's address.
    pub image: Option<String>,
    /// Template: groups lines on the screen.
    pub thread: Option<String>,
    /// Template: name of the sound.
    pub sound: Option<String>,
    /// Template: `passive`, `active`, `time-sensitive` or `critical`.
    pub interruption: Option<String>,
    /// Template: `urgent` (default) or `bulk`.
    pub priority: Option<String>,
    /// Templates: values for the app and for filters; one that is a single `{{ … }}` keeps its
    /// type.
    #[serde(default)]
    pub data: BTreeMap<String, String>,
    /// Provider name to what is merged over the notification.
    #[serde(default)]
    pub overrides: Map<String, Value>,
    /// The `CloudEvents` type; default `fanfare.source.<name>`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What may happen when a process dies in the middle of a send.
    pub delivery: Option<Delivery>,
    /// How often, and after which waits, a device gets another attempt.
    pub retries: Option<RetriesConfig>,
    /// What bounds this source.
    #[serde(default)]
    pub limits: Limits,
    /// Where the items come from; all inputs share the ids.
    pub input: Vec<InputConfig>,
}

/// `delivery = "at_least_once"` or `"at_most_once"`.
pub type Delivery = Guarantee;

/// Who reads a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Every fetcher, each for itself: losing one costs nothing.
    #[default]
    Shared,
    /// The one that holds the source's lease: for publishers who allow one connection.
    Exclusive,
}

/// `level = "first"`, `{ levels = […], of = "…" }` or `{ fields = […] }`.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected `\"first\"`, `{ levels = [4.5, 6.0], of = \"{{ … }}\" }` or `{ fields = [\"{{ … }}\"], at_most = 5 }`"
)]
pub enum LevelConfig {
    /// One event per item.
    Name(LevelName),
    /// One event per step reached.
    Levels(LevelsConfig),
    /// One event per distinct value.
    Fields(FieldsConfig),
}

/// The level policies that need no more than a name.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LevelName {
    /// One event per item.
    First,
}

/// `{ levels = […], of = "…" }`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelsConfig {
    /// The steps; an event for each one reached, only the highest if several at once.
    pub levels: Vec<f64>,
    /// Template: the number. A missing number is below all steps.
    pub of: String,
}

/// `{ fields = […], at_most = N }`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldsConfig {
    /// Templates: an event for each distinct combination of their values.
    pub fields: Vec<String>,
    /// The most events of one item.
    #[serde(default = "default_at_most")]
    pub at_most: usize,
}

impl SourceConfig {
    /// Whether one fetcher at a time reads it.
    pub fn is_exclusive(&self) -> bool {
        self.mode == Mode::Exclusive
    }
}

impl Default for LevelConfig {
    fn default() -> Self {
        Self::Name(LevelName::First)
    }
}

/// The `limits` table of a source.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The most items of one document; a longer one is an error of the poll.
    pub items: usize,
    /// The most events that are being stored at the same time.
    pub in_flight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            items: 20_000,
            in_flight: 16,
        }
    }
}

const fn default_fresh_for() -> Period {
    Period::hours(24)
}

const fn default_at_most() -> usize {
    5
}
