//! What an API is told of the apps that stand beside it in the file.

use fanfare_api::App;
use fanfare_notifier::provider::{AppConfig, Environment, ProviderKind};

/// What app developers may see of an app.
pub(super) fn told(app: &AppConfig) -> App {
    let in_file = [
        app.key_file.is_some(),
        app.certificate_file.is_some(),
        app.service_account_file.is_some(),
    ];
    let (provider, environment, credentials) = match app.provider {
        ProviderKind::Apns => ("apns", Some(environment(app)), given(in_file)),
        ProviderKind::Fcm => ("fcm", None, given(in_file)),
        ProviderKind::Log => ("log", None, "none"),
    };
    App {
        name: app.name.to_string(),
        provider: Some(provider.to_owned()),
        environment: environment.map(str::to_owned),
        bundle_id: app.bundle_id.as_ref().map(ToString::to_string),
        credentials: Some(credentials.to_owned()),
    }
}

fn environment(app: &AppConfig) -> &'static str {
    match app.environment.unwrap_or_default() {
        Environment::Production => "production",
        Environment::Sandbox => "sandbox",
    }
}

/// Without credentials an app that needs some is refused at the start.
fn given(in_file: [bool; 3]) -> &'static str {
    if in_file.contains(&true) {
        "reference"
    } else {
        "inline"
    }
}
