//! The configuration file that joins a notifier to the doubles and a fetcher to the feeds.

use fanfare_sim::Sim;

use super::{Apps, Setup};

/// The bundle of the app `beta`.
pub(super) const SECOND_BUNDLE: &str = "org.example.beta";

/// As text, for every role.
pub(super) fn text(sim: &Sim, setup: &Setup) -> String {
    let at = sim.whereabouts();
    let Some(apns) = at.apns else {
        panic!("the pipeline needs the double of APNs");
    };
    let Setup {
        concurrency,
        window,
        stride,
        extra,
        ..
    } = setup;
    let second = second_app(sim, setup.apps);
    let ack_wait = setup.ack_wait.map_or_else(String::new, |it| {
        format!("[nats]\nack_wait_ms = {}\n", it.as_millis())
    });
    let (ca, key) = (at.ca.display(), at.apns_key.display());
    let (key_id, team_id) = (&at.apns_key_id, &at.apns_team_id);
    let (rest, socket) = (sim.quakes_url(), sim.quakes_socket_url());
    format!(
        r#"
{ack_wait}
[notifier]
concurrency = {concurrency}
window = {window}
stride = {stride}

[[app]]
name = "ios"
provider = "apns"
endpoint = "https://{apns}"
ca_file = "{ca}"
key_file = "{key}"
key_id = "{key_id}"
team_id = "{team_id}"
bundle_id = "org.example.app"

[[app]]
{second}

[[source]]
name = "quakes"
when = "item.properties.type == 'earthquake'"
id = "{{{{ item.id }}}}"
time = "{{{{ item.properties.time | from_ms }}}}"
topics = ["quakes.{{{{ item.properties.net | slug }}}}"]
title = "{{{{ item.id }}}}"

[[source.input]]
http = "{rest}"
every = "1s"
items = "$.features[*]"
allow_private = true

[[source.input]]
websocket = "{socket}"
items = "$.data"
allow_private = true
{extra}
"#
    )
}

/// The second app, whichever it is.
fn second_app(sim: &Sim, apps: Apps) -> String {
    let at = sim.whereabouts();
    let (Some(first), Some(second)) = (at.apns, at.fcm) else {
        panic!("the pipeline needs both doubles");
    };
    match apps {
        Apps::Both => format!(
            r#"name = "android"
provider = "fcm"
endpoint = "https://{second}"
ca_file = "{}"
service_account_file = "{}""#,
            at.ca.display(),
            at.fcm_service_account.display()
        ),
        Apps::Twins => format!(
            r#"name = "beta"
provider = "apns"
endpoint = "https://{first}"
ca_file = "{}"
key_file = "{}"
key_id = "{}"
team_id = "{}"
bundle_id = "{SECOND_BUNDLE}""#,
            at.ca.display(),
            at.apns_key.display(),
            at.apns_key_id,
            at.apns_team_id
        ),
    }
}
