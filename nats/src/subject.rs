//! The only grammar of subjects, in both directions, and the names built from the prefix.

use thiserror::Error;

use crate::device::AppName;
use crate::event::{EventId, ScreenId, SourceName, check_name};
use crate::hash::DeviceHash;
use crate::level::Level;
use crate::permissions::Role;
use crate::plan::Lane;
use crate::tenant::Tenant;

/// The names of one pipeline. Two prefixes are two pipelines in one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    prefix: Box<str>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            prefix: "fanfare".into(),
        }
    }
}

/// What a subject says.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// An event: `<p>.event.<source>.<item>.<level>`.
    Event {
        /// Its source.
        source: SourceName,
        /// Its item, hashed.
        screen: ScreenId,
        /// What was decided.
        level: Level,
    },
    /// A plan: `<p>.plan.<event>`.
    Plan {
        /// Of which event.
        event: EventId,
    },
    /// A task: `<p>.task.<lane>.<event>.<n>[.<pass>]`; passes count from 1, which is not written.
    Task {
        /// Through which lane.
        lane: Lane,
        /// Of which event.
        event: EventId,
        /// Which part of the plan.
        n: u32,
        /// Which run over its devices.
        pass: u32,
    },
    /// A wake-up: `<p>.later.<event>.<lane>.<n>.<pass>`.
    Later {
        /// Of which event.
        event: EventId,
        /// Through which lane.
        lane: Lane,
        /// Which part of the plan.
        n: u32,
        /// The pass that it starts.
        pass: u32,
    },
    /// Receipts: `<p>.receipt.<event>.<lane>.<n>`.
    Receipt {
        /// Of which event.
        event: EventId,
        /// Through which lane.
        lane: Lane,
        /// Which part of the plan.
        n: u32,
    },
    /// A dead letter: `<p>.dead.<reason>.<event>.<app>.<device hash>`.
    Dead {
        /// `refused`, `invalid` or `poison`.
        reason: Box<str>,
        /// Of which event.
        event: EventId,
        /// Through which app.
        app: AppName,
        /// To which device.
        device: DeviceHash,
    },
}

/// Why a text is no subject of this pipeline. It quotes nothing but the kind.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a subject of this pipeline")]
pub struct SubjectError;

impl Names {
    /// Names with another prefix: 1 to 12 of `[a-z0-9_-]`.
    ///
    /// # Errors
    /// [`crate::event::NameError`] says what is allowed.
    pub fn with_prefix(prefix: &str) -> Result<Self, crate::event::NameError> {
        check_name(prefix, 12)?;
        Ok(Self {
            prefix: prefix.into(),
        })
    }

    /// The prefix.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    fn stream(&self, suffix: &str) -> String {
        format!("{}_{suffix}", self.prefix.to_uppercase())
    }

    /// The stream of events.
    pub fn events(&self) -> String {
        self.stream("EVENTS")
    }

    /// The stream of plans, tasks and wake-ups.
    pub fn tasks(&self) -> String {
        self.stream("TASKS")
    }

    /// The stream of receipts.
    pub fn receipts(&self) -> String {
        self.stream("RECEIPTS")
    }

    /// The stream of dead letters.
    pub fn dead(&self) -> String {
        self.stream("DEAD")
    }

    /// The stream of who changed what.
    pub fn audit(&self) -> String {
        self.stream("AUDIT")
    }

    /// `<p>.audit.<user>.<tenant>.<node>`: where a process keeps what it changed.
    pub fn audit_of(&self, user: Role, tenant: &Tenant, node: &str) -> String {
        format!("{}.audit.{}.{tenant}.{node}", self.prefix, user.name())
    }

    /// What was changed for a tenant, or for all.
    pub fn audits(&self, tenant: Option<&Tenant>) -> String {
        match tenant {
            Some(tenant) => format!("{}.audit.*.{tenant}.*", self.prefix),
            None => self.all("audit"),
        }
    }

    /// The bucket of devices and barriers.
    pub fn devices_bucket(&self) -> String {
        format!("{}_devices", self.prefix)
    }

    /// The bucket of baselines, cursors, leases and members.
    pub fn control_bucket(&self) -> String {
        format!("{}_control", self.prefix)
    }

    /// The bucket of hashes of API keys.
    pub fn keys_bucket(&self) -> String {
        format!("{}_keys", self.prefix)
    }

    /// The durable of a lane.
    pub fn send_consumer(lane: &Lane) -> String {
        format!("send-{lane}")
    }

    /// `<p>.<kind>.>`: all subjects of a kind.
    pub fn all(&self, kind: &str) -> String {
        format!("{}.{kind}.>", self.prefix)
    }

    /// All tasks of a lane.
    pub fn lane_tasks(&self, lane: &Lane) -> String {
        format!("{}.task.{lane}.>", self.prefix)
    }

    /// All levels of an item.
    pub fn item_levels(&self, source: &SourceName, screen: &ScreenId) -> String {
        format!("{}.event.{source}.{screen}.*", self.prefix)
    }

    /// All receipts of an event.
    pub fn event_receipts(&self, event: &EventId) -> String {
        format!("{}.receipt.{event}.>", self.prefix)
    }

    /// Writes a subject.
    pub fn subject(&self, subject: &Subject) -> String {
        let p = &self.prefix;
        match subject {
            Subject::Event {
                source,
                screen,
                level,
            } => {
                format!("{p}.event.{source}.{screen}.{level}")
            }
            Subject::Plan { event } => format!("{p}.plan.{event}"),
            Subject::Task {
                lane,
                event,
                n,
                pass: 0 | 1,
            } => format!("{p}.task.{lane}.{event}.{n}"),
            Subject::Task {
                lane,
                event,
                n,
                pass,
            } => {
                format!("{p}.task.{lane}.{event}.{n}.{pass}")
            }
            Subject::Later {
                event,
                lane,
                n,
                pass,
            } => {
                format!("{p}.later.{event}.{lane}.{n}.{pass}")
            }
            Subject::Receipt { event, lane, n } => format!("{p}.receipt.{event}.{lane}.{n}"),
            Subject::Dead {
                reason,
                event,
                app,
                device,
            } => {
                format!("{p}.dead.{reason}.{event}.{app}.{device}")
            }
        }
    }

    /// Reads a subject.
    ///
    /// # Errors
    /// [`SubjectError`] for anything that [`Names::subject`] does not write.
    pub fn parse(&self, text: &str) -> Result<Subject, SubjectError> {
        let tokens: Vec<&str> = text.split('.').collect();
        let (prefix, tokens) = tokens.split_first().ok_or(SubjectError)?;
        if **prefix != *self.prefix {
            return Err(SubjectError);
        }
        let subject = parse_tokens(tokens).ok_or(SubjectError)?;
        (self.subject(&subject) == text)
            .then_some(subject)
            .ok_or(SubjectError)
    }
}

fn parse_tokens(tokens: &[&str]) -> Option<Subject> {
    let number = |it: &str| it.parse::<u32>().ok();
    Some(match tokens {
        ["event", source, screen, level] => Subject::Event {
            source: SourceName::parse(source).ok()?,
            screen: ScreenId::parse(screen)?,
            level: Level::parse(level)?,
        },
        ["plan", event] => Subject::Plan {
            event: EventId::parse(event)?,
        },
        ["task", lane, event, n] => Subject::Task {
            lane: Lane::parse(lane)?,
            event: EventId::parse(event)?,
            n: number(n)?,
            pass: 1,
        },
        ["task", lane, event, n, pass] => Subject::Task {
            lane: Lane::parse(lane)?,
            event: EventId::parse(event)?,
            n: number(n)?,
            pass: number(pass).filter(|it| *it > 1)?,
        },
        ["later", event, lane, n, pass] => Subject::Later {
            event: EventId::parse(event)?,
            lane: Lane::parse(lane)?,
            n: number(n)?,
            pass: number(pass)?,
        },
        ["receipt", event, lane, n] => Subject::Receipt {
            event: EventId::parse(event)?,
            lane: Lane::parse(lane)?,
            n: number(n)?,
        },
        ["dead", reason, event, app, device] => Subject::Dead {
            reason: check_name(reason, 32).ok().map(|()| (*reason).into())?,
            event: EventId::parse(event)?,
            app: AppName::parse(app).ok()?,
            device: DeviceHash::parse(device)?,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subject() -> impl Strategy<Value = Subject> {
        let name = "[a-z0-9_-]{1,20}";
        let event = "[0-9a-f]{32}";
        let lane = (name, any::<bool>()).prop_map(|(app, is_urgent)| {
            Lane::parse(&format!(
                "{app}-{}",
                if is_urgent { "urgent" } else { "bulk" }
            ))
            .unwrap()
        });
        let id = event.prop_map(|it| EventId::parse(&it).unwrap());
        prop_oneof![
            (name, "[0-9a-f]{32}", -99_i32..99).prop_map(|(source, screen, step)| Subject::Event {
                source: SourceName::parse(&source).unwrap(),
                screen: ScreenId::parse(&screen).unwrap(),
                level: Level::Step(f64::from(step) / 10.0),
            }),
            id.clone().prop_map(|event| Subject::Plan { event }),
            (lane.clone(), id.clone(), 0..512_u32, 1..99_u32).prop_map(|(lane, event, n, pass)| {
                Subject::Task {
                    lane,
                    event,
                    n,
                    pass,
                }
            }),
            (lane.clone(), id.clone(), 0..512_u32, 1..99_u32).prop_map(|(lane, event, n, pass)| {
                Subject::Later {
                    lane,
                    event,
                    n,
                    pass,
                }
            }),
            (lane, id.clone(), 0..512_u32).prop_map(|(lane, event, n)| Subject::Receipt {
                lane,
                event,
                n
            }),
            (id, name, any::<u64>()).prop_map(|(event, app, hash)| Subject::Dead {
                reason: "refused".into(),
                event,
                app: AppName::parse(&app).unwrap(),
                device: DeviceHash(hash),
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(subject in subject()) {
            let names = Names::default();
            let text = names.subject(&subject);
            prop_assert!(text.len() <= 256 && text.split('.').count() <= 16);
            prop_assert_eq!(names.parse(&text), Ok(subject));
        }

        #[test]
        fn foreign_text_never_panics(text in ".{0,80}") {
            let _ = Names::default().parse(&text);
        }
    }

    #[test]
    fn another_spelling_of_a_subject_is_refused() {
        let names = Names::default();
        let event = "a".repeat(32);
        assert!(
            names
                .parse(&format!("fanfare.task.ios-urgent.{event}.7"))
                .is_ok()
        );
        for text in [
            format!("fanfare.task.ios-urgent.{event}.07"),
            format!("fanfare.task.ios-urgent.{event}.7.1"),
            format!("other.task.ios-urgent.{event}.7"),
            format!("fanfare.task.ios-soon.{event}.7"),
        ] {
            assert_eq!(names.parse(&text), Err(SubjectError), "{text}");
        }
    }
}
