//! Who asks, for the handler that has to judge what is asked.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use fanfare_nats::key::{DeviceSecret, Key, Right};
use fanfare_nats::{Tenant, Topic};
use http::request::Parts;

use super::forbidden;
use crate::problem::{Kind, Problem};

/// Who asks. A request that was not judged has none, and its handler is not run.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// Somebody, where no keys are asked for.
    Anyone,
    /// The owner of a key that is good.
    Key(Arc<Key>),
    /// Somebody with a device's secret, of whatever device.
    Device(DeviceSecret),
}

impl Caller {
    /// Whose things it reads and writes.
    pub(crate) fn tenant(&self) -> Tenant {
        match self {
            Self::Anyone => Tenant::main(),
            Self::Key(key) => key.tenant.clone(),
            Self::Device(secret) => secret.tenant.clone(),
        }
    }

    /// Whether it may be told tokens.
    pub(crate) fn may_see_tokens(&self) -> Result<(), Problem> {
        match self {
            Self::Anyone => Ok(()),
            Self::Key(key) if key.has(Right::Admin) => Ok(()),
            Self::Key(_) | Self::Device(_) => Err(forbidden(
                "tokens are told only to a key with the scope admin",
                Right::Admin.as_str(),
            )),
        }
    }

    /// Whether an event may go to these topics; to every one of them.
    pub(crate) fn may_publish(&self, topics: &[Topic]) -> Result<(), Problem> {
        let may = match self {
            Self::Anyone => true,
            Self::Key(key) => topics.iter().all(|it| key.may_publish(it)),
            Self::Device(_) => false,
        };
        if may {
            return Ok(());
        }
        Err(forbidden(
            "the key may not publish on all of these topics, or to this device or user",
            Right::Publish.as_str(),
        ))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::new(Kind::Internal, "the request was not judged"))
    }
}
