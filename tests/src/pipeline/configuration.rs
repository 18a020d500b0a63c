//! The configuration file that joins a notifier to the doubles and a fetcher to the feeds.

use fanfare_sim::Sim;

use super::Setup;

/// As text, for every role.
pub(super) fn text(sim: &Sim, setup: &Setup) -> String {
    let at = sim.whereabouts();
    let (Some(apns), Some(fcm)) = (at.apns, at.fcm) else {
        panic!("the pipeline needs both doubles");
    };
    let Setup {
        concurrency,
        window,
        stride,
        ..
    } = setup;
    let (ca, key, account) = (
        at.ca.display(),
        at.apns_key.display(),
        &at.fcm_service_account,
    );
    let (key_id, team_id, account) = (&at.apns_key_id, &at.apns_team_id, account.display());
    let (rest, socket) = (sim.quakes_url(), sim.quakes_socket_url());
    format!(
        r#"
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
name = "android"
provider = "fcm"
endpoint = "https://{fcm}"
ca_file = "{ca}"
service_account_file = "{account}"

[[source]]
name = "quakes"
when = "item.properties.type == 'earthquake'"
id = "{{{{ item.id }}}}"
time = "{{{{ item.properties.time | from_ms }}}}"
topics = ["quakes.{{{{ item.properties.net | slug }}}}"]
title = "M {{{{ item.properties.mag }}}} {{{{ item.properties.place }}}}"

[[source.input]]
http = "{rest}"
every = "1s"
items = "$.features[*]"
allow_private = true

[[source.input]]
websocket = "{socket}"
items = "$.data"
allow_private = true
"#
    )
}
