//! Event → plan and tasks. The event is acknowledged last.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use fanfare_nats::batch::{Committed, Way};
use fanfare_nats::claim::Message;
use fanfare_nats::consumer::Claims;
use fanfare_nats::dead::DeadLetter;
use fanfare_nats::plan::{Lane, Plan};
use fanfare_nats::{Event, Level, fail};

use crate::clock;
use crate::machine::{
    PlanEffect, PlanInput, PlanMachine, PlanStart, Planned, Rules, Settle, Standing,
};
use crate::metric::{EXPIRED, INVALID, SUPERSEDED};
use crate::shared::Shared;
use crate::trouble::tell;

/// How long a stop waits for a plan that is being made.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// An event whose plan cannot be stored is handed back for so long.
const PAUSE: Duration = Duration::from_secs(2);
/// What only a later version can work on is handed back for so long; a notifier that can gets its
/// turn meanwhile.
const LATER: Duration = Duration::from_secs(2);
/// From so many devices on, counting them is work for another thread.
const MANY: usize = 20_000;

/// Takes events and plans them, one after another, until the process drains.
pub(crate) async fn run(shared: Arc<Shared>, claims: Claims) {
    while !shared.stop.is_cancelled() {
        if shared.follower.is_outdated() {
            tokio::time::sleep(Duration::from_millis(500)).await;
            continue;
        }
        match claims.next().await {
            Ok(Some(message)) if shared.stop.is_cancelled() => message.nak(None).await,
            Ok(Some(message)) => settle(&shared, &claims, message).await,
            Ok(None) => shared.turns.none(),
            Err(error) => {
                shared.turns.unknown();
                tell(&shared, "events cannot be taken", &"events", &error);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
    claims.hand_back().await;
}

async fn stop_grace_over(shared: &Shared) {
    shared.stop.cancelled().await;
    tokio::time::sleep(STOP_GRACE).await;
}

async fn settle(shared: &Shared, claims: &Claims, message: Message) {
    let event = match message.event(shared.broker.names()) {
        Ok(event) => event,
        Err(error) => match error.later() {
            Some(schema) => return leave(shared, message, schema).await,
            None => return bury(shared, message, &error).await,
        },
    };
    let (seq, n_behind) = (message.seq(), message.n_behind());
    let _turn = shared.turns.begin(seq, event.urgency, n_behind);
    fail::point("plan.taken");
    // A barrier needs a quorum and a plan may be tried for long: on a stop the event goes back. A
    // plan that is stored nevertheless is found by whoever takes it next.
    let planning = async {
        tokio::select! {
            (settle, skipped) = plan(shared, seq, event) => {
                if let Some(reason) = skipped {
                    shared.metrics.skip(reason, 1);
                }
                settle
            }
            () = stop_grace_over(shared) => Settle::Back(None),
        }
    };
    match message.extend_while(claims.ack_wait(), planning).await {
        Settle::Ack => {
            if let Err(error) = message.ack().await {
                tracing::debug!(%error, "event comes again and finds its plan");
            }
            fail::point("plan.acked");
        }
        Settle::Back(delay) => message.nak(delay).await,
        Settle::Terminate | Settle::Forget | Settle::Refused | Settle::StepAside => {
            message.forget();
        }
    }
}

/// Carries out what the event's machine asks for; with the reason if nobody is told.
pub(crate) async fn plan(
    shared: &Shared,
    seq: u64,
    event: Event,
) -> (Settle, Option<&'static str>) {
    let mut machine = PlanMachine::new(PlanStart {
        event: event.id(),
        event_seq: seq,
        expires_at: event.expires_at,
        has_levels: matches!(event.level, Level::Step(_)),
        singles_up_to: shared.broker.singles_up_to(),
        rules: Rules::default(),
    });
    let mut skipped = (event.expires_at <= clock::now()).then_some(EXPIRED);
    let event = shared.events.keep(seq, event);
    loop {
        let input = match machine.poll(clock::now()) {
            // Each effect is answered, so it always asks for more.
            None => return (Settle::Forget, skipped),
            Some(PlanEffect::Settle(settle)) => return (settle, skipped),
            Some(PlanEffect::Look) => {
                let standing = standing(shared, &event.event).await;
                if standing.is_some_and(|it| it.is_superseded) {
                    skipped = Some(SUPERSEDED);
                }
                PlanInput::Looked(standing)
            }
            Some(PlanEffect::Count) => {
                let _at_work = shared.follower.at_work();
                let revision = shared.follower.barrier().await;
                let audience = audience(shared, &event.event).await;
                if shared.follower.is_outdated() {
                    // Devices are missing from what was counted.
                    return (Settle::Back(Some(LATER)), skipped);
                }
                fail::point("plan.counted");
                PlanInput::Counted(audience, revision)
            }
            Some(PlanEffect::StorePlan(plan, way)) => {
                let planned = store(shared, &plan, way).await;
                if way == Way::Together && planned == Planned::Ours {
                    fail::point("plan.stored");
                }
                PlanInput::Planned(planned)
            }
            Some(PlanEffect::StoreTasks(plan)) => {
                let stored = shared.broker.store_tasks(&plan).await;
                if let Err(error) = &stored {
                    tell(shared, "tasks not stored", &plan.event, error);
                }
                fail::point("plan.stored");
                PlanInput::TasksStored(stored.is_ok())
            }
        };
        machine.on(input, clock::now());
    }
}

async fn store(shared: &Shared, plan: &Plan, way: Way) -> Planned {
    let id = &plan.event;
    match shared.broker.store_plan(plan, way).await {
        Ok(Committed::Stored) => {
            shared.metrics.planned.inc();
            tracing::debug!(event.id = %id, tasks = plan.n_tasks(), "planned");
            Planned::Ours
        }
        Ok(Committed::Found(found)) => {
            shared.metrics.plans_found.inc();
            tracing::debug!(event.id = %id, tasks = found.n_tasks(), "plan found");
            Planned::Found(found)
        }
        Err(error) => {
            tell(shared, "plan not stored", id, &error);
            Planned::Unknown
        }
    }
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
            tell(
                shared,
                "levels of an item cannot be read",
                &event.id(),
                &error,
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

/// A message of a later version is left for a later notifier, which takes it as soon as it comes
/// again. While versions run side by side this one goes on with what it can read.
pub(crate) async fn leave(shared: &Shared, message: Message, schema: u32) {
    let what = "a later version wrote this message: left for a later notifier";
    shared
        .metrics
        .last_error
        .say(&format!("{}: {what}", message.subject()));
    if shared.broker.is_news(what) {
        tracing::error!(subject = message.subject(), schema, "{what}");
    } else {
        tracing::debug!(subject = message.subject(), schema, "{what}");
    }
    message.nak(Some(LATER)).await;
}

/// A message that is no event is kept with its bytes and taken out.
pub(crate) async fn bury(
    shared: &Shared,
    message: Message,
    error: &(dyn Error + Send + Sync + 'static),
) {
    shared.metrics.skip(INVALID, 1);
    tracing::error!(
        subject = message.subject(),
        error = error as &(dyn Error + 'static),
        "message cannot be read, kept as dead letter"
    );
    let names = shared.broker.names();
    let letter = DeadLetter::unreadable(&message, error, names, clock::now());
    let letter = letter.by(shared.broker.node(), None);
    match shared.broker.bury(&letter).await {
        Ok(()) => {
            fail::point("dead.stored");
            shared.metrics.dead_letters.inc();
            if let Err(error) = message.terminate().await {
                tracing::debug!(%error, "unreadable message comes again");
            }
        }
        Err(_) => message.nak(Some(PAUSE)).await,
    }
}
