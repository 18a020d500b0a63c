//! The values that the protocols are given, and the one clock.

use std::collections::BTreeMap;

use fanfare_nats::event::{Content, Event, Guarantee, SourceName, Urgency};
use fanfare_nats::policy::Retry;
use fanfare_nats::receipt::{Claim, Receipt};
use fanfare_nats::subject::Subject;
use fanfare_nats::{AppName, DeviceHash, Lane, Level, Plan, Task, Topic};
use jiff::Timestamp;

#[expect(clippy::disallowed_methods, reason = "the suite's one clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

pub(crate) fn event(item: &str) -> Event {
    Event {
        source: SourceName::parse("usgs").unwrap(),
        item: item.to_owned(),
        level: Level::First,
        topics: vec![Topic::parse("quakes.us").unwrap()],
        kind: "org.example.quake".to_owned(),
        occurred_at: None,
        expires_at: Timestamp::from_second(4_000_000_000).unwrap(),
        urgency: Urgency::Urgent,
        guarantee: Guarantee::AtLeastOnce,
        retry: Retry::DEFAULT,
        digest: None,
        traceparent: None,
        content: Content {
            title: item.to_owned(),
            ..Content::default()
        },
    }
}

/// The subject that an event is.
pub(crate) fn event_subject(event: &Event) -> Subject {
    Subject::Event {
        source: event.source.clone(),
        screen: event.screen(),
        level: event.level.clone(),
    }
}

pub(crate) fn lane(app: &str) -> Lane {
    Lane {
        app: AppName::parse(app).unwrap(),
        urgency: Urgency::Urgent,
    }
}

/// A plan of 2^`log2_n` tasks; two planners of an event have different revisions.
pub(crate) fn plan(item: &str, app: &str, log2_n: u8, revision: u64) -> Plan {
    Plan {
        event: event(item).id(),
        event_seq: 7,
        lanes: BTreeMap::from([(lane(app), log2_n)]),
        revision,
        expires_at: Timestamp::from_second(4_000_000_000).unwrap(),
        planned_at: Timestamp::UNIX_EPOCH,
    }
}

/// The only task of an event.
pub(crate) fn task(item: &str, app: &str) -> Task {
    plan(item, app, 0, 1).tasks().next().unwrap()
}

pub(crate) fn task_subject(task: &Task, pass: u32) -> Subject {
    Subject::Task {
        lane: task.lane.clone(),
        event: task.event.clone(),
        n: task.range.index(),
        pass,
    }
}

/// A receipt with a content of its own: the `step`-th of this claim.
pub(crate) fn receipt(claim: Claim, step: u64) -> Receipt {
    let at = Timestamp::from_millisecond(now().as_millisecond()).unwrap();
    Receipt {
        low: Some(DeviceHash(step)),
        ..Receipt::first(claim, "elections", at)
    }
}

/// Chance that begins at a seed (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}
