//! A posted event as the contract describes it. It is read by hand, field by field
//! ([`super::read`]); a test holds both together.
#![expect(dead_code, reason = "these types are described, never built")]

use serde_json::{Map, Value};
use utoipa::ToSchema;

/// An event for whoever follows one of its topics, or for one device, or for one user.
#[derive(ToSchema)]
#[schema(as = EventDocument)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    /// What the event is called: posted twice, it is stored once. Left out, one is made up.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u202a-\\u202e\\u2066-\\u2069]+$",
        example = "order-7"
    )]
    id: Option<String>,
    /// Whom it is for: exactly one of `topics`, `device` and `user` is needed.
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
    #[schema(min_length = 1, max_length = 200, example = "Your order is on its way")]
    title: String,
    #[schema(min_length = 1, max_length = 2000)]
    body: Option<String>,
    /// What a tap opens: https, http, or an app's own scheme.
    #[schema(
        max_length = 2048,
        pattern = "^(https?://[A-Za-z0-9]|[A-Za-z][A-Za-z0-9+.-]*:)[!-~]*$"
    )]
    url: Option<String>,
    /// A picture: https or http.
    #[schema(max_length = 2048, pattern = "^https?://[A-Za-z0-9][!-~]*$")]
    image: Option<String>,
    /// For the app, and for filters; at most 4096 bytes.
    data: Option<Map<String, Value>>,
    /// Which lane it takes.
    #[schema(pattern = "^(urgent|bulk)$")]
    priority: Option<String>,
    /// The older word for `priority`, read for one more version.
    #[schema(pattern = "^(urgent|bulk)$")]
    #[deprecated]
    urgency: Option<String>,
    /// Whether a push whose outcome nobody knows is sent again.
    #[schema(pattern = "^(at_least_once|at_most_once)$")]
    delivery: Option<String>,
    /// The older word for `delivery`, read for one more version.
    #[schema(pattern = "^(at_least_once|at_most_once)$")]
    #[deprecated]
    guarantee: Option<String>,
    /// How long it is worth telling, at most 24 h; 6 h unless its topics say otherwise.
    ttl: Option<Lasting>,
    /// The configuration's word for `ttl`; only one of them.
    expires_in: Option<Lasting>,
    retries: Option<Retries>,
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u202a-\\u202e\\u2066-\\u2069]+$"
    )]
    sound: Option<String>,
    /// What is shown together.
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u202a-\\u202e\\u2066-\\u2069]+$"
    )]
    thread: Option<String>,
    badge: Option<u32>,
    #[schema(pattern = "^(passive|active|time-sensitive|critical)$")]
    interruption: Option<String>,
    /// Name of a provider to what is sent to it as it is; at most 4096 bytes.
    overrides: Option<Map<String, Value>>,
}

/// A dotted path.
#[derive(ToSchema)]
#[schema(
    max_length = 200,
    pattern = "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+){0,15}$"
)]
pub(crate) struct Topic(String);

/// How often, and after what time, a push that came to nothing is tried again.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Retries {
    #[schema(minimum = 1, maximum = 1000)]
    attempts: Option<u32>,
    first: Option<Lasting>,
    longest: Option<Lasting>,
}

/// A length of time.
#[derive(ToSchema)]
#[serde(untagged)]
enum Lasting {
    Seconds(Seconds),
    Text(Written),
}

/// Seconds, at most a day.
#[derive(ToSchema)]
#[schema(minimum = 1, maximum = 86400)]
struct Seconds(u32);

/// A whole number with `s`, `m`, `h` or `d`; at most a day.
#[derive(ToSchema)]
#[schema(as = Duration, pattern = "^[0-9]+[smhd]$", example = "1h")]
struct Written(String);
