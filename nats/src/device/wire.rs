//! The stored form of a device's document. Fields that nobody here knows are ignored.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::holding::Holding;
use super::pending::{Pending, WirePending};
use super::{AppName, DecodeDeviceError, Device, Filter, Subscription, Token};
use crate::key::SecretHash;
use crate::schema;
use crate::topic::Pattern;

/// The version of the shape.
pub(super) const SCHEMA: u32 = 1;

#[derive(Serialize, Deserialize)]
struct WireDevice {
    schema: u32,
    app: String,
    token: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    locale: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    topics: Vec<WireSubscription>,
    registered_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_seen: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holding: Option<WireHolding>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending: Option<WirePending>,
}

/// Missing in what a version wrote that challenged nobody.
#[derive(Serialize, Deserialize)]
struct WireHolding {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    proven: bool,
}

impl WireHolding {
    fn of(holding: Holding) -> Self {
        Self {
            since: holding.since,
            proven: holding.is_proven,
        }
    }

    fn read(self) -> Holding {
        Holding {
            since: self.since,
            is_proven: self.proven,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireSubscription {
    pattern: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    filters: Vec<Filter>,
}

pub(super) fn subscriptions(subscriptions: &[Subscription]) -> Vec<WireSubscription> {
    let wire = |it: &Subscription| WireSubscription {
        pattern: it.pattern.to_string(),
        filters: it.filters.clone(),
    };
    subscriptions.iter().map(wire).collect()
}

pub(super) fn read_subscriptions(
    wire: Vec<WireSubscription>,
) -> Result<Vec<Subscription>, DecodeDeviceError> {
    let read = |it: WireSubscription| {
        Ok(Subscription {
            pattern: Pattern::parse_stored(&it.pattern).map_err(DecodeDeviceError::Pattern)?,
            filters: it.filters,
        })
    };
    wire.into_iter().map(read).collect()
}

impl Device {
    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        let wire = WireDevice {
            schema: SCHEMA,
            app: self.app.to_string(),
            token: self.token.reveal().to_owned(),
            user: self.user.clone(),
            locale: self.locale.clone(),
            time_zone: self.time_zone.clone(),
            topics: subscriptions(&self.subscriptions),
            registered_at: self.registered_at,
            last_seen: self.last_seen,
            secret_sha256: self.secret.map(SecretHash::to_hex),
            holding: Some(WireHolding::of(self.holding)),
            pending: self.pending.as_ref().map(WirePending::of),
        };
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    /// Reads stored bytes.
    ///
    /// # Errors
    /// [`DecodeDeviceError`]; the record is skipped and counted, never a crash.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeDeviceError> {
        let wire: WireDevice = serde_json::from_slice(bytes).map_err(|error| {
            // A later version's shape may be quite another one.
            match schema::later_than(SCHEMA, bytes) {
                Some(later) => DecodeDeviceError::Schema(later),
                None => DecodeDeviceError::Shape(error),
            }
        })?;
        if wire.schema != SCHEMA {
            return Err(DecodeDeviceError::Schema(wire.schema));
        }
        let pending: Option<Pending> = wire.pending.map(WirePending::read).transpose()?;
        Ok(Self {
            app: AppName::parse(&wire.app).map_err(DecodeDeviceError::App)?,
            token: Token::parse(&wire.token).ok_or(DecodeDeviceError::Token)?,
            user: wire.user,
            locale: wire.locale,
            time_zone: wire.time_zone,
            subscriptions: read_subscriptions(wire.topics)?,
            registered_at: wire.registered_at,
            last_seen: wire.last_seen,
            // One that cannot be read proves nothing; the device is a device all the same.
            secret: wire.secret_sha256.as_deref().and_then(SecretHash::parse),
            holding: wire.holding.map_or(Holding::UNSAID, WireHolding::read),
            pending,
        })
    }
}
