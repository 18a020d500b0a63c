//! One item → one observation, or the reason why not.

use fanfare_nats::event::{Content, Urgency};
use fanfare_nats::harmless;
use fanfare_nats::{Level, Topic};
use minijinja::value::ValueKind;
use minijinja::{Value, context};

use super::observation::{Observation, Observed, Reason, Reject};
use super::template::{Slot, TemplateError};
use super::{InputMapping, Mapping, parse_time, text};
use crate::level::{LevelPolicy, Reading};

/// Longest id in bytes; the longest recorded one has 91.
const MAX_ID: usize = 512;
/// Most topics of one item: each becomes a look-up in every notifier's index.
const MAX_TOPICS: usize = 16;
/// Longest title and body in characters. Providers allow 4 KB for everything together.
const MAX_TITLE: usize = 200;
const MAX_BODY: usize = 1500;
/// Most bytes of the content as JSON; far below the broker's 1 MiB, so that no single item can
/// make the stream refuse a batch.
const MAX_CONTENT: usize = 32 * 1024;

/// A reason and its words.
type Refusal = (Reason, String);

fn because(reason: Reason, key: &str) -> impl Fn(TemplateError) -> Refusal {
    move |error| (reason, format!("{key}: {error}"))
}

impl Mapping {
    /// Reads an item and puts what it says where it belongs.
    pub(super) fn observe_item(
        &self,
        input: &InputMapping,
        item: &serde_json::Value,
        observed: &mut Observed,
    ) {
        let mut id = None;
        match self.observation(input, item, &mut id) {
            Ok(Some(observation)) => observed.observations.push(observation),
            Ok(None) => observed.n_left_out += 1,
            Err((reason, detail)) => observed.rejects.push(Reject {
                item: id,
                reason,
                detail,
            }),
        }
    }

    fn observation(
        &self,
        input: &InputMapping,
        item: &serde_json::Value,
        id: &mut Option<String>,
    ) -> Result<Option<Observation>, Refusal> {
        let mut context = context! { item => Value::from_serialize(item) };
        if let Some(slot) = &input.reshape {
            let item = self
                .templates
                .value(slot, &context)
                .map_err(because(Reason::Condition, "reshape"))?;
            context = context! { item };
        }
        if let Some(slot) = &self.when {
            let is_wanted = self
                .templates
                .value(slot, &context)
                .map_err(because(Reason::Condition, "when"))?;
            if !is_wanted.is_true() {
                return Ok(None);
            }
        }
        let item = self.item_id(&context)?;
        *id = Some(item.clone());
        let occurred_at = self.occurred_at(&context)?;
        let level = self.level(&context)?;
        let topics = self.topics(&context)?;
        let urgency = self.urgency(&context)?;
        let shown = self.content(&context)?;
        Ok(Some(Observation {
            item,
            level,
            occurred_at,
            topics,
            urgency,
            content: shown,
        }))
    }

    fn item_id(&self, context: &Value) -> Result<String, Refusal> {
        let text = self
            .templates
            .text(&self.id, context)
            .map_err(because(Reason::Id, "id"))?;
        match text {
            Some(text) if text.len() <= MAX_ID => Ok(text),
            Some(_) => Err((Reason::Id, format!("id: is longer than {MAX_ID} bytes"))),
            None => Err((Reason::Id, "id: is empty".to_owned())),
        }
    }

    fn occurred_at(&self, context: &Value) -> Result<Option<jiff::Timestamp>, Refusal> {
        let Some(slot) = &self.time else {
            return Ok(None);
        };
        let refuse = |why: &str| (Reason::Time, format!("time: {why}"));
        let value = self
            .templates
            .value(slot, context)
            .map_err(because(Reason::Time, "time"))?;
        if value.kind() == ValueKind::Number {
            return Err(refuse(
                "is a number: write `| from_ms` or `| from_s` after it",
            ));
        }
        let text = value.as_str().ok_or_else(|| refuse("is not there"))?;
        let time = parse_time(text).ok_or_else(|| refuse("is no time that can be read"))?;
        Ok(Some(time))
    }

    fn level(&self, context: &Value) -> Result<Option<Level>, Refusal> {
        let reading = match &self.level.policy {
            LevelPolicy::First => Reading::Nothing,
            LevelPolicy::Levels(_) => Reading::Number(match &self.level.number {
                Some(slot) => self.number(slot, context)?,
                None => None,
            }),
            LevelPolicy::Fields { .. } => Reading::Fields(
                self.level
                    .fields
                    .iter()
                    .map(|slot| Ok(self.templates.text(slot, context)?.unwrap_or_default()))
                    .collect::<Result<_, _>>()
                    .map_err(because(Reason::Level, "level.fields"))?,
            ),
        };
        Ok(self.level.policy.judge(&reading))
    }

    /// A number that is not there, at whatever depth, is missing; a word is a reject.
    fn number(&self, slot: &Slot, context: &Value) -> Result<Option<f64>, Refusal> {
        let Ok(value) = self.templates.value(slot, context) else {
            return Ok(None);
        };
        if value.is_none() || value.is_undefined() {
            return Ok(None);
        }
        let refusal = || (Reason::Level, "level.of: is no number".to_owned());
        let number = match value.as_str().map(str::trim) {
            Some("") => return Ok(None),
            Some(text) => text.parse().map_err(|_| refusal())?,
            None => f64::try_from(value.clone()).map_err(|_| refusal())?,
        };
        if f64::is_finite(number) {
            Ok(Some(number))
        } else {
            Err(refusal())
        }
    }

    fn topics(&self, context: &Value) -> Result<Vec<Topic>, Refusal> {
        let refuse = |why: String| (Reason::Topic, format!("topics: {why}"));
        let mut topics = Vec::new();
        let mut take = |text: &str| {
            // An empty one is a condition that did not hold.
            if text.is_empty() {
                return Ok(());
            }
            let topic = Topic::parse(text).map_err(|error| refuse(format!("one {error}")))?;
            if topic.is_reserved() {
                return Err(refuse("one is reserved".to_owned()));
            }
            if !topics.contains(&topic) {
                topics.push(topic);
            }
            Ok(())
        };
        for slot in &self.topics {
            let value = self
                .templates
                .value(slot, context)
                .map_err(because(Reason::Topic, "topics"))?;
            match value.kind() {
                ValueKind::String => take(value.as_str().unwrap_or_default().trim())?,
                ValueKind::Seq | ValueKind::Iterable => {
                    for part in value.try_iter().into_iter().flatten() {
                        take(part.as_str().unwrap_or("?").trim())?;
                    }
                }
                ValueKind::None => {}
                ValueKind::Number => take(&value.to_string())?,
                // Also kinds that the library may add.
                ValueKind::Undefined | _ => {
                    return Err(refuse("one is not there".to_owned()));
                }
            }
        }
        match topics.len() {
            0 => Err(refuse("there is none".to_owned())),
            n if n > MAX_TOPICS => Err(refuse(format!("there are {n}, more than {MAX_TOPICS}"))),
            _ => Ok(topics),
        }
    }

    fn urgency(&self, context: &Value) -> Result<Option<Urgency>, Refusal> {
        match self
            .field("priority", self.texts.priority.as_ref(), context)?
            .as_deref()
        {
            None => Ok(None),
            Some("urgent") => Ok(Some(Urgency::Urgent)),
            Some("bulk") => Ok(Some(Urgency::Bulk)),
            Some(_) => Err((
                Reason::Field,
                "priority: is neither `urgent` nor `bulk`".to_owned(),
            )),
        }
    }

    fn field(
        &self,
        key: &str,
        slot: Option<&Slot>,
        context: &Value,
    ) -> Result<Option<String>, Refusal> {
        match slot {
            Some(slot) => self
                .templates
                .text(slot, context)
                .map_err(because(Reason::Field, key)),
            None => Ok(None),
        }
    }

    fn content(&self, context: &Value) -> Result<Content, Refusal> {
        let title = self
            .templates
            .text(&self.title, context)
            .map_err(because(Reason::Title, "title"))?
            .map(|it| harmless::line(&it))
            .filter(|it| !it.is_empty())
            .ok_or_else(|| (Reason::Title, "title: is empty".to_owned()))?;
        let texts = &self.texts;
        let body = self.field("body", texts.body.as_ref(), context)?;
        let body = body
            .map(|it| harmless::prose(&it))
            .filter(|it| !it.is_empty());
        let url = self.field("url", texts.url.as_ref(), context)?;
        let image = self.field("image", texts.image.as_ref(), context)?;
        let shown = Content {
            title: text::cut(&title, MAX_TITLE),
            body: body.map(|it| text::cut(&it, MAX_BODY)),
            // An item is told without an address that may not be opened.
            url: url.filter(|it| harmless::link(it).is_ok()),
            image: image.filter(|it| harmless::picture(it).is_ok()),
            thread: self.field("thread", texts.thread.as_ref(), context)?,
            sound: self.field("sound", texts.sound.as_ref(), context)?,
            interruption: self.field("interruption", texts.interruption.as_ref(), context)?,
            data: self.data(context)?,
            overrides: self.overrides.clone(),
            ..Content::default()
        };
        let n_bytes = serde_json::to_vec(&shown).map_or(usize::MAX, |it| it.len());
        if n_bytes > MAX_CONTENT {
            return Err((
                Reason::Size,
                format!("the content has more than {MAX_CONTENT} bytes"),
            ));
        }
        Ok(shown)
    }

    fn data(&self, context: &Value) -> Result<serde_json::Map<String, serde_json::Value>, Refusal> {
        let mut data = serde_json::Map::new();
        for (key, slot) in &self.data {
            let refuse = |why: String| (Reason::Field, format!("data.{key}: {why}"));
            let value = self
                .templates
                .value(slot, context)
                .map_err(|error| refuse(error.to_string()))?;
            if value.is_undefined() {
                return Err(refuse("the value is not there".to_owned()));
            }
            if value.is_none() {
                continue;
            }
            let value = serde_json::to_value(&value).map_err(|error| refuse(error.to_string()))?;
            data.insert(key.clone(), value);
        }
        Ok(data)
    }
}
