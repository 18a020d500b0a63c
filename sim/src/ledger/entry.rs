//! What one line of the ledger says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Which double answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// Apple Push Notification service.
    Apns,
    /// Firebase Cloud Messaging, HTTP v1.
    Fcm,
}

/// What the double decided, whether or not its answer arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The device gets this push. Counts even when the answer was lost on the way back.
    Accepted,
    /// A final no: this request will never be accepted.
    Refused,
    /// Not now, or not processed at all.
    Unavailable,
}

/// One request as the double saw it, written before it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Position in the ledger, from 1, without holes among requests.
    pub seq: u64,
    /// When the decision was written, in microseconds since the Unix epoch.
    pub at_us: i64,
    /// Which double.
    pub provider: ProviderKind,
    /// APNs: the `apns-topic`. FCM: the project id.
    pub app: String,
    /// Connection number, from 1, over all doubles of one `Sim`.
    pub conn: u64,
    /// HTTP/2 stream id.
    pub stream: u32,
    /// Fingerprint of the credential it came with. Each sender makes or fetches its own, so this
    /// tells senders apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Request path with the device token cut off.
    pub path: String,
    /// Device token as addressed.
    pub token: String,
    /// Event id named by the payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Screen id named by the payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screen: Option<String>,
    /// Level named by the payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// The nonce of a challenge, which a test answers in the app's place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<String>,
    /// Title shown to the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Headers that belong to the push, never the credentials.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// First 16 hex digits of the body's SHA-256.
    pub body_sha256: String,
    /// Bytes of the body.
    pub body_bytes: u64,
    /// HTTP status decided; 0 if the request got none (stream refused, connection cut).
    pub status: u16,
    /// The provider's reason, if not accepted, or the fault that was played.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was decided.
    pub verdict: Verdict,
    /// Requests received and not yet answered over all doubles, this one included.
    pub in_flight: u64,
    /// The same, of this connection alone.
    pub conn_in_flight: u64,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "read and written one at a time")]
pub enum Entry {
    /// A request and what was decided.
    Request(Request),
    /// The end of an earlier request. Missing if the sim itself was killed.
    Answered {
        /// `seq` of the request.
        of: u64,
        /// Microseconds since the Unix epoch.
        at_us: i64,
        /// Whether the answer was handed to a living connection.
        sent: bool,
    },
}
