//! What a load takes of disk and memory, before anything is installed; pure.
//!
//! Each constant was measured and names its source. The estimate is for the steady state, when as
//! much goes away by age as comes.

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

use super::judge::bytes;
use super::{Finding, Severity};
use crate::device::AppName;
use crate::event::Urgency;
use crate::plan::{Lane, cut};
use crate::stream::Topology;
use crate::subject::Names;

/// Stored bytes of a message, headers included: an event with a title, a sentence and a link; its
/// plan; a task; of receipts for each push; a device with three subscriptions (docs/operations.md,
/// "Sizes").
const EVENT_BYTES: f64 = 725.0;
const PLAN_BYTES: f64 = 408.0;
const TASK_BYTES: f64 = 417.0;
const RECEIPT_BYTES_A_PUSH: f64 = 49.0;
/// A task that is claimed writes one receipt before the first push, and a last one.
const RECEIPTS_BYTES_A_TASK: f64 = 400.0;
const DEVICE_BYTES: f64 = 338.0;
/// Files over the bytes of what is stored in them: the space of what was removed or replaced is
/// won back block by block (measured: 1.0 to 1.3).
const FILES: f64 = 1.3;
/// Memory of the server for each subject that is stored: 250 to 600 bytes; 580 for a key of a bucket
/// with a million (measured, nats-server 2.15.1 on one server).
const SUBJECT_BYTES: f64 = 600.0;
/// nats-server without anything stored, with the buffers of a few streams in use.
const SERVER_BYTES: f64 = 100e6;
/// Memory of a notifier and of an API for each device: 162 bytes at a million, 318 at 100,000, where
/// buffers weigh more (docs/benchmarks.md, "Device index"; of an API that took in a million, 194).
const INDEX_BYTES: f64 = 320.0;
const INDEX_BYTES_OF_MANY: f64 = 220.0;
const MANY: f64 = 500_000.0;
/// Resident without load, measured: 34, 25 and 23 MB; the rest is for what is in flight.
const NOTIFIER_BYTES: f64 = 80e6;
const API_BYTES: f64 = 60e6;
const FETCHER_BYTES: f64 = 60e6;
/// Pushes a second of one notifier on two cores beside its broker (docs/operations.md,
/// "Durability"); elsewhere the provider decides.
const PUSHES_A_SECOND: f64 = 27_000.0;
/// Above this part of its limit a stream is said to be too small.
const FILLING: f64 = 0.7;

/// What is to be carried.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Registered devices.
    pub devices: f64,
    /// Events a day.
    pub events_a_day: f64,
    /// Devices that one event concerns, on average; all of them if it is not said.
    pub audience: Option<f64>,
    /// Apps among which the devices are divided.
    pub apps: u16,
    /// Copies of everything.
    pub replicas: usize,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            devices: 0.0,
            events_a_day: 0.0,
            audience: None,
            apps: 1,
            replicas: 1,
        }
    }
}

/// Why a load could not be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LoadError {
    /// A part without `=`, or a number that is none.
    #[error("`{0}` is not KEY=NUMBER; for example devices=1e6,events/day=100")]
    Number(String),
    /// A key that there is not.
    #[error("`{0}` is none of devices, events/day, audience, apps, replicas")]
    Key(String),
}

impl Load {
    /// Reads `devices=1e6,events/day=100,audience=2e5,apps=2,replicas=3`.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn parse(text: &str, replicas: usize) -> Result<Self, LoadError> {
        let mut load = Self {
            replicas,
            ..Self::default()
        };
        for part in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            let wrong = || LoadError::Number(part.to_owned());
            let (key, number) = part.split_once('=').ok_or_else(wrong)?;
            let number: f64 = number.replace('_', "").parse().map_err(|_| wrong())?;
            if !(0.0..=1e12).contains(&number) {
                return Err(wrong());
            }
            match key.trim() {
                "devices" => load.devices = number,
                "events/day" => load.events_a_day = number,
                "audience" => load.audience = Some(number),
                "apps" => load.apps = whole(number).clamp(1, 256) as u16,
                "replicas" => load.replicas = whole(number).clamp(1, 5) as usize,
                other => return Err(LoadError::Key(other.to_owned())),
            }
        }
        Ok(load)
    }

    fn audience(&self) -> f64 {
        self.audience.unwrap_or(self.devices).min(self.devices)
    }

    /// Tasks of one event, cut as planners cut it.
    fn n_tasks(&self) -> f64 {
        let each = whole(self.audience() / f64::from(self.apps));
        let lanes = (0..self.apps).filter_map(|n| {
            let app = AppName::parse(&format!("app-{n}")).ok()?;
            let urgency = Urgency::Urgent;
            Some((Lane { app, urgency }, each))
        });
        let cut = cut(&lanes.collect::<BTreeMap<_, _>>());
        cut.values().map(|it| f64::from(1_u32 << it)).sum()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate, bounded by the caller; the conversion saturates"
)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

/// What one stream or bucket takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Messages in the steady state.
    pub n_messages: f64,
    /// Subjects, each of which takes memory.
    pub n_subjects: f64,
    /// Bytes of the messages, as the broker counts them.
    pub bytes: f64,
    /// Its limit, as `admin apply` sets it.
    pub limit: Option<f64>,
}

/// What a load takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// By stream and bucket.
    pub parts: Vec<Part>,
    /// Of each broker's disk.
    pub disk: f64,
    /// Of each broker's memory.
    pub memory: f64,
    /// Of a notifier's memory.
    pub notifier: f64,
    /// Of an API's memory, with its index; 60 MB without.
    pub api: f64,
    /// Of a fetcher's memory.
    pub fetcher: f64,
    /// How long one notifier on two cores needs for one event, in seconds, if the provider takes it.
    pub seconds_an_event: f64,
    /// What does not fit.
    pub findings: Vec<Finding>,
}

/// The estimate.
pub fn forecast(load: &Load, topology: &Topology, names: &Names) -> Forecast {
    let parts = parts(load, topology, names);
    let stored: f64 = parts.iter().map(|it| it.bytes).sum();
    let subjects: f64 = parts.iter().map(|it| it.n_subjects).sum();
    let index = if load.devices < MANY {
        INDEX_BYTES
    } else {
        INDEX_BYTES_OF_MANY
    };
    let audience = load.audience();
    Forecast {
        findings: parts.iter().filter_map(too_small).collect(),
        disk: stored * FILES,
        memory: SERVER_BYTES + subjects * SUBJECT_BYTES,
        notifier: NOTIFIER_BYTES + load.devices * index,
        api: API_BYTES + load.devices * index,
        fetcher: FETCHER_BYTES,
        seconds_an_event: audience / PUSHES_A_SECOND,
        parts,
    }
}

fn parts(load: &Load, topology: &Topology, names: &Names) -> Vec<Part> {
    let days = |age: Duration| age.as_secs_f64() / 86_400.0;
    let n_tasks = load.n_tasks();
    let pushes = load.audience();
    let mut parts = Vec::new();
    for stream in topology.streams(names) {
        let events = load.events_a_day * days(stream.max_age);
        // Messages, subjects and bytes of one event, as long as they are kept.
        let (n_messages, n_subjects, bytes) = match &stream.name {
            name if *name == names.events() => (1.0, 1.0, EVENT_BYTES),
            name if *name == names.tasks() => {
                let n = 1.0 + n_tasks;
                (n, n, PLAN_BYTES + n_tasks * TASK_BYTES)
            }
            name if *name == names.receipts() => {
                let bytes = pushes * RECEIPT_BYTES_A_PUSH + n_tasks * RECEIPTS_BYTES_A_TASK;
                (n_tasks * 2.0 + pushes / 57.0, n_tasks, bytes)
            }
            _ => (0.0, 0.0, 0.0), // Dead letters: none, if all is well. The audit: not by events.
        };
        let limit = u32::try_from(stream.max_bytes >> 20).ok();
        parts.push(Part {
            name: stream.name,
            n_messages: n_messages * events,
            n_subjects: n_subjects * events,
            bytes: bytes * events,
            limit: limit
                .filter(|it| *it > 0)
                .map(|it| f64::from(it) * 1_048_576.0),
        });
    }
    parts.push(Part {
        name: format!("KV_{}", names.devices_bucket()),
        n_messages: load.devices,
        n_subjects: load.devices,
        bytes: load.devices * DEVICE_BYTES,
        limit: None,
    });
    parts
}

fn too_small(part: &Part) -> Option<Finding> {
    let limit = part.limit.filter(|it| part.bytes > it * FILLING)?;
    let text = format!(
        "{} would hold {} and is made for {}",
        part.name,
        bytes(whole(part.bytes)),
        bytes(whole(limit))
    );
    let advice = format!(
        "after `fanfare admin apply`: nats stream edit {} --max-bytes {}",
        part.name,
        whole(part.bytes * 2.0)
    );
    Some(Finding::new(Severity::Warning, "sizes", text, advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Forecast {
        let load = Load::parse(text, 3).unwrap();
        forecast(&load, &Topology::new(3, Vec::new()), &Names::default())
    }

    #[test]
    fn a_load_is_read_as_people_write_it() {
        let load = Load::parse("devices=1e6, events/day=100,apps=2", 3).unwrap();
        let expected = Load {
            devices: 1e6,
            events_a_day: 100.0,
            audience: None,
            apps: 2,
            replicas: 3,
        };
        assert_eq!(load, expected);
        assert_eq!(
            Load::parse("devices=1_000,replicas=1", 3).unwrap().replicas,
            1
        );
        for wrong in [
            "devices",
            "devices=x",
            "devices=-1",
            "devices=inf",
            "devices=NaN",
        ] {
            assert_eq!(
                Load::parse(wrong, 1),
                Err(LoadError::Number(wrong.to_owned()))
            );
        }
        assert_eq!(
            Load::parse("users=1", 1),
            Err(LoadError::Key("users".to_owned()))
        );
    }

    #[test]
    fn a_million_devices_and_a_hundred_events_a_day_to_all_need_larger_receipts() {
        let forecast = of("devices=1e6,events/day=100");
        let texts: Vec<_> = forecast
            .findings
            .iter()
            .map(|it| it.text.as_str())
            .collect();
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert!(
            texts[0].starts_with("FANFARE_RECEIPTS would hold 32."),
            "{texts:?}"
        );
        // 700 events, 200 plans, 100,000 tasks, 350,000 receipts' subjects, a million devices.
        let subjects: f64 = forecast.parts.iter().map(|it| it.n_subjects).sum();
        assert!((subjects - 1_461_700.0).abs() < 1_000.0, "{subjects}");
        assert!(
            (0.9e9..1.1e9).contains(&forecast.memory),
            "{}",
            forecast.memory
        );
        assert!(
            (2.5e8..3.5e8).contains(&forecast.notifier),
            "{}",
            forecast.notifier
        );
        // docs/benchmarks.md: 233 MB after an import of so many.
        assert!((2.33e8..3.2e8).contains(&forecast.api), "{}", forecast.api);
    }

    #[test]
    fn a_small_audience_takes_little() {
        let forecast = of("devices=1e6,events/day=100,audience=1000");
        assert_eq!(forecast.findings, []);
        assert!(forecast.disk < 600e6, "{}", forecast.disk);
        let none = of("");
        assert!(none.disk < 1.0 && none.memory >= SERVER_BYTES, "{none:?}");
    }
}
