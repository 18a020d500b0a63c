//! `/v1/users/{user}`: all devices of somebody, and their removal.
//!
//! Whose a device is, is known by all devices together (`known.rs`); what is shown and removed is
//! each document as its leader has it.

use axum::extract::State;
use axum::response::Response;
use fanfare_nats::bucket::{Expect, ReadDeviceError, Stored, WriteDeviceError};
use fanfare_nats::index::Index;
use fanfare_nats::{Broker, DeviceId, fail};
use futures::{StreamExt, TryStreamExt, stream};
use http::Uri;
use serde::Serialize;
use tokio::time::{Duration, Instant};
use utoipa::ToSchema;

use crate::body::UserPath;
use crate::call::{bounded, no_answer, refused, unavailable};
use crate::device::document;
use crate::page::{Listed, Page};
use crate::problem::{Kind, Problem};
use crate::router::Api;

/// Documents of one user that are read or removed at once.
const AT_ONCE: usize = 16;
/// How long devices are removed before the answer says that there are more; below the time that one
/// request waits for the broker.
const ENOUGH: Duration = Duration::from_secs(2);
/// Devices between two looks at the clock.
const PASS: usize = 512;

/// All devices of a user, as of now.
///
/// Dropping the future changes nothing.
#[utoipa::path(
    get,
    path = "/v1/users/{user}",
    operation_id = "showUser",
    description = "Devices without their tokens. Somebody without devices is not known. What was registered before the request is among them.",
    tag = "users",
    params(
        ("user" = String, Path, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u202a-\\u202e\\u2066-\\u2069]{1,128}$", description = "Whose devices"),
        crate::page::Params,
    ),
    responses((
        status = 200,
        description = "By id; a page may have fewer than its limit",
        body = Listed<document::Shown>,
        headers(("Link" = String, description = "`rel=\"next\"`, if there is a next page")),
    )),
)]
pub(crate) async fn show(
    State(api): State<Api>,
    UserPath(user): UserPath,
    uri: Uri,
    page: Page,
) -> Result<Response, Problem> {
    let ids = ids_of(&api, &user).await?;
    if ids.is_empty() {
        return Err(Problem::new(Kind::NoSuchUser, "no device is this user's"));
    }
    let Listed { items, next_cursor } = page.cut(ids, |it| it.as_str().to_owned());
    let read = stream::iter(items)
        .map(|id| read(&api.broker, id))
        .buffered(AT_ONCE)
        .try_collect::<Vec<_>>();
    let read = bounded(&api.broker, read, no_answer).await?;
    // Removed, or another's, since.
    let is_his = |(id, stored): (DeviceId, Option<Stored>)| Some((id, his(stored, &user)?));
    let devices: Vec<(DeviceId, Stored)> = read.into_iter().filter_map(is_his).collect();
    let items = devices
        .iter()
        .map(|(id, stored)| document::shown(id, &stored.device));
    let listed = Listed {
        items: items.collect(),
        next_cursor,
    };
    Ok(page.answer(&format!("{}?", uri.path()), listed))
}

/// What became of a user's devices.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RemovedUser)]
pub(crate) struct Removed {
    /// Devices that this request removed.
    removed: usize,
    /// A look after the last of them, at everything that was registered by then, found none. If not,
    /// send the same request again.
    is_complete: bool,
}

/// Remove all devices of a user.
///
/// Dropping the future leaves it unknown which are removed; the same request again settles it.
#[utoipa::path(
    delete,
    path = "/v1/users/{user}",
    operation_id = "removeUser",
    description = "Each is removed at the revision at which it was seen to be his. What other requests register meanwhile is removed too, until a look at everything finds none; what is registered after that look stays. With very many devices it ends early: `is_complete` is false then, send the same again.",
    tag = "users",
    params(
        ("user" = String, Path, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u202a-\\u202e\\u2066-\\u2069]{1,128}$", description = "Whose devices"),
    ),
    responses((status = 200, description = "How many there were", body = Removed)),
)]
pub(crate) async fn remove(
    State(api): State<Api>,
    UserPath(user): UserPath,
) -> Result<axum::Json<Removed>, Problem> {
    let until = Instant::now() + ENOUGH;
    let mut removed = 0;
    let is_complete = loop {
        let ids = ids_of(&api, &user).await?;
        let gone = stream::iter(ids.into_iter().take(PASS))
            .map(|id| erase(&api.broker, id, &user))
            .buffer_unordered(AT_ONCE)
            .try_fold(0, async |n, is_gone| Ok(n + usize::from(is_gone)));
        let n = bounded(&api.broker, gone, no_answer).await?;
        removed += n;
        if n == 0 {
            break true;
        }
        if Instant::now() >= until {
            break false;
        }
    };
    Ok(axum::Json(Removed {
        removed,
        is_complete,
    }))
}

/// The devices that are said to be his, with everything that was acknowledged before this call.
async fn ids_of(api: &Api, user: &str) -> Result<Vec<DeviceId>, Problem> {
    let user = user.to_owned();
    let find = move |index: &Index| index.devices_of(&user);
    api.known.ask(&api.broker, &api.readings, find).await
}

/// What is stored of a device, if that is a user's. The index knows a hash of him.
fn his(stored: Option<Stored>, user: &str) -> Option<Stored> {
    stored.filter(|it| it.device.asked_user() == Some(user))
}

/// A device as it is stored; one that cannot be read is nobody's.
async fn read(broker: &Broker, id: DeviceId) -> Result<(DeviceId, Option<Stored>), Problem> {
    match broker.device(&id).await {
        Ok(stored) => Ok((id, stored)),
        Err(ReadDeviceError::Decode(_)) => Ok((id, None)),
        Err(error @ ReadDeviceError::Unavailable(_)) => Err(unavailable(&error)),
    }
}

/// Removes a device while it is his; whether it was.
async fn erase(broker: &Broker, id: DeviceId, user: &str) -> Result<bool, Problem> {
    let mut id = id;
    loop {
        let found;
        (id, found) = read(broker, id).await?;
        let Some(stored) = his(found, user) else {
            return Ok(false);
        };
        let expect = Expect::Revision(stored.revision);
        match broker.delete_device(&id, expect).await {
            Ok(_) => {
                fail::point("user.removed");
                return Ok(true);
            }
            // Written meanwhile: look whose it is now.
            Err(WriteDeviceError::Conflict) => {}
            Err(error @ WriteDeviceError::Refused(_)) => return Err(refused(&error)),
            Err(error @ (WriteDeviceError::Unavailable | WriteDeviceError::Read(_))) => {
                return Err(unavailable(&error));
            }
        }
    }
}
