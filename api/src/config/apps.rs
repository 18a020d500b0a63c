//! What an API knows of the apps: what app developers have to see, and nothing that opens anything.

use serde::Serialize;
use utoipa::ToSchema;

/// One configured app. Its credentials are none of it, nor where they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct App {
    /// What devices call it.
    pub name: String,
    /// `apns`, `fcm` or `log`; null where this process knows no more than the name.
    pub provider: Option<String>,
    /// Of APNs, `production` or `sandbox`: tokens of one are refused by the other.
    pub environment: Option<String>,
    /// Of APNs, the app's bundle id.
    pub bundle_id: Option<String>,
    /// `reference` where they stand in a file, `inline` where they stand in the configuration itself,
    /// `none` where the provider needs none; null where this process does not know.
    pub credentials: Option<String>,
}

impl App {
    /// One of which nothing is known but its name.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            provider: None,
            environment: None,
            bundle_id: None,
            credentials: None,
        }
    }
}
