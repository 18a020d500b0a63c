//! The double of APNs: `POST /3/device/<token>`.
//!
//! Reasons, limits and header rules are those of Apple's "Sending notification requests to APNs"
//! and "Handling notification responses from APNs".

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;

use super::auth::{Keys, Line};
use super::payload::{Alert, ApnsBody, owned};
use super::reply::Reply;
use super::{Judged, Push};
use crate::script::Answer;

const TOPIC: HeaderName = HeaderName::from_static("apns-topic");
const PUSH_TYPE: HeaderName = HeaderName::from_static("apns-push-type");
const PRIORITY: HeaderName = HeaderName::from_static("apns-priority");
const EXPIRATION: HeaderName = HeaderName::from_static("apns-expiration");
const COLLAPSE_ID: HeaderName = HeaderName::from_static("apns-collapse-id");
pub(crate) const ID: HeaderName = HeaderName::from_static("apns-id");

/// Headers the ledger keeps.
pub(crate) static KEPT: [HeaderName; 6] = [ID, TOPIC, PUSH_TYPE, PRIORITY, EXPIRATION, COLLAPSE_ID];

/// APNs: 4096 bytes, voip 5120 ("Generating a remote notification").
const MAX_BODY: usize = 4096;
const MAX_BODY_VOIP: usize = 5120;
/// APNs: 64 bytes.
const MAX_COLLAPSE_ID: usize = 64;
/// `apns-push-type` values of the documentation.
const PUSH_TYPES: [&str; 10] = [
    "alert",
    "background",
    "location",
    "voip",
    "complication",
    "fileprovider",
    "mdm",
    "liveactivity",
    "pushtotalk",
    "controls",
];

type Refusal = (u16, &'static str);

/// The double.
#[derive(Debug)]
pub(crate) struct Apns {
    pub(crate) keys: Keys,
    pub(crate) topics: Vec<String>,
}

impl Apns {
    pub(crate) fn judge(&self, head: &Parts, body: &Bytes, line: &Line, now_ms: i64) -> Judged {
        let mut push = Push {
            app: text(&head.headers, &TOPIC).to_owned(),
            ..Push::default()
        };
        let checked = self
            .keys
            .check(head.headers.get(http::header::AUTHORIZATION), line, now_ms);
        let refusal = addressed(head, &mut push)
            .and_then(|()| checked.map(|_| ()))
            .and_then(|()| self.topic(&mut push, line))
            .and_then(|()| headers(&head.headers))
            .and_then(|()| payload(&head.headers, body, &mut push));
        let reply = match refusal {
            Ok(()) => Reply::ok(Bytes::new()),
            Err((status, reason)) => failed(status, reason),
        };
        Judged {
            push,
            reply: reply.with(ID, apns_id(&head.headers)),
            is_trusted: checked.is_ok(),
            credential: checked.unwrap_or_default(),
        }
    }

    fn topic(&self, push: &mut Push, line: &Line) -> Result<(), Refusal> {
        if push.app.is_empty() {
            // A certificate names its topic itself.
            let topic = self.topics.first().filter(|_| line.has_certificate);
            topic
                .ok_or((400, "MissingTopic"))?
                .clone_into(&mut push.app);
        }
        if self.topics.iter().any(|it| covers(it, &push.app)) {
            Ok(())
        } else {
            Err((400, "TopicDisallowed"))
        }
    }
}

/// `org.example.app` stands for its suffixed topics (`.voip`, `.push-type.liveactivity`) too.
fn covers(bundle_id: &str, topic: &str) -> bool {
    topic.strip_prefix(bundle_id).is_some_and(|rest| {
        matches!(
            rest,
            "" | ".voip" | ".complication" | ".pushkit.fileprovider" | ".location-query"
        ) || rest.starts_with(".push-type.")
    })
}

fn addressed(head: &Parts, push: &mut Push) -> Result<(), Refusal> {
    let token = head
        .uri
        .path()
        .strip_prefix("/3/device/")
        .ok_or((404, "BadPath"))?;
    token.clone_into(&mut push.token);
    if head.method != Method::POST {
        return Err((405, "MethodNotAllowed"));
    }
    if token.is_empty() {
        return Err((400, "MissingDeviceToken"));
    }
    // Apple: "don't assume" a length; no token yet was shorter than 32 bytes.
    let is_token = token.len() >= 64
        && token.len() % 2 == 0
        && token.len() <= 400
        && token.bytes().all(|it| it.is_ascii_hexdigit());
    if is_token {
        Ok(())
    } else {
        Err((400, "BadDeviceToken"))
    }
}

fn headers(headers: &HeaderMap) -> Result<(), Refusal> {
    if KEPT
        .iter()
        .any(|name| headers.get_all(name).iter().nth(1).is_some())
    {
        return Err((400, "DuplicateHeaders"));
    }
    let push_type = text(headers, &PUSH_TYPE);
    if !PUSH_TYPES.contains(&push_type) {
        return Err((400, "InvalidPushType"));
    }
    match (headers.get(PRIORITY).map(HeaderValue::as_bytes), push_type) {
        // Without the header it is 10, which a background push must not have.
        (Some(b"5"), _) => {}
        (None | Some(b"10" | b"1"), it) if it != "background" => {}
        _ => return Err((400, "BadPriority")),
    }
    if let Some(it) = headers.get(EXPIRATION)
        && it
            .to_str()
            .ok()
            .and_then(|it| it.parse::<u64>().ok())
            .is_none()
    {
        return Err((400, "BadExpirationDate"));
    }
    if headers
        .get(COLLAPSE_ID)
        .is_some_and(|it| it.is_empty() || it.len() > MAX_COLLAPSE_ID)
    {
        return Err((400, "BadCollapseId"));
    }
    if headers.get(ID).is_some_and(|it| !is_uuid(it.as_bytes())) {
        return Err((400, "BadMessageId"));
    }
    Ok(())
}

fn payload(headers: &HeaderMap, body: &Bytes, push: &mut Push) -> Result<(), Refusal> {
    let is_voip = headers.get(PUSH_TYPE).is_some_and(|it| it == "voip");
    if body.len() > if is_voip { MAX_BODY_VOIP } else { MAX_BODY } {
        return Err((413, "PayloadTooLarge"));
    }
    // No reason is documented for a body that is no dictionary with `aps`: the nearest one.
    let body: ApnsBody<'_> = serde_json::from_slice(body).map_err(|_| (400, "PayloadEmpty"))?;
    let aps = body.aps.ok_or((400, "PayloadEmpty"))?;
    let fanfare = body.fanfare.unwrap_or_default();
    push.event = owned(fanfare.event.as_ref());
    push.screen = owned(fanfare.screen.as_ref());
    push.level = owned(fanfare.level.as_ref());
    push.challenge = owned(fanfare.challenge.as_ref());
    push.title = aps.alert.and_then(|Alert(title)| owned(title.as_ref()));
    Ok(())
}

/// 8-4-4-4-12 hex digits.
fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, it)| match at {
            8 | 13 | 18 | 23 => *it == b'-',
            _ => it.is_ascii_hexdigit(),
        })
}

/// The sender's `apns-id`, or one of ours: a client may find its request by it.
fn apns_id(headers: &HeaderMap) -> HeaderValue {
    if let Some(id) = headers.get(ID) {
        return id.clone();
    }
    let bits: u128 = rand::random();
    let hex = format!("{bits:032X}");
    let part = |from, to| hex.get(from..to).unwrap_or_default();
    let id = [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ]
    .join("-");
    HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static(""))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers
        .get(name)
        .and_then(|it| it.to_str().ok())
        .unwrap_or_default()
}

fn failed(status: u16, reason: &str) -> Reply {
    Reply::failed(
        status,
        reason,
        serde_json::json!({ "reason": reason })
            .to_string()
            .into_bytes(),
    )
}

/// APNs' words for a scripted fault; `None` if the push is accepted all the same.
pub(crate) fn scripted(answer: &Answer, now_ms: i64) -> Option<Reply> {
    Some(match answer {
        Answer::Unregistered {
            no_timestamp: true, ..
        } => failed(410, "Unregistered"),
        Answer::Unregistered { ago_ms, .. } => {
            let since = now_ms.saturating_sub_unsigned(*ago_ms);
            let body = serde_json::json!({ "reason": "Unregistered", "timestamp": since });
            Reply::failed(410, "Unregistered", body.to_string().into_bytes())
        }
        Answer::BadToken => failed(400, "BadDeviceToken"),
        Answer::WrongSender => failed(400, "DeviceTokenNotForTopic"),
        Answer::TooMany { retry_after, .. } => {
            failed(429, "TooManyRequests").retry_after(*retry_after, now_ms)
        }
        Answer::Unavailable { retry_after } => {
            failed(503, "ServiceUnavailable").retry_after(*retry_after, now_ms)
        }
        Answer::Internal | Answer::AcceptedInternal | Answer::EndlessBody => {
            failed(500, "InternalServerError")
        }
        Answer::Shutdown => failed(503, "Shutdown"),
        Answer::Html { status } => Reply::html(*status),
        Answer::Credentials { .. } => failed(403, "ExpiredProviderToken"),
        Answer::Reason {
            status,
            reason,
            retry_after,
        } => failed(*status, reason).retry_after(*retry_after, now_ms),
        Answer::Slow { .. }
        | Answer::ResetStream { .. }
        | Answer::ResetConnection
        | Answer::RefuseStream
        | Answer::Goaway
        | Answer::GoawayBelow
        | Answer::SilentDrop
        | Answer::MaxStreams { .. } => return None,
    })
}

/// Debug data of a GOAWAY: APNs sends its reason as JSON.
pub(crate) fn goaway_debug(reason: &str, now_ms: i64) -> Vec<u8> {
    let at = Timestamp::from_millisecond(now_ms).unwrap_or_default();
    serde_json::json!({ "reason": reason, "timestamp": at.as_millisecond() })
        .to_string()
        .into_bytes()
}
