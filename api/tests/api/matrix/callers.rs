//! Everybody who could ask.

use std::time::Duration;

use fanfare_nats::key::{Key, Right, Tenant};
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;

use super::stage::{OTHER_DEVICE, Stage, TOPIC};
use crate::harness::eventually;

/// Of what kind a caller is: what the contract's `security` says something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A good key with one scope.
    Key(Right),
    /// A good key that may publish, but not on the topics of the request.
    KeyForOtherTopics,
    /// A good key of another tenant, with one scope.
    OfAnotherTenant(Right),
    /// The device that is meant, with its own secret.
    Itself,
    /// Another device of the same tenant.
    AnotherDevice,
    /// Somebody who shows nothing.
    Nobody,
    /// Somebody who shows what never was good, or is no longer.
    Ended,
}

/// Somebody who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    pub name: String,
    pub who: Who,
    /// What is in `Authorization`.
    pub shown: Option<String>,
}

#[expect(clippy::disallowed_methods, reason = "the tests' one clock")]
fn now() -> Timestamp {
    Timestamp::now()
}

fn scope(right: Right) -> String {
    let word = right.as_str();
    if right == Right::Publish {
        format!("{word}:{TOPIC}")
    } else {
        word.to_owned()
    }
}

fn bearer(secret: &str) -> String {
    format!("Bearer {secret}")
}

/// A key, changed before it is stored.
async fn make(stage: &Stage, tenant: &str, scope: &str, change: impl FnOnce(&mut Key)) -> String {
    let tenant = Tenant::parse(tenant).unwrap();
    let scopes = vec![scope.parse().unwrap()];
    let (mut key, secret) = Key::create(tenant, scope, scopes, None, now()).unwrap();
    change(&mut key);
    stage.api.broker.create_key(&key).await.unwrap();
    bearer(secret.reveal())
}

impl Stage {
    /// Everybody; their keys are known to the API.
    pub async fn callers(&self) -> Vec<Caller> {
        let mut callers = self.keys().await;
        callers.extend(self.ended().await);
        let mut add = |name: &str, who, shown| {
            let name = name.to_owned();
            callers.push(Caller { name, who, shown });
        };
        add("no key at all", Who::Ended, Some("Bearer x".to_owned()));
        add("nobody", Who::Nobody, None);
        add("itself", Who::Itself, None);
        let other = self.register(OTHER_DEVICE).await;
        add("another device", Who::AnotherDevice, Some(other));

        // They are read in the order in which they were made.
        let last = make(self, "main", "admin", |_| {}).await;
        let headers = [("authorization", last.as_str())];
        let ask = async || {
            let probe = "/v1/devices/nobody";
            self.api.send(Method::GET, probe, &headers, None).await
        };
        eventually(ask, |it| it.status != 401).await;
        callers
    }

    /// Good keys: each scope, of this and of another tenant.
    async fn keys(&self) -> Vec<Caller> {
        let mut callers = Vec::new();
        let mut add = |name: String, who, shown| {
            let shown = Some(shown);
            callers.push(Caller { name, who, shown });
        };
        for right in Right::ALL {
            let scope = scope(right);
            let shown = make(self, "main", &scope, |_| {}).await;
            let other = make(self, "other", &scope, |_| {}).await;
            let name = format!("{scope} of another tenant");
            add(scope, Who::Key(right), shown);
            add(name, Who::OfAnotherTenant(right), other);
        }
        let scope = "events:publish:other.>";
        let other = make(self, "main", scope, |_| {}).await;
        add(scope.to_owned(), Who::KeyForOtherTopics, other);
        callers
    }

    /// Keys that are good no longer, or never were.
    async fn ended(&self) -> Vec<Caller> {
        let expired = make(self, "main", "admin", |key| {
            key.expires_at = Some(now() - Duration::from_secs(1));
        });
        let revoked = make(self, "main", "admin", |key| {
            key.revoked_at = Some(now() - Duration::from_secs(1));
        });
        let replaced = make(self, "main", "admin", |key| {
            key.rotate(SignedDuration::ZERO, now());
        });
        let never = bearer(&format!("fanfare_main_0123456789_{}", "0".repeat(52)));
        let ended = [
            ("an expired key", expired.await),
            ("a revoked key", revoked.await),
            ("a replaced key", replaced.await),
            ("a key that never was", never),
        ];
        let ended = ended.map(|(name, shown)| Caller {
            name: name.to_owned(),
            who: Who::Ended,
            shown: Some(shown),
        });
        ended.into()
    }
}
