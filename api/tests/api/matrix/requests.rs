//! How each operation is asked well: the one table that a new route adds a row to.
//!
//! A row is asked for anew before each request, so it may prepare what the request uses up. The
//! device [`DEVICE`] is registered, with [`TOKEN`] and following [`TOPIC`], before every request.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::stage::{APP, DEVICE, Stage, TOKEN, TOPIC, document};

/// A request that its operation answers well.
#[derive(Clone, Debug, Default)]
pub struct Request {
    places: BTreeMap<&'static str, String>,
    query: &'static str,
    pub headers: Vec<(&'static str, String)>,
    /// The body with its media type.
    pub body: Option<(&'static str, Vec<u8>)>,
}

/// Such a request, or nothing for an operation that no row is for.
#[expect(clippy::match_same_arms, reason = "a row stands with its resource")]
pub async fn good(operation: &str, stage: &Stage) -> Option<Request> {
    let plain = Request::default();
    Some(match operation {
        "livez" | "readyz" | "showContract" | "showDocs" => plain,
        // Devices.
        "showDevice" | "removeDevice" | "renewSecret" => plain.at("id", DEVICE),
        // With the token that is stored: that is how an installation proves itself.
        "putDevice" => plain.at("id", DEVICE).json(&document(TOKEN)),
        "followTopic" | "unfollowTopic" => plain.at("id", DEVICE).at("pattern", TOPIC),
        "confirmDevice" => plain.at("id", DEVICE).json(&any_nonce()),
        "listMissed" => plain.at("id", DEVICE).asking("?since=2026-01-01T00:00:00Z"),
        "testDevice" => plain.at("id", DEVICE),
        "testUser" => plain.at("user", "ada"),
        // Events.
        "postEvent" => plain.json(&json!({"id": "posted", "topics": [TOPIC], "title": "One"})),
        "showEvent" => plain.at("event", &stage.event().await),
        "showDelivery" => {
            let event = stage.event().await;
            plain.at("event", &event).at("device", DEVICE)
        }
        "followStream" => plain,
        // What another tenant posted on equal names is its own: `live.rs` tells them apart.
        "listEvents" => plain.asking("?topic=nobody.posts.here"),
        // What is followed.
        "importDevices" => {
            let mut line = document(TOKEN);
            line["id"] = DEVICE.into();
            let kind = "application/x-ndjson";
            Request {
                body: Some((kind, line.to_string().into_bytes())),
                ..plain
            }
        }
        "exportDevices" => plain,
        "showUser" | "removeUser" => plain.at("user", &stage.user().await),
        "listTopics" => plain,
        "askAudience" => plain.json(&json!({"topics": [TOPIC]})),
        // The system.
        "listApps" | "listLanes" | "listMembers" => plain,
        "showApp" => plain.at("app", APP),
        "showLane" | "resumeLane" => plain.at("lane", &stage.lane().await),
        "pauseLane" => {
            let lane = stage.lane().await;
            plain.at("lane", &lane).json(&json!({"for": "1h"}))
        }
        "listSources" => plain,
        "showSource" | "resumeSource" => plain.at("source", &stage.source().await),
        "pauseSource" => {
            let source = stage.source().await;
            plain.at("source", &source).json(&json!({"for": "1h"}))
        }
        // What another tenant changed by equal names is its own: `audit.rs` tells them apart.
        "listAudit" => plain.asking("?until=2026-01-01T00:00:00Z"),
        "listDeadLetters" => plain,
        "showDeadLetter" => plain.at("number", &stage.letter().await.to_string()),
        "replayDeadLetters" => {
            let number = stage.letter().await;
            plain.json(&json!({"letters": [number], "dry_run": true}))
        }
        _ => return None,
    })
}

/// The device waits for no answer: whatever is said is taken.
fn any_nonce() -> Value {
    json!({"nonce": "0".repeat(52)})
}

impl Request {
    /// Fills a place of the path.
    fn at(mut self, place: &'static str, value: &str) -> Self {
        self.places.insert(place, value.to_owned());
        self
    }

    /// Asks with parameters.
    fn asking(self, query: &'static str) -> Self {
        Self { query, ..self }
    }

    /// Sends JSON.
    fn json(mut self, body: &Value) -> Self {
        self.body = Some(("application/json", body.to_string().into_bytes()));
        self
    }

    /// The address.
    pub fn path(&self, template: &str) -> String {
        let mut path = template.to_owned();
        for (place, value) in &self.places {
            path = path.replace(&format!("{{{place}}}"), value);
        }
        assert!(
            !path.contains('{'),
            "nothing fills {path}: see matrix/requests.rs"
        );
        path + self.query
    }
}
