//! A sim, and apps that lead to it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "support of tests")]

use std::collections::BTreeMap;
use std::time::Duration;

use fanfare_notifier::Keepalive;
use fanfare_notifier::notification::{Notification, Target, Urgency};
use fanfare_notifier::outcome::{Outcome, Scope};
use fanfare_notifier::provider::{App, AppConfig, ProviderKind, Resources};
use fanfare_sim::ledger::{self, Entry, Request};
use fanfare_sim::script::{Answer, Rule};
use fanfare_sim::{RenewalsPer, Sim, SimConfig};
use jiff::Timestamp;
use serde_json::Map;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A token as APNs and FCM both take it.
pub(crate) const TOKEN: &str = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0";

pub(crate) struct Stage {
    pub(crate) sim: Sim,
    pub(crate) with: Resources,
    _folder: TempDir,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut SimConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = SimConfig::in_folder(folder.path());
        if let Some(apns) = &mut config.apns {
            apns.cleartext_port = Some(0);
            apns.renewals_per = RenewalsPer::Nothing;
        }
        change(&mut config);
        let sim = Sim::start(config).await.unwrap();
        let with = Resources::new(TaskTracker::new(), CancellationToken::new());
        Self {
            sim,
            with,
            _folder: folder,
        }
    }

    /// Faults are noticed sooner than in real life.
    pub(crate) fn watchful(mut self) -> Self {
        self.with.keepalive = Keepalive {
            busy: Duration::from_millis(100),
            idle: Duration::from_mins(1),
            timeout: Duration::from_millis(200),
        };
        self
    }

    pub(crate) fn apns_config(&self) -> AppConfig {
        let at = self.sim.whereabouts();
        AppConfig {
            key_file: Some(at.apns_key.clone()),
            key_id: Some(at.apns_key_id.as_str().into()),
            team_id: Some(at.apns_team_id.as_str().into()),
            bundle_id: Some("org.example.app".into()),
            endpoint: Some(format!("https://localhost:{}", at.apns.unwrap().port()).into()),
            ca_file: Some(at.ca.clone()),
            ..AppConfig::new("ios", ProviderKind::Apns)
        }
    }

    pub(crate) fn fcm_config(&self) -> AppConfig {
        let at = self.sim.whereabouts();
        AppConfig {
            service_account_file: Some(at.fcm_service_account.clone()),
            endpoint: Some(format!("https://localhost:{}", at.fcm.unwrap().port()).into()),
            ca_file: Some(at.ca.clone()),
            ..AppConfig::new("android", ProviderKind::Fcm)
        }
    }

    pub(crate) fn open(&self, config: &AppConfig) -> App {
        App::open(config, &self.with, now()).unwrap()
    }

    pub(crate) fn apns(&self) -> App {
        self.open(&self.apns_config())
    }

    pub(crate) fn apns_within(&self, timeout: Duration) -> App {
        self.open(&AppConfig {
            timeout: Some(timeout),
            ..self.apns_config()
        })
    }

    pub(crate) fn fcm(&self) -> App {
        self.open(&self.fcm_config())
    }

    /// Plays a fault once.
    pub(crate) fn once(&self, answer: Answer) {
        self.sim.add_rule(Rule {
            count: Some(1),
            ..Rule::new(answer)
        });
    }

    /// What the doubles saw, in order.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.sim.ledger().flush().unwrap();
        let path = self.sim.whereabouts().ledger.clone().unwrap();
        ledger::read(&path)
            .unwrap()
            .filter_map(|entry| match entry.unwrap() {
                Entry::Request(request) => Some(request),
                Entry::Answered { .. } => None,
            })
            .collect()
    }

    /// Ends the connections and sees that no task of ours is left.
    pub(crate) async fn end(self, app: App) {
        self.with.stop.cancel();
        self.with.tasks.close();
        drop(app);
        let ended = tokio::time::timeout(Duration::from_secs(5), self.with.tasks.wait()).await;
        assert!(ended.is_ok(), "{} tasks are left", self.with.tasks.len());
        self.sim.stop().await;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the doubles check our tokens by the real clock"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Waits for the next millisecond: the doubles compare the age of credentials and rules by it.
pub(crate) async fn a_moment_later() {
    let before = now().as_millisecond();
    while now().as_millisecond() <= before {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn quake() -> Notification {
    Notification {
        event_id: "0f".repeat(16).into(),
        screen_id: "ab".repeat(16).into(),
        level: "s6".into(),
        title: "M 6.1 Honshu".into(),
        body: Some("10 km deep".into()),
        url: Some("https://example.org/q/1".into()),
        image: None,
        data: Map::new(),
        challenge: None,
        urgency: Urgency::Urgent,
        expires_at: now() + jiff::SignedDuration::from_hours(1),
        sound: Some("default".into()),
        badge: None,
        thread: None,
        interruption_level: None,
        overrides: BTreeMap::new(),
    }
}

pub(crate) async fn push(app: &App) -> Outcome {
    push_to(app, TOKEN).await
}

pub(crate) async fn push_to(app: &App, token: &str) -> Outcome {
    let what = app.prepare(&quake()).unwrap();
    app.attempt(
        &Target {
            device: "d1",
            token,
        },
        &what,
        now(),
    )
    .await
}

#[track_caller]
pub(crate) fn assert_accepted(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
}

/// An unavailability, in short.
#[track_caller]
pub(crate) fn unavailable(outcome: &Outcome) -> (Scope, bool, Option<Duration>) {
    let Outcome::Unavailable {
        scope,
        maybe_delivered,
        retry_after,
        ..
    } = outcome
    else {
        panic!("{outcome:?}")
    };
    (*scope, *maybe_delivered, *retry_after)
}
