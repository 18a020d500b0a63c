//! `GET /v1/bulk/devices`: every device, a line each.
//!
//! Which devices there are is known by all devices together, in an order that no update changes; each
//! document is read from its leader. So nothing is held at the broker for a reader who is slow.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use bytes::Bytes;
use fanfare_nats::follow::Followed;
use fanfare_nats::tenant::Tenant;
use fanfare_nats::{DeviceHash, DeviceId};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;

use super::{AT_ONCE, NDJSON, answer, place};
use crate::access::Caller;
use crate::call::{bounded, no_answer, patiently};
use crate::device::{Found, document, find};
use crate::problem::{Kind, Problem};
use crate::router::Api;

/// Devices between two waits for whoever reads.
const PAGE: usize = 256;

/// What is wanted of each device.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    tokens: bool,
}

/// Every device of the caller's tenant.
///
/// Dropping the future changes nothing.
#[utoipa::path(
    get,
    path = "/v1/bulk/devices",
    operation_id = "exportDevices",
    description = "One device a line, in an order that no update changes. What is registered throughout is there once; what comes or goes meanwhile may be. An answer that is cut off before its end is not whole. With `tokens=true`, which only a key with `admin` may ask for, each line is a document with its token that the import takes.",
    tag = "devices",
    params(("tokens" = Option<bool>, Query, description = "With tokens")),
    responses((status = 200, description = "A device a line", body = String, content_type = NDJSON)),
)]
pub(crate) async fn export(
    State(api): State<Api>,
    caller: Caller,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Ok(Query(wanted)) = wanted else {
        return Err(Problem::new(
            Kind::InvalidRequest,
            "`tokens` is true or false",
        ));
    };
    if wanted.tokens {
        caller.may_see_tokens()?;
    }
    let place = place(&api.bulk)?;
    let followed = bounded(&api.broker, api.known.current(&api.broker), no_answer).await?;
    let export = Export {
        followed: followed.clone(),
        tenant: caller.tenant(),
        has_tokens: wanted.tokens,
        from: Some(DeviceHash(0)),
        _place: Arc::new(place),
        api: api.clone(),
    };
    Ok(answer(stream::try_unfold(export, Export::next)))
}

/// One that is under way.
struct Export {
    api: Api,
    followed: Followed,
    tenant: Tenant,
    has_tokens: bool,
    /// Where it goes on; nothing at the end.
    from: Option<DeviceHash>,
    _place: Arc<OwnedSemaphorePermit>,
}

/// The broker did not answer for so long that the export is given up.
#[derive(Debug, thiserror::Error)]
#[error("an export was given up")]
struct GivenUp;

impl Export {
    /// The next lines.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, GivenUp> {
        while let Some(from) = self.from {
            let ids = self.followed.index().devices_from(from, PAGE);
            let last = ids.last().map(|it| it.hash().0);
            let is_end = ids.len() < PAGE;
            self.from = last.and_then(|it| it.checked_add(1)).map(DeviceHash);
            if is_end {
                self.from = None;
            }
            let mine = ids.into_iter().filter(|it| it.tenant() == self.tenant);
            let lines = stream::iter(mine)
                .map(|id| self.line(id))
                .buffered(AT_ONCE)
                .try_concat();
            let lines: Vec<u8> = lines.await.inspect_err(|_| {
                tracing::info!("an export was given up: the broker does not answer");
            })?;
            if !lines.is_empty() {
                return Ok(Some((lines.into(), self)));
            }
        }
        Ok(None)
    }

    /// A device's line, or nothing if it is gone by now, or not readable.
    async fn line(&self, id: DeviceId) -> Result<Vec<u8>, GivenUp> {
        let broker = &self.api.broker;
        let read = || bounded(broker, find(broker, &id), no_answer);
        let found = patiently(&self.api.stop, read).await;
        let Found::Device(stored) = found.map_err(|_| GivenUp)? else {
            return Ok(Vec::new());
        };
        let line = if self.has_tokens {
            serde_json::to_vec(&document::whole(&id, &stored.device))
        } else {
            serde_json::to_vec(&document::shown(&id, &stored.device))
        };
        let mut line = line.map_err(|_| GivenUp)?;
        line.push(b'\n');
        Ok(line)
    }
}
