//! What a rule makes of a request.

use serde::{Deserialize, Serialize};

/// A wait the provider asks for, as the header carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfter {
    /// `Retry-After: 7`.
    Seconds(u32),
    /// An HTTP date so many seconds from the answer.
    Date(u32),
}

/// Whose limit was reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// One device.
    #[default]
    Device,
    /// The whole app or project.
    App,
}

/// The fault to play. The comments say what the ledger records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// APNs 410 `Unregistered` with a millisecond timestamp, FCM 404 `UNREGISTERED`. Refused.
    Unregistered {
        /// How long before the answer the provider became sure: larger than the age of the
        /// registration means *before* it.
        #[serde(default)]
        ago_ms: u64,
        /// APNs only: leave the timestamp out.
        #[serde(default)]
        no_timestamp: bool,
    },
    /// APNs 400 `BadDeviceToken`; FCM 400 with a field violation on `message.token`. Refused.
    BadToken,
    /// FCM 403 `SENDER_ID_MISMATCH`; APNs 400 `DeviceTokenNotForTopic`. Refused.
    WrongSender,
    /// 429: APNs `TooManyRequests`, FCM `QUOTA_EXCEEDED` with a `QuotaFailure`. Unavailable.
    TooMany {
        /// Whose limit.
        #[serde(default)]
        scope: Scope,
        /// The header, if any.
        #[serde(default)]
        retry_after: Option<RetryAfter>,
    },
    /// 503: APNs `ServiceUnavailable`, FCM `UNAVAILABLE`. Unavailable.
    Unavailable {
        /// The header, if any.
        #[serde(default)]
        retry_after: Option<RetryAfter>,
    },
    /// 500: APNs `InternalServerError`, FCM `INTERNAL`. Unavailable.
    Internal,
    /// As `internal`, but the device gets the push. Accepted.
    AcceptedInternal,
    /// 503 `Shutdown` (APNs; FCM as `unavailable`), then a graceful GOAWAY. Unavailable.
    Shutdown,
    /// An HTML page, as a proxy in front of the provider sends it. Unavailable.
    Html {
        /// 502, for example.
        status: u16,
    },
    /// APNs 403 `ExpiredProviderToken`, FCM 401 `UNAUTHENTICATED`, for each credential older than
    /// the rule and the first `n_credentials` others, until the sender comes with new ones. Refused.
    Credentials {
        /// See above.
        #[serde(default = "one")]
        n_credentials: usize,
    },
    /// Any status and reason, known to the sender or not. Refused, or unavailable from 429 and 500.
    Reason {
        /// HTTP status.
        status: u16,
        /// APNs `reason`, FCM `errorCode`.
        reason: String,
        /// The header, if any.
        #[serde(default)]
        retry_after: Option<RetryAfter>,
    },
    /// Accepted, the answer late or in drips.
    Slow {
        /// Milliseconds until the head of the answer.
        #[serde(default)]
        head_ms: u64,
        /// Milliseconds between the bytes of its body (one that has none gets one).
        #[serde(default)]
        body_ms: u64,
    },
    /// A 500 whose body never ends. Unavailable.
    EndlessBody,
    /// Accepted, then the stream is reset with this HTTP/2 error code instead of an answer.
    ResetStream {
        /// RFC 9113 section 7; 2 is `INTERNAL_ERROR`.
        #[serde(default = "internal_error")]
        code: u32,
    },
    /// Accepted, then the whole connection is reset (TCP RST).
    ResetConnection,
    /// `RST_STREAM` with `REFUSED_STREAM`: not processed. Unavailable.
    RefuseStream,
    /// Accepted and answered; GOAWAY lets all open streams finish.
    Goaway,
    /// GOAWAY with a last stream id below this request's: it and all above are not processed.
    /// Unavailable.
    GoawayBelow,
    /// The connection falls silent: the socket stays open, nothing is read, answered or closed any
    /// more. This request is not processed and not recorded; new connections work.
    SilentDrop,
    /// Accepted; from now on the connection allows only so many streams.
    MaxStreams {
        /// The new limit.
        streams: u32,
    },
}

fn one() -> usize {
    1
}

fn internal_error() -> u32 {
    2
}
