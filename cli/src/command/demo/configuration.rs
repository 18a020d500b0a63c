//! The configuration files of the demo: one for all roles, one for the sim.

use std::path::Path;
use std::time::Duration;

use fanfare_nats::Lane;
use fanfare_nats::event::SourceName;
use fanfare_nats::permissions::Scope;
use fanfare_nats::subject::Names;
use fanfare_sim::{Latency, QuakesConfig, SimConfig, Whereabouts};

/// How long the doubles take to answer.
pub(super) const LATENCY: Duration = Duration::from_millis(40);
/// Requests in flight of one notifier.
pub(super) const CONCURRENCY: u64 = 64;
/// `W`: the most sends that the death of one notifier may repeat.
pub(super) const WINDOW: u64 = 96;
/// A receipt after so many outcomes.
const STRIDE: u64 = 32;
/// Short, so that a take-over is seen; the shipped value is 15 s.
pub(super) const ACK_WAIT: Duration = Duration::from_secs(3);
/// The steps that make a quake an event.
pub(super) const LEVELS: [f64; 3] = [4.5, 6.0, 7.0];
/// How long an event may be sent.
pub(super) const EXPIRES_IN: Duration = Duration::from_hours(6);
/// What the table shows before the story begins, in seconds: the baseline. Right behind it
/// us7000pwx1 rises through all levels.
pub(super) const START_S: f64 = 4770.0;
/// Where us7000pwx1 has had its say.
pub(super) const RISEN_S: f64 = 6270.0;
/// Where the table ends.
pub(super) const END_S: f64 = 59.1 * 3600.0;
const SOURCE: &str = "quakes";
/// One app at each double.
const APPS: [&str; 2] = ["ios", "android"];
/// Where the sim serves them as a document.
pub(super) const DOCUMENT: &str = "/quakes/all_day.geojson";
/// Where as frames.
pub(super) const SOCKET: &str = "/quakes/ws";

/// A sim whose feed stands still until it is told to move.
pub(super) fn sim(folder: &Path) -> SimConfig {
    let mut config = SimConfig::in_folder(folder);
    config.upstream.quakes = Some(QuakesConfig {
        start_s: START_S,
        speed: 0.0,
    });
    let latency = Latency::fixed(LATENCY);
    if let (Some(apns), Some(fcm)) = (&mut config.apns, &mut config.fcm) {
        (apns.latency, fcm.latency) = (latency, latency);
    }
    config
}

/// The lanes and the source that the broker's lists of permissions name.
pub(super) fn scope() -> Scope {
    let lanes = APPS.iter().flat_map(|app| {
        let lane = move |urgency| Lane::parse(&format!("{app}-{urgency}"));
        ["urgent", "bulk"].into_iter().filter_map(lane)
    });
    Scope {
        lanes: lanes.collect(),
        sources: SourceName::parse(SOURCE).into_iter().collect(),
        ..Scope::any(Names::default())
    }
}

/// The roles' file; who connects is told by each role's environment.
pub(super) fn roles(url: &str, replicas: usize, at: &Whereabouts) -> Option<String> {
    let parts = [own(url, replicas), apps(at)?, source(at)];
    Some(parts.join("\n"))
}

/// The processes themselves.
fn own(url: &str, replicas: usize) -> String {
    let ack_wait_ms = ACK_WAIT.as_millis();
    format!(
        r#"# Made by `fanfare demo`.
[nats]
url = "{url}"
replicas = {replicas}
manage = "verify"
ack_wait_ms = {ack_wait_ms}

[log]
format = "json"

[admin]
listen = "127.0.0.1:0"

# Nobody but this demo: the API asks for no keys, as it would as soon as there is one.
[api]
listen = "127.0.0.1:0"
keys = "until_first"

[notifier]
concurrency = {CONCURRENCY}
window = {WINDOW}
stride = {STRIDE}
"#
    )
}

/// The apps.
fn apps(at: &Whereabouts) -> Option<String> {
    let (apns, fcm) = (at.apns?, at.fcm?);
    let [ios, android] = APPS;
    let (ca, key) = (at.ca.display(), at.apns_key.display());
    let account = at.fcm_service_account.display();
    let (key_id, team_id) = (&at.apns_key_id, &at.apns_team_id);
    let bundle_id = at.apns_topics.first()?;
    Some(format!(
        r#"[[app]]
name = "{ios}"
provider = "apns"
endpoint = "https://{apns}"
ca_file = '{ca}'
key_file = '{key}'
key_id = "{key_id}"
team_id = "{team_id}"
bundle_id = "{bundle_id}"
timeout = "2500ms"

[[app]]
name = "{android}"
provider = "fcm"
endpoint = "https://{fcm}"
ca_file = '{ca}'
service_account_file = '{account}'
timeout = "2500ms"
"#
    ))
}

/// The quakes, over both transports.
fn source(at: &Whereabouts) -> String {
    let feed = at.http;
    let [low, middle, high] = LEVELS;
    let expires_in_s = EXPIRES_IN.as_secs();
    format!(
        r#"[[source]]
name = "{SOURCE}"
when = "item.properties.type == 'earthquake'"
id = "{{{{ item.id }}}}"
time = "{{{{ item.properties.time | from_ms }}}}"
expires_in = "{expires_in_s}s"
level = {{ levels = [{low:?}, {middle:?}, {high:?}], of = "{{{{ item.properties.mag }}}}" }}
topics = ["quakes.{{{{ item.properties.net }}}}"]
title = "M {{{{ item.properties.mag }}}} {{{{ item.properties.place }}}}"
url = "{{{{ item.properties.url }}}}"

[source.data]
mag = "{{{{ item.properties.mag }}}}"
net = "{{{{ item.properties.net }}}}"
lon = "{{{{ item.geometry.coordinates[0] }}}}"
lat = "{{{{ item.geometry.coordinates[1] }}}}"

[[source.input]]
http = "http://{feed}{DOCUMENT}"
every = "1s"
items = "$.features[*]"
allow_private = true

[[source.input]]
websocket = "ws://{feed}{SOCKET}"
items = "$.data"
allow_private = true
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sims_file_reads_back_as_it_was_meant() {
        let config = sim(Path::new("/x"));
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<SimConfig>(&text).unwrap(), config);
    }
}
