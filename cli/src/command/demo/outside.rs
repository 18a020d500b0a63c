//! The outside world of the demo: a `fanfare sim` process, steered through its control endpoint.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use fanfare_nats_server::Environment;
use fanfare_sim::ledger::Counts;
use fanfare_sim::{Asked, Emission, Whereabouts};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::actor::{self, Actor};
use super::configuration::{self, DOCUMENT, SOCKET};

/// The sim, running.
pub(super) struct Outside {
    actor: Actor,
    at: Whereabouts,
    client: reqwest::Client,
}

/// What the sim says of itself.
#[derive(Deserialize)]
pub(super) struct Stats {
    /// Of the ledger.
    pub(super) ledger: Counts,
    feeds: BTreeMap<String, Asked>,
    is_feed_over: Option<bool>,
}

impl Stats {
    /// How many fetchers have opened the socket.
    pub(super) fn n_sockets(&self) -> u64 {
        self.feeds.get(SOCKET).map_or(0, |it| it.requests)
    }

    /// Whether every quake and revision was shown.
    pub(super) fn is_feed_over(&self) -> bool {
        self.is_feed_over.unwrap_or(true)
    }
}

/// A quake as a document of the feed shows it: its id and magnitude.
pub(super) type Shown = (String, f64);

impl Outside {
    /// Starts the process and waits until it serves.
    pub(super) async fn start(
        environment: &Environment,
        folder: &Path,
        client: reqwest::Client,
    ) -> anyhow::Result<Self> {
        let file = folder.join("sim.toml");
        let text = toml::to_string(&configuration::sim(&folder.join("sim")));
        let text = text.context("the sim's configuration cannot be written")?;
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        let launch = actor::launch(environment)?.arg("sim").arg(&file);
        let actor = Actor::start("sim", launch, folder)?;
        let at = actor.printed().await?;
        Ok(Self { actor, at, client })
    }

    /// Where everything is.
    pub(super) fn at(&self) -> &Whereabouts {
        &self.at
    }

    /// Its process.
    pub(super) fn actor(&self) -> &Actor {
        &self.actor
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let url = format!("http://{}{path}", self.at.http);
        let answer = self.client.get(url).send().await?.error_for_status()?;
        let value = serde_json::from_slice(&answer.bytes().await?);
        value.with_context(|| format!("the sim's answer to {path} cannot be read"))
    }

    /// Its numbers.
    pub(super) async fn stats(&self) -> anyhow::Result<Stats> {
        self.get("/stats").await
    }

    /// What the feed has shown since it moves, in order.
    pub(super) async fn emissions(&self) -> anyhow::Result<Vec<Emission>> {
        self.get("/control/feed/emissions").await
    }

    /// What the document of the feed shows now.
    pub(super) async fn shown(&self) -> anyhow::Result<Vec<Shown>> {
        let document: Value = self.get(DOCUMENT).await?;
        let features = document.get("features").and_then(Value::as_array);
        let read = |it: &Value| {
            let id = it.get("id")?.as_str()?.to_owned();
            Some((id, it.get("properties")?.get("mag")?.as_f64()?))
        };
        let features = features.context("the feed has no list")?;
        Ok(features.iter().filter_map(read).collect())
    }

    /// Lets the feed's clock run so fast.
    pub(super) async fn set_speed(&self, speed: f64) -> anyhow::Result<()> {
        let url = format!("http://{}/control/feed/advance", self.at.http);
        let request = self
            .client
            .post(url)
            .body(json!({ "speed": speed }).to_string());
        request.send().await?.error_for_status()?;
        Ok(())
    }
}
