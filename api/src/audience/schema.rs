//! The question as the contract describes it. It is read by hand, field by field
//! ([`super::read`]); a test holds both together.
#![expect(dead_code, reason = "these types are described, never built")]

use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::event::document::schema::Topic;

/// What an event would be for. Exactly one of `topics`, `device` and `user` is needed.
#[derive(ToSchema)]
#[schema(as = AudienceDocument, example = json!({"topics": ["news.local"], "data": {"mag": 4.6}}))]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    #[schema(min_items = 1, max_items = 32, example = json!(["news.local"]))]
    topics: Option<Vec<Topic>>,
    /// One device, by its id.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    device: Option<String>,
    /// All devices of one user.
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u202a-\\u202e\\u2066-\\u2069]+$"
    )]
    user: Option<String>,
    /// What filters look at; at most 4096 bytes.
    data: Option<Map<String, Value>>,
    /// Through which lanes. Left out, it is as for an event on these topics.
    #[schema(pattern = "^(urgent|bulk)$")]
    priority: Option<String>,
}
