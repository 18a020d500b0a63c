//! How an event is cut into tasks: ranges of device hashes, a hundred bytes each.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::device::AppName;
use crate::event::{EventId, Urgency};
use crate::hash::DeviceHash;
use crate::schema;

/// Tasks of one event in all lanes together (design section 4).
pub const MAX_TASKS: u32 = 512;
/// Devices a task should have at most (design section 4).
pub const TASK_DEVICES: u64 = 500;

/// One app at one urgency: breaker, pause, rate and in-flight cap belong to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane {
    /// The app.
    pub app: AppName,
    /// Urgent or bulk.
    pub urgency: Urgency,
}

impl Lane {
    /// Reads the token `<app>-urgent` or `<app>-bulk`.
    pub fn parse(token: &str) -> Option<Self> {
        let (app, urgency) = token.rsplit_once('-')?;
        let urgency = match urgency {
            "urgent" => Urgency::Urgent,
            "bulk" => Urgency::Bulk,
            _ => return None,
        };
        Some(Self {
            app: AppName::parse(app).ok()?,
            urgency,
        })
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.app, self.urgency.as_str())
    }
}

/// The `index`-th of 2^`log2_n` equal parts of the hash space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HashRange {
    index: u32,
    log2_n: u8,
}

impl HashRange {
    /// Part `index` of 2^`log2_n`; `None` where there is no such part or more than 2^16 parts.
    pub fn new(index: u32, log2_n: u8) -> Option<Self> {
        (log2_n <= 16 && index < 1 << log2_n).then_some(Self { index, log2_n })
    }

    /// Which part.
    pub fn index(self) -> u32 {
        self.index
    }

    /// Logarithm of the number of parts.
    pub fn log2_n(self) -> u8 {
        self.log2_n
    }

    /// The smallest hash of the range.
    pub fn first(self) -> DeviceHash {
        match self.log2_n {
            0 => DeviceHash(0),
            log2_n => DeviceHash(u64::from(self.index) << (64 - log2_n)),
        }
    }

    /// The greatest hash of the range.
    pub fn last(self) -> DeviceHash {
        match self.log2_n {
            0 => DeviceHash(u64::MAX),
            log2_n => DeviceHash(self.first().0 | (u64::MAX >> log2_n)),
        }
    }

    /// Whether a device belongs to this part.
    pub fn contains(self, hash: DeviceHash) -> bool {
        (self.first()..=self.last()).contains(&hash)
    }
}

/// How an event was cut; stored once, and whoever plans again finds it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Which event.
    pub event: EventId,
    /// Its stream sequence.
    pub event_seq: u64,
    /// For each lane with listeners, the logarithm of its number of tasks.
    pub lanes: BTreeMap<Lane, u8>,
    /// The revision of the device bucket that senders must have reached.
    pub revision: u64,
    /// After this nobody is told any more.
    pub expires_at: Timestamp,
    /// When it was cut.
    pub planned_at: Timestamp,
}

/// One part of a plan: the devices of one lane in one range of hashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Task {
    /// Which event.
    pub event: EventId,
    /// Its stream sequence.
    pub event_seq: u64,
    /// Through which lane.
    pub lane: Lane,
    /// Which devices.
    pub range: HashRange,
    /// The revision of the device bucket that the sender's index must have reached.
    pub revision: u64,
    /// After this nobody is told any more.
    pub expires_at: Timestamp,
}

/// Tasks of each lane: the smallest power of two that leaves at most [`TASK_DEVICES`] a task,
/// halved until all lanes together have at most [`MAX_TASKS`]. Lanes without devices have none.
pub fn cut(audience: &BTreeMap<Lane, u64>) -> BTreeMap<Lane, u8> {
    let mut lanes: BTreeMap<Lane, u8> = audience
        .iter()
        .filter(|(_, devices)| **devices > 0)
        .map(|(lane, devices)| (lane.clone(), log2_tasks(*devices)))
        .collect();
    while lanes.values().map(|it| 1_u32 << it).sum::<u32>() > MAX_TASKS {
        let Some(largest) = lanes.values_mut().max() else {
            break;
        };
        match largest.checked_sub(1) {
            Some(halved) => *largest = halved,
            None => break, // More than 512 lanes with one task each; nothing left to halve.
        }
    }
    lanes
}

fn log2_tasks(devices: u64) -> u8 {
    let mut log2_n = 0;
    while log2_n < 9 && TASK_DEVICES << log2_n < devices {
        log2_n += 1;
    }
    log2_n
}

impl Plan {
    /// The tasks, lane by lane.
    pub fn tasks(&self) -> impl Iterator<Item = Task> + '_ {
        self.lanes.iter().flat_map(move |(lane, &log2_n)| {
            (0..1_u32 << log2_n).filter_map(move |index| {
                Some(Task {
                    event: self.event.clone(),
                    event_seq: self.event_seq,
                    lane: lane.clone(),
                    range: HashRange::new(index, log2_n)?,
                    revision: self.revision,
                    expires_at: self.expires_at,
                })
            })
        })
    }

    /// Number of tasks in all lanes.
    pub fn n_tasks(&self) -> u32 {
        self.lanes.values().map(|it| 1_u32 << it).sum()
    }
}

const SCHEMA: u32 = 1;

#[derive(Serialize, Deserialize)]
struct WirePlan {
    schema: u32,
    event: String,
    event_seq: u64,
    lanes: BTreeMap<String, u8>,
    revision: u64,
    expires_at: Timestamp,
    planned_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct WireTask {
    schema: u32,
    event: String,
    event_seq: u64,
    lane: String,
    index: u32,
    log2_n: u8,
    revision: u64,
    expires_at: Timestamp,
}

/// Why stored bytes are no plan or task.
#[derive(Debug, Error)]
pub enum DecodePlanError {
    /// Not the JSON shape.
    #[error("another shape")]
    Shape(#[source] serde_json::Error),
    /// Written by a later version.
    #[error("schema {0}, this version reads {SCHEMA}")]
    Schema(u32),
    /// The server was made to store it: an answer, or what a schedule had for a target.
    #[error("not published by one of us")]
    Forced,
    /// An id, lane or range is not valid.
    #[error("`{0}` is not valid")]
    Field(&'static str),
}

/// A later version's shape may be quite another one.
fn unread(bytes: &[u8], error: serde_json::Error) -> DecodePlanError {
    match schema::later_than(SCHEMA, bytes) {
        Some(later) => DecodePlanError::Schema(later),
        None => DecodePlanError::Shape(error),
    }
}

impl DecodePlanError {
    /// The schema, if a later version wrote it.
    pub fn later(&self) -> Option<u32> {
        match self {
            Self::Schema(schema) => (*schema > SCHEMA).then_some(*schema),
            Self::Shape(_) | Self::Forced | Self::Field(_) => None,
        }
    }
}

impl Plan {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let wire = WirePlan {
            schema: SCHEMA,
            event: self.event.to_string(),
            event_seq: self.event_seq,
            lanes: self
                .lanes
                .iter()
                .map(|(lane, n)| (lane.to_string(), *n))
                .collect(),
            revision: self.revision,
            expires_at: self.expires_at,
            planned_at: self.planned_at,
        };
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodePlanError> {
        let wire: WirePlan = serde_json::from_slice(bytes).map_err(|it| unread(bytes, it))?;
        if wire.schema != SCHEMA {
            return Err(DecodePlanError::Schema(wire.schema));
        }
        let lanes = wire
            .lanes
            .into_iter()
            .map(|(lane, log2_n)| Some((Lane::parse(&lane)?, (log2_n <= 9).then_some(log2_n)?)))
            .collect::<Option<_>>()
            .ok_or(DecodePlanError::Field("lanes"))?;
        Ok(Self {
            event: EventId::parse(&wire.event).ok_or(DecodePlanError::Field("event"))?,
            event_seq: wire.event_seq,
            lanes,
            revision: wire.revision,
            expires_at: wire.expires_at,
            planned_at: wire.planned_at,
        })
    }
}

impl Task {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let wire = WireTask {
            schema: SCHEMA,
            event: self.event.to_string(),
            event_seq: self.event_seq,
            lane: self.lane.to_string(),
            index: self.range.index,
            log2_n: self.range.log2_n,
            revision: self.revision,
            expires_at: self.expires_at,
        };
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodePlanError> {
        let wire: WireTask = serde_json::from_slice(bytes).map_err(|it| unread(bytes, it))?;
        if wire.schema != SCHEMA {
            return Err(DecodePlanError::Schema(wire.schema));
        }
        Ok(Self {
            event: EventId::parse(&wire.event).ok_or(DecodePlanError::Field("event"))?,
            event_seq: wire.event_seq,
            lane: Lane::parse(&wire.lane).ok_or(DecodePlanError::Field("lane"))?,
            range: HashRange::new(wire.index, wire.log2_n)
                .ok_or(DecodePlanError::Field("range"))?,
            revision: wire.revision,
            expires_at: wire.expires_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_device_is_in_exactly_one_task(hash: u64, log2_n in 0_u8..10) {
            let ranges = (0..1_u32 << log2_n).map(|it| HashRange::new(it, log2_n).unwrap());
            prop_assert_eq!(ranges.filter(|it| it.contains(DeviceHash(hash))).count(), 1);
        }

        #[test]
        fn all_lanes_together_stay_within_the_limit(devices in prop::collection::vec(0_u64..3_000_000, 1..12)) {
            let audience: BTreeMap<Lane, u64> = devices.iter().enumerate().map(|(it, n)| (lane(&format!("app{it}")), *n)).collect();
            let total: u32 = cut(&audience).values().map(|it| 1_u32 << it).sum();
            prop_assert!(total <= MAX_TASKS);
        }
    }

    fn lane(app: &str) -> Lane {
        Lane {
            app: AppName::parse(app).unwrap(),
            urgency: Urgency::Urgent,
        }
    }

    #[track_caller]
    fn check_cut(devices: u64, n_tasks: u32) {
        let lanes = cut(&BTreeMap::from([(lane("ios"), devices)]));
        assert_eq!(lanes.values().map(|it| 1_u32 << it).sum::<u32>(), n_tasks);
    }

    #[test]
    fn a_task_has_about_500_devices_and_a_million_has_512_tasks() {
        check_cut(0, 0);
        check_cut(1, 1);
        check_cut(500, 1);
        check_cut(501, 2);
        check_cut(5000, 16);
        check_cut(1_000_000, 512);
    }

    #[test]
    fn plans_and_tasks_are_read_back_as_written() {
        let plan = Plan {
            event: EventId::parse(&"a".repeat(32)).unwrap(),
            event_seq: 7,
            lanes: BTreeMap::from([(lane("ios"), 1), (lane("my-app"), 0)]),
            revision: 99,
            expires_at: Timestamp::UNIX_EPOCH,
            planned_at: Timestamp::UNIX_EPOCH,
        };
        assert_eq!(Plan::decode(&plan.encode()).unwrap(), plan);
        assert_eq!(plan.tasks().count(), 3);
        for task in plan.tasks() {
            assert_eq!(Task::decode(&task.encode()).unwrap(), task);
        }
    }
}
