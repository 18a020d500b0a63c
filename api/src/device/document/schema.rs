//! The device's document as the contract describes it. It is read by hand, field by field
//! ([`super::read`]); a test holds both together.
#![expect(dead_code, reason = "these types are described, never built")]

use utoipa::ToSchema;

/// A device: its address at a provider, and what it follows.
#[derive(ToSchema)]
#[schema(as = DeviceDocument)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    /// The app, by its configured name.
    #[schema(pattern = "^[a-z0-9_-]{1,20}$", example = "ios")]
    app: String,
    /// The provider's token or endpoint. It is never shown again.
    #[schema(
        min_length = 1,
        max_length = 2048,
        example = "740f4707bebcf74f9b7c25d48e335894"
    )]
    token: String,
    /// Whose it is; all devices of a user are reached by one event.
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u202a-\\u202e\\u2066-\\u2069]+$"
    )]
    user: Option<String>,
    #[schema(pattern = "^[A-Za-z0-9_-]{1,35}$", example = "de-DE")]
    locale: Option<String>,
    #[schema(pattern = "^[A-Za-z0-9/_+-]{1,64}$", example = "Europe/Berlin")]
    time_zone: Option<String>,
    /// What it follows.
    #[schema(max_items = 256)]
    topics: Option<Vec<Interest>>,
}

/// A pattern alone, or with filters.
#[derive(ToSchema)]
#[serde(untagged)]
enum Interest {
    Pattern(PatternText),
    Filtered(Filtered),
}

/// A dotted path in which a segment may be `*` and the last may be `>`.
#[derive(ToSchema)]
#[schema(as = Pattern, max_length = 200, pattern = "^(>|([A-Za-z0-9_-]+|\\*)(\\.([A-Za-z0-9_-]+|\\*)){0,14}(\\.>)?)$", example = "quakes.>")]
struct PatternText(String);

/// A pattern that holds only for events whose data passes all filters.
#[derive(ToSchema)]
#[schema(as = FilteredPattern)]
#[serde(deny_unknown_fields)]
struct Filtered {
    pattern: PatternText,
    #[schema(max_items = 8)]
    filters: Option<Vec<Filter>>,
}

/// What a pattern is followed with.
#[derive(ToSchema)]
#[schema(as = TopicDocument)]
#[serde(deny_unknown_fields)]
pub(crate) struct Topic {
    /// An event must pass all of them.
    #[schema(max_items = 8)]
    filters: Option<Vec<Filter>>,
}

/// A condition on an event's data, from a closed set.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum Filter {
    AtLeast(AtLeast),
    AnyOf(AnyOf),
    Near(Near),
}

/// A number is at least this.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AtLeast {
    #[schema(min_length = 1, max_length = 64, example = "mag")]
    field: String,
    #[schema(example = 4.5)]
    min: f64,
}

/// A value is one of these.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnyOf {
    #[schema(min_length = 1, max_length = 64, example = "net")]
    field: String,
    #[schema(min_items = 1, max_items = 64)]
    any_of: Vec<Known>,
}

/// A value of an event's data.
#[derive(ToSchema)]
#[serde(untagged)]
enum Known {
    Text(String),
    Number(f64),
}

/// The event is near a place.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Near {
    near: Circle,
}

/// A place and a distance.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Circle {
    #[schema(minimum = -90.0, maximum = 90.0)]
    lat: f64,
    #[schema(minimum = -180.0, maximum = 180.0)]
    lon: f64,
    /// Kilometres.
    #[schema(exclusive_minimum = 0.0, maximum = 20040.0)]
    km: f64,
}
