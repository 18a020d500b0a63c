//! Tables of the judgement: who was owed, what a receipt's word is worth, and why one device got
//! nothing.

mod audit;
mod matching;
mod tally;
mod unplanned;
mod why;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::audit::{Audit, Judged, What};
use super::census::{Census, Draft};
use super::task::is_take_over;
use crate::device::{AppName, Device, DeviceId, Subscription, Token};
use crate::event::{Content, Event, Guarantee, SourceName, Urgency};
use crate::feed::Change;
use crate::hash::DeviceHash;
use crate::level::Level;
use crate::plan::{Lane, Plan};
use crate::policy::Retry;
use crate::receipt::{Claim, Later, Line, Mark, Receipt};
use crate::topic::{Pattern, Topic};

/// The revision of the plan in every case.
const PLANNED: u64 = 100;
const WINDOW: u64 = 256;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn event(topics: &[&str], data: Value) -> Event {
    Event {
        source: SourceName::parse("usgs").unwrap(),
        item: "us1".into(),
        level: Level::Step(4.5),
        topics: topics
            .iter()
            .map(|it| Topic::parse_stored(it).unwrap())
            .collect(),
        kind: "test".into(),
        occurred_at: None,
        expires_at: at(3600),
        urgency: Urgency::Urgent,
        guarantee: Guarantee::AtLeastOnce,
        retry: Retry::DEFAULT,
        digest: None,
        traceparent: None,
        content: Content {
            data: data.as_object().unwrap().clone(),
            ..Content::default()
        },
    }
}

fn subscription(pattern: &str, filters: Value) -> Subscription {
    Subscription {
        pattern: Pattern::parse_stored(pattern).unwrap(),
        filters: serde_json::from_value(filters).unwrap(),
    }
}

fn device(token: &str, patterns: &[&str]) -> Device {
    Device {
        app: AppName::parse("ios").unwrap(),
        token: Token::parse(token).unwrap(),
        user: Some("ada".into()),
        locale: None,
        time_zone: None,
        subscriptions: patterns
            .iter()
            .map(|it| subscription(it, json!([])))
            .collect(),
        registered_at: at(0),
        last_seen: None,
        holding: crate::device::Holding::default(),
        pending: None,
        secret: None,
    }
}

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

fn lane() -> Lane {
    Lane::parse("ios-urgent").unwrap()
}

fn plan() -> Plan {
    Plan {
        event: event(&["all"], json!({})).id(),
        event_seq: 1,
        lanes: BTreeMap::from([(lane(), 0)]),
        revision: PLANNED,
        expires_at: at(3600),
        planned_at: at(1),
    }
}

/// Devices `a` to `e` follow `all`, with their revisions; `x` does not.
fn census(revisions: &[(&str, u64)]) -> Census {
    let mut draft = Draft::default();
    for (name, revision) in revisions {
        let patterns: &[&str] = if *name == "x" { &["other"] } else { &["all"] };
        let device = device(&format!("token-{name}"), patterns);
        draft.note(&Change::Put(id(name), Box::new(device)), *revision);
    }
    draft.sealed()
}

fn usual() -> Census {
    census(&[("a", 1), ("b", 2), ("c", 3), ("x", 4)])
}

fn claim(pass: u32, delivered: u64) -> Claim {
    Claim {
        epoch: 1,
        pass,
        message: 0,
        delivered,
        nonce: u64::from(pass) * 100 + delivered,
    }
}

fn line(name: &str, mark: Mark, reason: Option<&str>) -> Line {
    Line {
        device: id(name).hash(),
        mark,
        attempt: 1,
        reason: reason.map(str::to_owned),
        at: at(2),
    }
}

fn begun() -> Receipt {
    Receipt::first(claim(1, 1), "n1", at(1))
}

/// The last receipt of a task, with these lines.
fn ended(lines: Vec<Line>) -> Receipt {
    Receipt {
        low: None,
        lines,
        ..begun()
    }
}

fn judge(census: &Census, receipts: Vec<Receipt>) -> Judged {
    judge_with(census, receipts, &[Level::Step(4.5)])
}

fn judge_with(census: &Census, receipts: Vec<Receipt>, levels: &[Level]) -> Judged {
    let (event, plan) = (event(&["all"], json!({})), plan());
    let mut audit = Audit::new(census, &event, &plan, WINDOW);
    for receipt in receipts {
        audit.receipt(&lane(), 0, receipt);
    }
    let judged = audit.finish(&event.level, levels, at(10));
    assert_eq!(judged.sums.owed, judged.sums.accounted(), "{judged:?}");
    judged
}

fn accepted(names: &[&str]) -> Vec<Line> {
    names
        .iter()
        .map(|it| line(it, Mark::Accepted, None))
        .collect()
}

fn found(judged: &Judged) -> Vec<(What, &str)> {
    let findings = judged.findings.iter();
    findings.map(|it| (it.what, it.device.as_str())).collect()
}
