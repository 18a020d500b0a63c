//! `PUT` and `DELETE /v1/sources/{source}/pause`: an operator's pause, which every fetcher follows.

use axum::extract::State;
use axum::response::Response;
use fanfare_nats::event::SourceName;
use fanfare_nats::pause::PauseError;

use super::{Shown, answer, no_such_source};
use crate::body::{Json, SourcePath};
use crate::call::{bounded, refused, unavailable};
use crate::clock;
use crate::operate::pause;
use crate::problem::{Kind, Problem};
use crate::router::Api;

/// Stops the reading of a source, in every fetcher.
///
/// Dropping the future leaves it unknown whether the source is paused; the same again settles it.
#[utoipa::path(
    put,
    path = "/v1/sources/{source}/pause",
    operation_id = "pauseSource",
    description = "Fetchers follow within about a second: they finish what is in hand, close sockets and poll no more. Cursors stay, so that afterwards everything comes that the publisher still shows, as far as it is fresh. A source that is paused gets the new end.",
    tag = "operating",
    params(("source" = String, Path, description = "Its configured name")),
    request_body(content = pause::Document),
    responses((status = 200, description = "It is paused", body = Shown)),
)]
pub(crate) async fn put(
    State(api): State<Api>,
    SourcePath(name): SourcePath,
    Json(body): Json,
) -> Result<Response, Problem> {
    let now = clock::now();
    let until = pause::read(body, now).map_err(Problem::fields)?;
    let broker = api.operating.broker()?;
    known(&api, &name).await?;
    let paused = async {
        let paused = broker.pause_source(&name, until, now).await;
        paused.map_err(|error| told(&error))
    };
    bounded(broker, paused, unknown).await?;
    answer(&api, name.as_str()).await
}

/// Ends a pause.
///
/// Dropping the future leaves it unknown whether the source is paused; the same again settles it.
#[utoipa::path(
    delete,
    path = "/v1/sources/{source}/pause",
    operation_id = "resumeSource",
    description = "Fetchers follow within about a second, and catch up. A source that is not paused stays as it is.",
    tag = "operating",
    params(("source" = String, Path, description = "Its configured name")),
    responses((status = 200, description = "It is not paused", body = Shown)),
)]
pub(crate) async fn remove(
    State(api): State<Api>,
    SourcePath(name): SourcePath,
) -> Result<Response, Problem> {
    let broker = api.operating.broker()?;
    known(&api, &name).await?;
    let resumed = async {
        let resumed = broker.resume_source(&name).await;
        resumed.map_err(|error| told(&error))
    };
    bounded(broker, resumed, unknown).await?;
    answer(&api, name.as_str()).await
}

/// A name that nobody reads is a mistyped one, and its pause would stop nothing.
async fn known(api: &Api, name: &SourceName) -> Result<(), Problem> {
    let read = async {
        let sources = api.broker.sources(clock::now()).await;
        sources.map_err(|error| unavailable(&error))
    };
    let sources = bounded(&api.broker, read, unknown).await?;
    let is_known = sources.iter().any(|it| it.source == name.as_str());
    is_known.then_some(()).ok_or_else(no_such_source)
}

fn told(error: &PauseError) -> Problem {
    match error {
        // The reader of the body lets only moments through that are to come.
        PauseError::Over => Problem::new(Kind::Internal, "the pause was over before it began"),
        PauseError::Refused(_) => refused(error),
        PauseError::Unknown | PauseError::Read(_) => unavailable(error),
    }
}

fn unknown() -> Problem {
    Problem::new(
        Kind::BrokerUnavailable,
        "the broker gave no final answer: look at the source, and send the same request again",
    )
}
