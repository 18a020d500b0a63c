//! The readers of what strangers send, for those who feed them nonsense. Pure; nothing else calls it.

use fanfare_nats::key::NewSecret;
use fanfare_nats::policy::TopicPolicies;
use fanfare_nats::{Device, Event, Filter, Tenant};
use jiff::Timestamp;

use crate::access::Leave;
use crate::device::document;
use crate::event;

/// The device that a body of `PUT /v1/devices/{id}` asks for; `None` if it is refused.
pub fn device(body: &[u8], tenant: &Tenant) -> Option<Device> {
    let body = serde_json::from_slice(body).ok()?;
    let wanted = document::read(body, tenant, None).ok()?;
    let secret = NewSecret::of_device(tenant);
    Some(wanted.over(None, Leave::Full, Some(&secret), Timestamp::UNIX_EPOCH))
}

/// The filters that a body of `PUT /v1/devices/{id}/topics/{pattern}` asks for; `None` if it is
/// refused.
pub fn filters(body: &[u8]) -> Option<Vec<Filter>> {
    let body = serde_json::from_slice(body).ok()?;
    document::filters(body).ok()
}

/// The event that a body of `POST /v1/events` asks for, at the beginning of 1970; `None` if it is
/// refused.
pub fn event(body: &[u8], tenant: &Tenant) -> Option<Event> {
    let body = serde_json::from_slice(body).ok()?;
    let posted = event::document::read(body, None).ok()?;
    let id = posted.id.clone().unwrap_or_default();
    let policies = TopicPolicies::default();
    Some(posted.into_event(&id, None, &policies, tenant, Timestamp::UNIX_EPOCH))
}
