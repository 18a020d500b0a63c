//! Streams, buckets and durables as data, with an idempotent `ensure`, and a `verify` that names
//! each difference that would break the promise.

mod apply;
mod backup;
mod compare;
mod count;
mod definition;
mod ensure;

use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy};
use async_nats::jetstream::kv;
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};
use thiserror::Error;

pub use self::apply::{Step, steps};
pub use self::backup::BackupError;
pub use self::compare::{Difference, Remedy, Weight};
pub use self::definition::{Definition, Kind};

use self::compare::LeastAge;
use crate::bucket::MARKER_TTL;
use crate::event::MAX_EXPIRES_IN;
use crate::permissions::{Permissions, Role, Scope};
use crate::plan::Lane;
use crate::subject::Names;

/// The durable that all notifiers take events from.
pub const EVENTS_CONSUMER: &str = "notifier";
/// The durable that tells notifiers of events before their turn comes.
pub const AHEAD_CONSUMER: &str = "notifier-ahead";
/// Consumer metadata: raised at every re-creation, compared first in claims.
pub const LANE_EPOCH: &str = "fanfare.lane_epoch";

const DAY: Duration = Duration::from_hours(24);
const GIB: i64 = 1 << 30;
/// What EVENTS must remember beyond `fresh_for`: an item may lie a day ahead, and a fetcher may come
/// back a day late.
const EVENTS_SLACK: Duration = Duration::from_hours(48);
/// What TASKS must keep beyond the longest life of an event, for an operator's reaction.
const TASKS_SLACK: Duration = Duration::from_hours(12);

/// Everything that is stored, as data.
#[derive(Clone, Debug)]
pub struct Topology {
    /// 1 or 3.
    pub replicas: usize,
    /// The lanes whose durables must exist.
    pub lanes: Vec<Lane>,
    /// How long a message may stay with a worker that says nothing.
    pub ack_wait: Duration,
    /// How long events are remembered; at least the longest `fresh_for` plus slack.
    pub events_max_age: Duration,
    /// The longest `fresh_for` of all sources.
    pub fresh_for: Duration,
    /// The lane epoch of durables that are made now. It must be larger than that of any durable of
    /// the same name before; seconds since 1970 are.
    pub epoch: u64,
    /// How long deletions of devices are remembered.
    pub marker_ttl: Duration,
    /// Who looks: `verify` asks only about what this role may ask about. `None` asks about all.
    pub seen_by: Option<Role>,
}

impl Topology {
    /// The shipped values: `ack_wait` 15 s on one server, 30 s on three, where a fail-over may use
    /// up to 11 s of it.
    pub fn new(replicas: usize, lanes: Vec<Lane>) -> Self {
        Self {
            replicas,
            lanes,
            ack_wait: Duration::from_secs(if replicas > 1 { 30 } else { 15 }),
            events_max_age: 7 * DAY,
            fresh_for: DAY,
            epoch: 1,
            marker_ttl: MARKER_TTL,
            seen_by: None,
        }
    }

    /// The same for sources whose items count for so long: events are remembered as long as that
    /// needs.
    #[must_use]
    pub fn remembering(mut self, fresh_for: Duration) -> Self {
        self.fresh_for = fresh_for;
        self.events_max_age = self.events_max_age.max(fresh_for + EVENTS_SLACK);
        self
    }

    /// The same, as far as a role may look at it.
    #[must_use]
    pub fn seen_by(mut self, role: Role) -> Self {
        self.seen_by = Some(role);
        self
    }

    /// Whether whoever looks may ask this; a denied question would look like a missing stream.
    fn may_ask(&self, names: &Names, question: &str) -> bool {
        self.seen_by.is_none_or(|role| {
            let scope = Scope::any(names.clone());
            let question = format!("{}.{question}", scope.api);
            Permissions::of(role, &scope).may_publish(&question)
        })
    }

    /// The shortest age a stream may have.
    fn least_age(&self, names: &Names, stream: &str) -> LeastAge {
        if stream == names.events() {
            return LeastAge {
                age: self.fresh_for + EVENTS_SLACK,
                why: "decisions would be forgotten and events sent again",
            };
        }
        if stream == names.dead() {
            return LeastAge {
                age: DAY,
                why: "dead letters would vanish before anybody reads them",
            };
        }
        if stream == names.audit() {
            return LeastAge {
                age: DAY,
                why: "it would be forgotten who changed what before anybody asks",
            };
        }
        LeastAge {
            age: MAX_EXPIRES_IN + TASKS_SLACK,
            why: "plans, tasks and receipts of events that are still sent would be forgotten",
        }
    }

    pub(crate) fn streams(&self, names: &Names) -> Vec<stream::Config> {
        let common = stream::Config {
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            num_replicas: self.replicas,
            duplicate_window: Duration::from_mins(2).min(self.events_max_age),
            ..stream::Config::default()
        };
        vec![
            stream::Config {
                name: names.events(),
                subjects: vec![names.all("event")],
                discard: DiscardPolicy::New,
                max_age: self.events_max_age,
                max_bytes: GIB,
                max_message_size: 64 * 1024,
                allow_message_ttl: true,
                allow_direct: true,
                deny_delete: true,
                deny_purge: true,
                ..common.clone()
            },
            stream::Config {
                name: names.tasks(),
                subjects: vec![names.all("plan"), names.all("task"), names.all("later")],
                discard: DiscardPolicy::Old, // Schedules do not go with discard new (10052).
                max_age: 2 * DAY,
                allow_atomic_publish: true,
                allow_message_schedules: true,
                allow_message_ttl: true,
                allow_direct: true,
                allow_rollup: true,
                ..common.clone()
            },
            stream::Config {
                name: names.receipts(),
                subjects: vec![names.all("receipt")],
                discard: DiscardPolicy::New,
                max_age: 7 * DAY,
                max_bytes: 2 * GIB,
                allow_direct: false, // A direct get may be stale; here it fails instead.
                deny_delete: true,
                deny_purge: true,
                ..common.clone()
            },
            stream::Config {
                name: names.dead(),
                subjects: Self::dead_subjects(names),
                discard: DiscardPolicy::New,
                max_age: 30 * DAY,
                max_bytes: GIB / 4,
                allow_direct: true,
                ..common.clone()
            },
            Self::audit(names, common),
        ]
    }

    fn audit(names: &Names, common: stream::Config) -> stream::Config {
        stream::Config {
            name: names.audit(),
            subjects: vec![names.all("audit")],
            // A change waits for its record: a full stream that refused would stop every change.
            discard: DiscardPolicy::Old,
            max_age: 90 * DAY,
            max_bytes: GIB,
            deny_delete: true,
            deny_purge: true,
            ..common
        }
    }

    fn dead_subjects(names: &Names) -> Vec<String> {
        let advisory =
            |stream: String| format!("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{stream}.*");
        vec![
            names.all("dead"),
            advisory(names.events()),
            advisory(names.tasks()),
        ]
    }

    fn buckets(&self, names: &Names) -> Vec<kv::Config> {
        let bucket = |bucket: String, limit_markers: Duration| kv::Config {
            bucket,
            history: 1,
            storage: StorageType::File,
            num_replicas: self.replicas,
            limit_markers: Some(limit_markers),
            ..kv::Config::default()
        };
        vec![
            bucket(names.devices_bucket(), self.marker_ttl),
            bucket(names.control_bucket(), Duration::from_hours(1)),
            bucket(names.keys_bucket(), Duration::from_hours(1)),
        ]
    }

    /// The durables: stream and configuration.
    fn consumers(&self, names: &Names) -> Vec<(String, consumer::pull::Config)> {
        let durable = |name: String, filter_subject: String| consumer::pull::Config {
            durable_name: Some(name),
            filter_subject,
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.ack_wait,
            max_deliver: -1,
            ..consumer::pull::Config::default()
        };
        let events = consumer::pull::Config {
            max_ack_pending: 64,
            max_waiting: 512,
            ..durable(EVENTS_CONSUMER.to_owned(), names.all("event"))
        };
        // It only tells, and what it has told of is planned in its turn as well: nothing of it has to
        // be settled, and what is old already has had its turn.
        let ahead = consumer::pull::Config {
            durable_name: Some(AHEAD_CONSUMER.to_owned()),
            filter_subject: names.all("event"),
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::None,
            max_deliver: -1,
            headers_only: true,
            max_waiting: 512,
            ..consumer::pull::Config::default()
        };
        let mut consumers = vec![(names.events(), events), (names.events(), ahead)];
        consumers.extend(self.lanes.iter().map(|lane| {
            let config = consumer::pull::Config {
                max_ack_pending: 1000,
                max_waiting: 2048,
                metadata: [(LANE_EPOCH.to_owned(), self.epoch.to_string())].into(),
                ..durable(Names::send_consumer(lane), names.lane_tasks(lane))
            };
            (names.tasks(), config)
        }));
        consumers
    }
}

/// Why the topology could not be brought about or looked at.
#[derive(Debug, Error)]
pub enum TopologyError {
    /// A stream or bucket.
    #[error("stream or bucket {name} could not be created: {text}")]
    Create {
        /// Which.
        name: String,
        /// The broker's words.
        text: String,
    },
    /// A consumer.
    #[error("consumer {name} could not be created: {text}")]
    Consumer {
        /// Which.
        name: String,
        /// The broker's words.
        text: String,
    },
    /// Something exists that would break the promise.
    #[error("the broker's streams would break the promise:{}", list(.0))]
    Differences(Vec<Difference>),
}

fn list(differences: &[Difference]) -> String {
    differences.iter().fold(String::new(), |mut text, it| {
        text.push_str("\n  ");
        text.push_str(&it.to_string());
        text
    })
}
