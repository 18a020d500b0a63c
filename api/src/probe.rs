//! `/livez` and `/readyz`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::problem::{Kind, Problem};
use crate::router::Api;

/// The process answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Live {
    live: bool,
}

/// Every condition of readiness.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ready {
    ready: bool,
    /// Each `met`, or what is missing.
    conditions: BTreeMap<String, String>,
}

/// That this process answers at all; never the broker, or its outage would restart every process.
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "livez",
    description = "It asks nobody.",
    tag = "probes",
    responses((status = 200, description = "It does", body = Live)),
)]
pub(crate) async fn livez() -> Json<Live> {
    Json(Live { live: true })
}

/// Whether every condition is met; both answers list each.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "readyz",
    description = "Both answers list each condition.",
    tag = "probes",
    responses((status = 200, description = "All are met", body = Ready)),
)]
pub(crate) async fn readyz(State(api): State<Api>) -> Result<Json<Ready>, Problem> {
    let conditions = api.readiness.conditions();
    let is_ready = conditions.iter().all(|(_, state)| state.is_ok());
    let listed = conditions.into_iter().map(|(name, state)| {
        let state = state.err().unwrap_or_else(|| "met".to_owned());
        (name.to_owned(), state)
    });
    let conditions: BTreeMap<String, String> = listed.collect();
    if is_ready {
        return Ok(Json(Ready {
            ready: true,
            conditions,
        }));
    }
    let listed: serde_json::Map<String, Value> = conditions
        .into_iter()
        .map(|(name, state)| (name, Value::from(state)))
        .collect();
    let problem = Problem::new(Kind::NotReady, "`conditions` says what is missing");
    Err(problem.with("ready", false).with("conditions", listed))
}
