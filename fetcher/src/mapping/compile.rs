//! A source's configuration → its compiled mapping, or everything that is wrong with it.

use fanfare_nats::Problem;

use super::items::Items;
use super::template::{Slot, TemplateError, Templates};
use super::{InputMapping, LevelMapping, Mapping, Texts};
use crate::config::{InputConfig, LevelConfig, LevelName, SourceConfig};
use crate::level::LevelPolicy;

struct Compiler {
    templates: Templates,
    problems: Vec<Problem>,
}

impl Compiler {
    fn keep(&mut self, key: &str, slot: Result<Slot, TemplateError>) -> Option<Slot> {
        slot.map_err(|error| self.problems.push(Problem::new(key, error.to_string())))
            .ok()
    }

    fn template(&mut self, key: &str, source: &str) -> Option<Slot> {
        let slot = self.templates.add(key, source);
        self.keep(key, slot)
    }

    fn optional(&mut self, key: &str, source: Option<&String>) -> Option<Slot> {
        source.and_then(|it| self.template(key, it))
    }

    fn expression(&mut self, key: &str, source: Option<&str>) -> Option<Slot> {
        let source = source?;
        // Both are understood: `a == b`, and `{{ a == b }}`.
        let bare = source.trim();
        let bare = bare
            .strip_prefix("{{")
            .and_then(|it| it.strip_suffix("}}"))
            .unwrap_or(bare);
        let slot = self.templates.add_expression(key, bare);
        self.keep(key, slot)
    }

    fn items(&mut self, key: &str, text: Option<&str>) -> Option<Items> {
        Items::compile(text?)
            .map_err(|error| {
                self.problems
                    .push(Problem::new(key, format!("is no JSONPath: {error}")));
            })
            .ok()
    }

    fn input(&mut self, n: usize, input: &InputConfig) -> InputMapping {
        let items = self.items(&format!("input[{n}].items"), input.items());
        let reshape = self.expression(&format!("input[{n}].reshape"), input.reshape());
        let (ignore, sequence) = match input {
            InputConfig::Http(_) | InputConfig::Webhook(_) => (None, None),
            InputConfig::WebSocket(socket) => {
                let ignore =
                    self.expression(&format!("input[{n}].ignore"), socket.ignore.as_deref());
                let sequence = socket.sequence.as_ref().and_then(|it| {
                    let scope =
                        self.optional(&format!("input[{n}].sequence.scope"), it.scope.as_ref());
                    let of = self.template(&format!("input[{n}].sequence.of"), &it.of)?;
                    Some((of, scope))
                });
                (ignore, sequence)
            }
        };
        InputMapping {
            items,
            reshape,
            ignore,
            sequence,
        }
    }

    fn level(&mut self, level: &LevelConfig) -> LevelMapping {
        match level {
            LevelConfig::Name(LevelName::First) => LevelMapping {
                policy: LevelPolicy::First,
                number: None,
                fields: Vec::new(),
            },
            LevelConfig::Levels(levels) => {
                let mut steps = levels.levels.clone();
                if steps.is_empty() || steps.iter().any(|it| !it.is_finite()) {
                    let problem = Problem::new("level.levels", "needs one or more numbers");
                    self.problems.push(problem);
                }
                steps.sort_by(f64::total_cmp);
                steps.dedup();
                LevelMapping {
                    policy: LevelPolicy::Levels(steps),
                    number: self.template("level.of", &levels.of),
                    fields: Vec::new(),
                }
            }
            LevelConfig::Fields(fields) => {
                if fields.fields.is_empty() || fields.at_most == 0 {
                    let problem = Problem::new(
                        "level.fields",
                        "needs one or more templates, `at_most` 1 or more",
                    );
                    self.problems.push(problem);
                }
                let slots = fields.fields.iter().enumerate();
                LevelMapping {
                    policy: LevelPolicy::Fields {
                        at_most: fields.at_most,
                    },
                    number: None,
                    fields: slots
                        .filter_map(|(n, it)| self.template(&format!("level.fields[{n}]"), it))
                        .collect(),
                }
            }
        }
    }
}

impl Mapping {
    /// Compiles all templates and paths of a source.
    ///
    /// # Errors
    /// Every problem, with keys below the source's table.
    pub fn compile(source: &SourceConfig) -> Result<Self, Vec<Problem>> {
        let mut compiler = Compiler {
            templates: Templates::new(),
            problems: Vec::new(),
        };
        let c = &mut compiler;
        let inputs = source.input.iter().enumerate();
        let inputs = inputs.map(|(n, it)| c.input(n, it)).collect();
        let texts = Texts {
            body: c.optional("body", source.body.as_ref()),
            url: c.optional("url", source.url.as_ref()),
            image: c.optional("image", source.image.as_ref()),
            thread: c.optional("thread", source.thread.as_ref()),
            sound: c.optional("sound", source.sound.as_ref()),
            interruption: c.optional("interruption", source.interruption.as_ref()),
            priority: c.optional("priority", source.priority.as_ref()),
        };
        let topics = source.topics.iter().enumerate();
        let topics: Vec<Slot> = topics
            .filter_map(|(n, it)| c.template(&format!("topics[{n}]"), it))
            .collect();
        if source.topics.is_empty() {
            c.problems
                .push(Problem::new("topics", "needs one or more templates"));
        }
        let data = source.data.iter();
        let data = data
            .filter_map(|(key, it)| Some((key.clone(), c.template(&format!("data.{key}"), it)?)))
            .collect();
        let when = c.expression("when", source.when.as_deref());
        let time = c.optional("time", source.time.as_ref());
        let level = c.level(&source.level);
        let id = c.template("id", &source.id);
        let title = c.template("title", &source.title);
        match (id, title) {
            (Some(id), Some(title)) if compiler.problems.is_empty() => Ok(Self {
                templates: compiler.templates,
                inputs,
                when,
                id,
                time,
                topics,
                title,
                texts,
                data,
                overrides: source.overrides.clone(),
                level,
                max_items: source.limits.items,
            }),
            _ => Err(compiler.problems),
        }
    }
}
