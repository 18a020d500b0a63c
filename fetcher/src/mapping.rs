//! Document → observations and rejects (pure): what the templates of a source say about an item.

mod compile;
mod document;
mod encoding;
mod feed;
mod filter;
mod item;
mod items;
mod observation;
mod sequence;
mod template;
mod text;
mod time;

use bytes::Bytes;
use minijinja::{Value, context};

pub use document::DocumentError;
pub use observation::{Observation, Observed, Reason, Reject};
pub use sequence::{Continuity, Tracker};
pub use template::TemplateError;
pub(crate) use time::parse_time;

use crate::level::LevelPolicy;
use items::{Items, bounded};
use template::{Slot, Templates};

/// The compiled templates of one source.
#[derive(Debug)]
pub struct Mapping {
    templates: Templates,
    inputs: Vec<InputMapping>,
    when: Option<Slot>,
    id: Slot,
    time: Option<Slot>,
    topics: Vec<Slot>,
    title: Slot,
    texts: Texts,
    data: Vec<(String, Slot)>,
    overrides: serde_json::Map<String, serde_json::Value>,
    level: LevelMapping,
    max_items: usize,
}

/// The optional texts of the content.
#[derive(Debug, Default)]
struct Texts {
    body: Option<Slot>,
    url: Option<Slot>,
    image: Option<Slot>,
    thread: Option<Slot>,
    sound: Option<Slot>,
    interruption: Option<Slot>,
    priority: Option<Slot>,
}

#[derive(Debug)]
struct InputMapping {
    items: Option<Items>,
    reshape: Option<Slot>,
    ignore: Option<Slot>,
    sequence: Option<(Slot, Option<Slot>)>,
}

#[derive(Debug)]
struct LevelMapping {
    policy: LevelPolicy,
    number: Option<Slot>,
    fields: Vec<Slot>,
}

impl Mapping {
    /// The level policy.
    pub fn policy(&self) -> &LevelPolicy {
        &self.level.policy
    }

    /// Reads a polled document: JSON where the input has `items`, else a feed.
    ///
    /// # Errors
    /// [`DocumentError`]: nothing of the document was used.
    pub fn observe_document(&self, input: usize, bytes: &[u8]) -> Result<Observed, DocumentError> {
        let Some(mapping) = self.inputs.get(input) else {
            return Ok(Observed::default());
        };
        let mut observed = Observed::default();
        if let Some(items) = &mapping.items {
            let document = document::read_json(bytes)?;
            for item in items.select(&document, self.max_items)? {
                self.observe_item(mapping, item, &mut observed);
            }
        } else {
            let feed = feed::read_feed(bytes)?;
            bounded(feed.items.len(), self.max_items)?;
            observed.ttl = feed.ttl;
            for item in &feed.items {
                self.observe_item(mapping, item, &mut observed);
            }
        }
        Ok(observed)
    }

    /// Reads the frames of a socket in their order. A frame that is no JSON is a reject: it says
    /// nothing about the others.
    pub fn observe_frames(
        &self,
        input: usize,
        frames: &[Bytes],
        tracker: &mut Tracker,
    ) -> Observed {
        let mut observed = Observed::default();
        if let Some(mapping) = self.inputs.get(input) {
            for frame in frames {
                self.observe_frame(mapping, frame, tracker, &mut observed);
            }
        }
        observed
    }

    fn observe_frame(
        &self,
        mapping: &InputMapping,
        bytes: &[u8],
        tracker: &mut Tracker,
        observed: &mut Observed,
    ) {
        let reject = |reason, detail| Reject {
            item: None,
            reason,
            detail,
        };
        let Ok(frame) = document::read_json(bytes) else {
            let detail = "the frame is no JSON".to_owned();
            observed.rejects.push(reject(Reason::Frame, detail));
            return;
        };
        if mapping.ignore.is_some() || mapping.sequence.is_some() {
            let context = context! { frame => Value::from_serialize(&frame) };
            observed.n_missed += self.missed(mapping, &context, tracker);
            let is_ignored = match &mapping.ignore {
                Some(slot) => self.templates.value(slot, &context).map(|it| it.is_true()),
                None => Ok(false),
            };
            match is_ignored {
                Ok(false) => {}
                Ok(true) => {
                    observed.n_left_out += 1;
                    return;
                }
                Err(error) => {
                    let detail = format!("ignore: {error}");
                    observed.rejects.push(reject(Reason::Condition, detail));
                    return;
                }
            }
        }
        let Some(items) = &mapping.items else {
            self.observe_item(mapping, &frame, observed);
            return;
        };
        // Frames of other kinds simply have no list.
        for item in items.select(&frame, self.max_items).unwrap_or_default() {
            self.observe_item(mapping, item, observed);
        }
    }

    /// How many frames are missing before this one. Frames without a number do not count.
    fn missed(&self, mapping: &InputMapping, context: &Value, tracker: &mut Tracker) -> u64 {
        let Some((of, scope)) = &mapping.sequence else {
            return 0;
        };
        let number = self.templates.value(of, context).ok();
        let Some(number) = number.and_then(|it| u64::try_from(it).ok()) else {
            return 0;
        };
        let scope = scope
            .as_ref()
            .and_then(|slot| self.templates.text(slot, context).ok().flatten())
            .unwrap_or_default();
        match tracker.see(&scope, number) {
            Continuity::Gap(n) => n,
            Continuity::First | Continuity::Next | Continuity::Repeat => 0,
        }
    }
}
