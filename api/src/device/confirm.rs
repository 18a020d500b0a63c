//! `POST /v1/devices/{id}/confirm`: the nonce that a challenge push carried.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fanfare_nats::bucket::Expect;
use fanfare_nats::device::{Answered, MAX_CHALLENGE_ATTEMPTS};
use fanfare_nats::key::SecretHash;
use fanfare_nats::{Device, DeviceId, fail};
use http::header::ETAG;
use jiff::Timestamp;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Found, again_or, document, find};
use crate::access::Caller;
use crate::body::{DevicePath, Json};
use crate::call::{bounded, no_answer};
use crate::clock;
use crate::fields::{Fields, Flaw, Flaws};
use crate::precondition::{Preconditions, etag};
use crate::problem::{Kind, Problem};
use crate::router::Api;
use crate::text;

/// An answer to a challenge; it is read by hand ([`read`]).
#[derive(ToSchema)]
#[schema(as = ConfirmDocument)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "described, never built")]
pub(crate) struct Document {
    /// What the push carried: `challenge` in the object `fanfare` of APNs, `fanfare_challenge` in the data of FCM.
    #[schema(pattern = "^[0-9a-hjkmnp-tv-z]{52}$")]
    nonce: String,
}

fn read(document: Value) -> Result<SecretHash, Vec<Flaw>> {
    let mut flaws = Flaws::default();
    let nonce = Fields::open(document, "", &mut flaws).and_then(|mut fields| {
        let nonce = fields.required("nonce", &mut flaws, |it| {
            let nonce = SecretHash::of_nonce(&text::string(it)?);
            nonce.ok_or_else(|| "is no nonce of a challenge".into())
        });
        fields.finish(&mut flaws);
        nonce
    });
    flaws.judge(nonce)
}

/// Answer the challenge of a token that was another user's.
///
/// Dropping the future leaves it unknown whether it is confirmed; the same request again settles it.
#[utoipa::path(
    post,
    path = "/v1/devices/{id}/confirm",
    operation_id = "confirmDevice",
    description = "With the nonce that a push brought to the token, the registration that waited stands, and the token is its device's alone in this tenant. A device that does not wait is answered as it is. After five wrong answers, or ten minutes, register again.",
    tag = "devices",
    params(("id" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "The device's id")),
    request_body(content = Document),
    responses((
        status = 200, description = "The token is this device's",
        body = document::Shown, headers(("ETag" = String, description = "The revision")),
    )),
)]
pub(crate) async fn confirm(
    State(api): State<Api>,
    caller: Caller,
    DevicePath(id): DevicePath,
    Json(body): Json,
) -> Result<Response, Problem> {
    let shown = read(body).map_err(Problem::fields)?;
    let confirming = confirmed(&api, &id, &caller, &shown, clock::now());
    let (device, revision) = bounded(&api.broker, confirming, no_answer).await?;
    let shown = document::shown(&id, &device);
    Ok(([(ETAG, etag(revision))], axum::Json(shown)).into_response())
}

async fn confirmed(
    api: &Api,
    id: &DeviceId,
    caller: &Caller,
    shown: &SecretHash,
    now: Timestamp,
) -> Result<(Device, u64), Problem> {
    loop {
        let found = find(&api.broker, id).await?;
        caller.may_touch(found.device())?;
        let Found::Device(stored) = found else {
            return Err(Problem::new(
                Kind::NoSuchDevice,
                "no device is registered by this id",
            ));
        };
        let (mut device, revision) = (stored.device, stored.revision);
        let Some(pending) = &mut device.pending else {
            return Ok((device, revision));
        };
        let answered = pending.answer(shown, now);
        match answered {
            Answered::Over => {
                api.metrics.challenge_answered(false);
                return Err(over());
            }
            Answered::Wrong => pending.n_wrong += 1,
            Answered::Right => device = device.as_asked(),
        }
        fail::point("api.before-write");
        let put = api
            .broker
            .put_device(id, &device, Expect::Revision(revision));
        match (put.await, answered) {
            (Ok(revision), Answered::Right) => {
                api.metrics.challenge_answered(true);
                return Ok((device, revision));
            }
            (Ok(_), Answered::Wrong | Answered::Over) => {
                api.metrics.challenge_answered(false);
                return Err(wrong(&device));
            }
            (Err(error), _) => again_or(error, &Preconditions::default())?,
        }
    }
}

fn wrong(device: &Device) -> Problem {
    let n_wrong = device.pending.as_ref().map_or(0, |it| it.n_wrong);
    let left = MAX_CHALLENGE_ATTEMPTS.saturating_sub(n_wrong);
    let detail = "this is not the nonce that was sent last";
    Problem::new(Kind::ChallengeFailed, detail).with("attempts_left", left)
}

fn over() -> Problem {
    Problem::new(
        Kind::ChallengeFailed,
        "its time is over, or there were too many wrong answers: register again",
    )
    .with("attempts_left", 0)
}
