//! What a notifier tells operators who ask the process itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use fanfare_nats::Lane;
use fanfare_nats::service::Service;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::membership::ROLE;
use crate::role::{RunError, lanes};
use crate::shared::Shared;

/// The role as operators find it.
///
/// # Errors
/// [`RunError::Name`].
pub(crate) fn service(shared: &Arc<Shared>) -> Result<Service, RunError> {
    let lanes: Vec<String> = (lanes(&shared.config)?.iter().map(Lane::to_string)).collect();
    let shared = shared.clone();
    Ok(Service {
        role: ROLE,
        description: "turns events into pushes",
        metadata: BTreeMap::from([("lanes".to_owned(), lanes.join(","))]),
        figures: Arc::new(move || figures(&shared)),
    })
}

/// How the process stands now, and what it counted since its start.
fn figures(shared: &Shared) -> Value {
    let (metrics, now) = (&shared.metrics, Instant::now());
    let apps = shared.apps.iter().map(|(name, app)| {
        let look = app.pressure.look(now);
        let told = json!({
            "attempts": metrics.attempts.figures(name.as_str()),
            "breaker_open": !look.is_closed,
            "breaker_opened": look.n_opened,
            "requests_per_second": look.allowed.is_finite().then_some(look.allowed),
        });
        (name.to_string(), told)
    });
    json!({
        "in_flight": shared.window.in_flight(),
        "credit_used": shared.window.taken(),
        "credit": shared.config.window,
        "devices": shared.follower.index().len(),
        "index_age_seconds": shared.follower.age().map(|it| it.as_secs_f64()),
        "events_planned": metrics.planned.get(),
        "plans_found": metrics.plans_found.get(),
        "tasks": metrics.tasks.get(),
        "tasks_handed_back": metrics.handed_back.get(),
        "receipts": metrics.receipts.get(),
        "dead_letters": metrics.dead_letters.get(),
        "tokens_removed": metrics.retired.get(),
        "notifiers": metrics.lanes.members.get(),
        "apps": apps.collect::<Map<_, _>>(),
        "last_error": metrics.last_error.told(),
    })
}
