//! Registrations expire: who was not registered again for long is warned of, and removed later.
//!
//! There is no process for it. Every API tries to take the turn now and then, and whoever gets it walks
//! the documents one by one and keeps none of them. Two at once would do no harm: a warning is stored
//! once by its identity, a removal is guarded by the revision that was judged.

mod rule;

use std::time::Duration;

use fanfare_nats::bucket::{Expect, WriteDeviceError};
use fanfare_nats::control::ControlError;
use fanfare_nats::event::{Content, Guarantee, SourceName};
use fanfare_nats::feed::FeedError;
use fanfare_nats::policy::Retry;
use fanfare_nats::publish::{PublishEventError, Published};
use fanfare_nats::registration::Registration;
use fanfare_nats::tenant::written_text;
use fanfare_nats::{Broker, Event, Level, Topic, Urgency, fail};
use jiff::{SignedDuration, Timestamp};
use rand::Rng;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub(crate) use self::rule::Rule;
use self::rule::Verdict;
use crate::clock;
use crate::metric::Metrics;

/// The `CloudEvents` type of a warning.
const KIND: &str = "fanfare.registration.expiring";
/// The longest pause between two tries to take the turn.
const TRY_EVERY: Duration = Duration::from_mins(10);

/// Why a sweep was not finished; the next one begins anew.
#[derive(Debug, Error)]
enum SweepError {
    #[error("the control records did not answer")]
    Control(#[from] ControlError),
    #[error("the devices could not be read")]
    Read(#[from] FeedError),
    #[error("a warning could not be stored")]
    Publish(#[from] PublishEventError),
    #[error("a registration could not be removed")]
    Remove(#[source] WriteDeviceError),
}

/// Takes its turns until `stop`; without a rule nothing expires.
///
/// Dropping the future ends a sweep where it is; the next one begins anew.
pub(crate) fn keep(
    rule: Option<Rule>,
    broker: Broker,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> impl Future<Output = ()> + use<> {
    turns(rule, broker, metrics.clone(), stop.clone())
}

async fn turns(rule: Option<Rule>, broker: Broker, metrics: Metrics, stop: CancellationToken) {
    let Some(rule) = rule else {
        return;
    };
    let period = rule.period();
    loop {
        let pause = (period / 4).min(TRY_EVERY);
        let pause = pause.mul_f64(rand::rng().random_range(0.5..1.0));
        if stop.run_until_cancelled(sleep(pause)).await.is_none() {
            return;
        }
        if !broker.is_connected() {
            continue;
        }
        let turn = async {
            if broker.take_sweep(period).await? {
                sweep(&rule, &broker, &metrics, clock::now()).await?;
            }
            Ok::<(), SweepError>(())
        };
        if let Some(Err(error)) = stop.run_until_cancelled(turn).await {
            let error: &dyn std::error::Error = &error;
            tracing::info!(error, "registrations were not looked through to the end");
        }
    }
}

/// Looks at every document that was written before `now`.
async fn sweep(
    rule: &Rule,
    broker: &Broker,
    metrics: &Metrics,
    now: Timestamp,
) -> Result<(), SweepError> {
    let since = broker.sweeping_since(rule.after(), now).await?;
    let (mut next, mut n_seen, mut n_warned, mut n_removed) = (1, 0_u64, 0_u64, 0_u64);
    while let Some(found) = broker.registration_from(next).await? {
        if now < found.written_at {
            break; // This one and those behind it were just written.
        }
        next = found.revision + 1;
        n_seen += 1;
        match rule.judge(&found, since, now) {
            Verdict::Stands => {}
            Verdict::Warn(expires_at) => {
                let event = warning(&found, expires_at, now);
                if matches!(broker.publish(&event, false).await?, Published::Stored(_)) {
                    fail::point("sweep.warned");
                    metrics.registration_warned();
                    n_warned += 1;
                }
            }
            Verdict::Over => {
                let expect = Expect::Revision(found.revision);
                match broker.delete_device(&found.id, expect).await {
                    Ok(_) => {
                        fail::point("sweep.removed");
                        metrics.registration_removed();
                        n_removed += 1;
                    }
                    // It was registered again this moment.
                    Err(WriteDeviceError::Conflict) => {}
                    Err(error) => return Err(SweepError::Remove(error)),
                }
            }
        }
    }
    tracing::info!(
        n_seen,
        n_warned,
        n_removed,
        "registrations were looked through"
    );
    Ok(())
}

/// What backends are told. It is one event, however often it is made.
fn warning(found: &Registration, expires_at: Timestamp, now: Timestamp) -> Event {
    let (tenant, device) = (found.id.tenant(), &found.device);
    let name = format!(
        "registration-{}-{}",
        found.id.written(),
        expires_at.as_second()
    );
    let data = json!({
        "device": found.id.written(),
        "app": device.app.as_str(),
        "user": device.user.as_deref().map(written_text),
        "last_seen": device.last_seen,
        "expires_at": expires_at,
    });
    let data = match data {
        Value::Object(data) => data,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            serde_json::Map::new()
        }
    };
    Event {
        source: SourceName::api(),
        item: tenant.text(&name),
        level: Level::First,
        topics: vec![Topic::of_expiring(&tenant)],
        kind: KIND.to_owned(),
        occurred_at: None,
        expires_at: now + SignedDuration::from_hours(24),
        urgency: Urgency::Bulk,
        guarantee: Guarantee::AtLeastOnce,
        retry: Retry::DEFAULT,
        digest: None,
        traceparent: None,
        content: Content {
            title: "A registration expires".to_owned(),
            data,
            ..Content::default()
        },
    }
}
