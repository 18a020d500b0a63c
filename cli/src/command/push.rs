//! `fanfare push`: a test notification through the whole pipeline, to whoever follows a topic.
//!
//! Every device follows two reserved topics, its own and its user's, so a message to one of them
//! is an event like any other.
#![expect(
    clippy::doc_markdown,
    reason = "comments on flags are help texts, shown as they are"
)]

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use fanfare_nats::event::{Content, SourceName};
use fanfare_nats::policy::{Policy, TopicPolicies, Wish};
use fanfare_nats::{DeviceId, Event, Level, Topic, Urgency};
use fanfare_nats_server::Environment;
use rand::Rng;

use super::{Common, reach};
use crate::connect::NatsFlags;
use crate::exit::Failure;
use crate::roles::{self, Process};

/// A test that comes an hour late helps nobody.
const EXPIRES_IN: Duration = Duration::from_hours(1);

#[derive(Args)]
pub(crate) struct Push {
    #[command(flatten)]
    to: To,
    #[command(flatten)]
    nats: NatsFlags,
    /// User of the connection [env: NATS_USER]
    #[arg(long, help_heading = "NATS connection (as in the nats command)")]
    nats_user: Option<String>,
    /// Password of the connection [env: NATS_PASSWORD]
    #[arg(long, help_heading = "NATS connection (as in the nats command)")]
    nats_password: Option<String>,
    /// The line in bold
    #[arg(long, default_value = "fanfare")]
    title: String,
    /// The text below it
    #[arg(long, default_value = "This is a test.")]
    body: String,
    /// What a tap opens
    #[arg(long)]
    url: Option<String>,
    /// Behind everything else instead of at once
    #[arg(long)]
    bulk: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct To {
    /// One device
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// All devices of one user
    #[arg(long)]
    user: Option<String>,
    /// All devices that follow a topic
    #[arg(long)]
    topic: Option<String>,
}

impl To {
    fn topic(&self) -> Result<Topic, Failure> {
        let usage = |error: &dyn std::fmt::Display| Failure::Usage(error.to_string());
        match (&self.device, &self.user, &self.topic) {
            (Some(device), _, _) => {
                let device = DeviceId::parse_stored(device).map_err(|error| usage(&error))?;
                Ok(Topic::of_device(&device))
            }
            (None, Some(user), _) => Ok(Topic::of_user(user)),
            (None, None, Some(topic)) => Topic::parse_stored(topic).map_err(|error| usage(&error)),
            (None, None, None) => Err(Failure::Usage("name a device, a user or a topic".into())),
        }
    }
}

impl Push {
    pub(super) async fn run(
        self,
        common: &Common,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let topic = self.to.topic()?;
        let config = common.load(environment)?;
        let nats = self.nats.clone();
        let nats = nats.with_user(self.nats_user.clone(), self.nats_password.clone());
        let options = reach::options(&nats, &config, environment, "push")?;
        let process = Process::new(&config, environment);
        let broker = roles::connect(options, "push", &process).await?;
        let event = self.event(topic.clone(), &config.fetcher.topic_policies());
        broker
            .publish(&event, false)
            .await
            .context("the event is not stored")?;
        broker.flush().await;
        println!("event {} is stored for {topic}", event.id());
        Ok(())
    }

    /// As its topic is delivered, but for the expiry.
    fn event(self, topic: Topic, policies: &TopicPolicies) -> Event {
        let own = Wish {
            urgency: self.bulk.then_some(Urgency::Bulk),
            expires_in: Some(EXPIRES_IN),
            ..Wish::default()
        };
        let topics = vec![topic];
        let Policy {
            retry,
            expires_in,
            guarantee,
            urgency,
        } = policies.decide(own, &topics);
        Event {
            source: SourceName::api(),
            item: format!("push-{:016x}", rand::rng().random::<u64>()),
            level: Level::First,
            topics,
            kind: "fanfare.push".to_owned(),
            occurred_at: None,
            expires_at: crate::clock::now() + expires_in,
            urgency,
            guarantee,
            retry,
            digest: None,
            traceparent: None,
            content: Content {
                title: self.title,
                body: Some(self.body),
                url: self.url,
                ..Content::default()
            },
        }
    }
}
