//! Event → plan and tasks. The event is acknowledged last.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use fanfare_nats::batch::Committed;
use fanfare_nats::claim::Message;
use fanfare_nats::consumer::Claims;
use fanfare_nats::dead::{DeadLetter, DeadReason};
use fanfare_nats::plan::{Lane, Plan, cut};
use fanfare_nats::{Event, Level};

use crate::clock;
use crate::metric::{EXPIRED, INVALID, SUPERSEDED};
use crate::shared::Shared;

/// An event whose plan cannot be stored is handed back for so long.
const PAUSE: Duration = Duration::from_secs(2);
/// From so many devices on, counting them is work for another thread.
const MANY: usize = 20_000;

/// Takes events and plans them, one after another, until the process drains.
pub(crate) async fn run(shared: Arc<Shared>, claims: Claims) {
    while !shared.stop.is_cancelled() {
        match claims.next().await {
            Ok(Some(message)) if shared.stop.is_cancelled() => message.nak(None).await,
            Ok(Some(message)) => settle(&shared, &claims, message).await,
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "events cannot be taken, trying again"
                );
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

/// What a planned event's message gets.
enum Verdict {
    Ack,
    Back,
}

async fn settle(shared: &Shared, claims: &Claims, message: Message) {
    let event = match message.event(shared.broker.names()) {
        Ok(event) => event,
        Err(error) => return bury(shared, message, &error).await,
    };
    let planning = plan(shared, message.seq(), event);
    match message.extend_while(claims.ack_wait(), planning).await {
        Verdict::Ack => {
            if let Err(error) = message.ack().await {
                tracing::debug!(%error, "event comes again and finds its plan");
            }
        }
        Verdict::Back => message.nak(Some(PAUSE)).await,
    }
}

async fn plan(shared: &Shared, seq: u64, event: Event) -> Verdict {
    let id = event.id();
    if event.expires_at <= clock::now() {
        shared.metrics.skip(EXPIRED, 1);
        tracing::debug!(event.id = %id, "expired before it was planned");
        return Verdict::Ack;
    }
    match standing(shared, &event).await {
        Some(standing) if standing.is_superseded => {
            shared.metrics.skip(SUPERSEDED, 1);
            return Verdict::Ack;
        }
        Some(_) => {}
        None => return Verdict::Back,
    }
    let _at_work = shared.follower.at_work();
    let revision = shared.follower.barrier().await;
    let audience = audience(shared, &event).await;
    let plan = Plan {
        event: id.clone(),
        event_seq: seq,
        lanes: cut(&audience),
        revision,
        expires_at: event.expires_at,
        planned_at: clock::now(),
    };
    let n_devices: u64 = audience.values().sum();
    shared.events.keep(seq, event);
    match shared.broker.commit(&plan).await {
        Ok(Committed::Stored) => {
            shared.metrics.planned.inc();
            tracing::debug!(event.id = %id, devices = n_devices, tasks = plan.n_tasks(), "planned");
            Verdict::Ack
        }
        Ok(Committed::Found(found)) => {
            shared.metrics.plans_found.inc();
            tracing::debug!(event.id = %id, tasks = found.n_tasks(), "plan found");
            Verdict::Ack
        }
        Err(error) => {
            tracing::warn!(event.id = %id, error = &error as &dyn Error, "plan not stored, trying again");
            Verdict::Back
        }
    }
}

/// How an event's level stands to the others that are stored for its item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// A higher one stands: this one is not to be sent any more.
    pub(crate) is_superseded: bool,
    /// A lower one stands, which somebody may be sending.
    pub(crate) has_lower: bool,
}

/// Reads how an event stands, from the leader; `None` where that cannot be read now.
pub(crate) async fn standing(shared: &Shared, event: &Event) -> Option<Standing> {
    match &event.level {
        Level::First | Level::Fields(_) => return Some(Standing::default()),
        Level::Step(_) => {}
    }
    match shared
        .broker
        .stored_levels(&event.source, &event.screen())
        .await
    {
        Ok(levels) => Some(Standing {
            is_superseded: levels.iter().any(|it| it.is_higher_than(&event.level)),
            has_lower: levels.iter().any(|it| event.level.is_higher_than(it)),
        }),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn Error,
                "levels of an item cannot be read"
            );
            None
        }
    }
}

/// The audience per lane, as the index is now.
async fn audience(shared: &Shared, event: &Event) -> BTreeMap<Lane, u64> {
    let count = {
        let (index, event) = (shared.follower.shared(), event.clone());
        move || {
            let index = index.read().unwrap_or_else(PoisonError::into_inner);
            index.count(&index.interest(&event))
        }
    };
    let counts = if shared.follower.index().len() < MANY {
        count()
    } else {
        tokio::task::spawn_blocking(count).await.unwrap_or_default()
    };
    let urgency = event.urgency;
    counts
        .into_iter()
        .map(|(app, n)| (Lane { app, urgency }, n))
        .collect()
}

/// A message that is no event is kept with its bytes and taken out.
pub(crate) async fn bury(
    shared: &Shared,
    message: Message,
    error: &(dyn Error + Send + Sync + 'static),
) {
    use base64::Engine;

    shared.metrics.skip(INVALID, 1);
    tracing::error!(
        subject = message.subject(),
        error = error as &(dyn Error + 'static),
        "message cannot be read, kept as dead letter"
    );
    let names = shared.broker.names();
    let letter = DeadLetter {
        reason: DeadReason::Invalid,
        event: message
            .event_id(names)
            .map(|it| it.to_string())
            .unwrap_or_default(),
        event_seq: message.seq(),
        app: "-".to_owned(),
        device: String::new(),
        attempts: 0,
        error: format!("{error} ({})", message.subject()),
        at: clock::now(),
        payload: Some(base64::engine::general_purpose::STANDARD.encode(message.payload())),
    };
    match shared.broker.bury(&letter).await {
        Ok(()) => {
            shared.metrics.dead_letters.inc();
            if let Err(error) = message.terminate().await {
                tracing::debug!(%error, "unreadable message comes again");
            }
        }
        Err(_) => message.nak(Some(PAUSE)).await,
    }
}
