//! `/livez` and `/readyz`.

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};

use crate::problem::{Kind, Problem};
use crate::router::Api;

/// That this process answers at all; never the broker, or its outage would restart every process.
pub(crate) async fn livez() -> Json<Value> {
    Json(json!({ "live": true }))
}

/// Whether every condition is met; both answers list each.
pub(crate) async fn readyz(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let conditions = api.readiness.conditions();
    let is_ready = conditions.iter().all(|(_, state)| state.is_ok());
    let listed: Map<String, Value> = conditions
        .into_iter()
        .map(|(name, state)| {
            let state = state.err().unwrap_or_else(|| "met".to_owned());
            (name.to_owned(), Value::from(state))
        })
        .collect();
    if is_ready {
        return Ok(Json(json!({ "ready": true, "conditions": listed })));
    }
    let problem = Problem::new(Kind::NotReady, "`conditions` says what is missing");
    Err(problem.with("ready", false).with("conditions", listed))
}
