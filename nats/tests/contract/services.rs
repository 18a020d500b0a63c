//! Running roles as micro services: other people's tools find them and read their figures, and an
//! answer goes to an operator's inbox or nowhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Subscriber};
use fanfare_nats::members::TTL;
use fanfare_nats::permissions::{Role, Scope, users};
use fanfare_nats::presence::Presence;
use fanfare_nats::service::Service;
use fanfare_nats::stream::Topology;
use fanfare_nats::subject::Names;
use fanfare_nats::testing::{TestServer, binary};
use fanfare_nats::{Broker, ConnectOptions, Metrics, Readiness};
use fanfare_nats_server::{Options, Server};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::support::{eventually, lane, usgs};

const ROLES: [Role; 3] = [Role::Fetcher, Role::Notifier, Role::Api];

fn options() -> Options {
    let scope = Scope {
        lanes: vec![lane("ios")],
        sources: vec![usgs()],
        ..Scope::any(Names::default())
    };
    let users = users(&scope, |role| format!("\"{}\"", password(role)));
    Options {
        extra: format!("authorization {{ users: {users} }}\n"),
        ..Options::ephemeral()
    }
}

fn password(role: Role) -> String {
    format!("secret-of-{}", role.name())
}

/// One of the roles, connected as its user, and its part as a service.
struct Actor {
    role: Role,
    broker: Broker,
    metrics: Metrics,
    readiness: Readiness,
    presence: Presence,
    stop: CancellationToken,
}

struct Stage {
    actors: Vec<Actor>,
    auditor: Broker,
    operator: Client,
}

async fn connect(url: &str, replicas: usize, role: Role) -> (Broker, Metrics, Readiness) {
    let options = ConnectOptions {
        servers: url.split(',').map(str::to_owned).collect(),
        name: format!("fanfare-{}", role.name()),
        node: "n1".to_owned(),
        host: "here".to_owned(),
        weight: 3,
        user: Some((role.name().to_owned(), password(role))),
        inbox_prefix: role.inbox_prefix(),
        replicas,
        ..ConnectOptions::default()
    };
    let (metrics, readiness) = (Metrics::default(), Readiness::new());
    let broker = Broker::connect(options, metrics.clone(), readiness.clone()).await;
    (broker.unwrap(), metrics, readiness)
}

impl Stage {
    async fn set(url: &str, replicas: usize) -> Self {
        let (owner, _, _) = connect(url, replicas, Role::Owner).await;
        let topology = Topology::new(replicas, vec![lane("ios")]);
        owner.ensure(&topology).await.unwrap();
        let mut actors = Vec::new();
        for role in ROLES {
            let (broker, metrics, readiness) = connect(url, replicas, role).await;
            let stop = CancellationToken::new();
            let service = Service {
                role: role.name(),
                description: "d",
                metadata: BTreeMap::from([("about".to_owned(), role.name().to_owned())]),
                figures: Arc::new(move || json!({ "role": role.name(), "n": 7 })),
            };
            let (presence, _) = broker.appear(service, stop.clone());
            actors.push(Actor {
                role,
                broker,
                metrics,
                readiness,
                presence,
                stop,
            });
        }
        let operator = async_nats::ConnectOptions::new()
            .user_and_password("ops".to_owned(), password(Role::Ops))
            .custom_inbox_prefix("_INBOX_ops")
            .connect(url.split(',').collect::<Vec<_>>())
            .await;
        Self {
            actors,
            auditor: connect(url, replicas, Role::Auditor).await.0,
            operator: operator.unwrap(),
        }
    }

    /// Asks until so many answer; the subscriptions of a service are not confirmed to it.
    async fn ask(&self, subject: &str, n: usize) -> Vec<Value> {
        eventually(async || {
            let inbox = self.operator.new_inbox();
            let mut answers = self.operator.subscribe(inbox.clone()).await.unwrap();
            let asked = self
                .operator
                .publish_with_reply(subject.to_owned(), inbox, "".into());
            asked.await.unwrap();
            let told = listen(&mut answers, n).await;
            if told.len() == n { Ok(told) } else { Err(told) }
        })
        .await
    }

    fn n_violations(&self) -> u64 {
        self.actors
            .iter()
            .map(|it| it.metrics.violations.get())
            .sum()
    }
}

async fn listen(answers: &mut Subscriber, n: usize) -> Vec<Value> {
    let mut told = Vec::new();
    while told.len() < n {
        let next = tokio::time::timeout(Duration::from_secs(2), answers.next()).await;
        let Ok(Some(message)) = next else {
            break;
        };
        if !message.payload.is_empty() {
            told.push(serde_json::from_slice(&message.payload).unwrap());
        }
    }
    told
}

#[tokio::test]
async fn operators_find_every_role_on_one_server() {
    let server = Server::start(&binary().await, options()).await.unwrap();
    all(&server.url(), 1).await;
}

#[tokio::test]
async fn operators_find_every_role_on_three_servers() {
    let server = TestServer::start_three_as(&options()).await;
    all(&server.url(), 3).await;
}

async fn all(url: &str, replicas: usize) {
    let stage = Stage::set(url, replicas).await;
    found(&stage).await;
    seen_by_others(&stage).await;
    nothing_is_answered_elsewhere(&stage).await;
    assert_eq!(stage.n_violations(), 0);
    goodbye(stage).await;
}

async fn found(stage: &Stage) {
    let mut names: Vec<String> = (stage.ask("$SRV.PING", 3).await.iter())
        .map(|it| it["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["fanfare-api", "fanfare-fetcher", "fanfare-notifier"]
    );
    for role in ROLES {
        let name = format!("fanfare-{}", role.name());
        let info = stage.ask(&format!("$SRV.INFO.{name}"), 1).await.remove(0);
        assert_eq!(info["metadata"]["node"], "n1");
        assert_eq!(info["metadata"]["host"], "here");
        assert_eq!(info["metadata"]["commit"], "unknown");
        assert_eq!(info["metadata"]["about"], role.name());
        let status = format!("fanfare.ctl.{}.n1.status", role.name());
        assert_eq!(info["endpoints"][0]["subject"], status.as_str());
        let told = stage.ask(&status, 1).await.remove(0);
        assert_eq!(told["figures"]["n"], 7);
        assert_eq!(told["ready"], true);
        let figures = stage
            .ask(&format!("$SRV.STATS.{name}.n1"), 1)
            .await
            .remove(0);
        let endpoint = &figures["endpoints"][0];
        assert_eq!(endpoint["data"]["figures"]["role"], role.name());
        assert!(endpoint["num_requests"].as_u64() >= Some(1), "{endpoint}");
    }
    let notifier = &stage.actors[1];
    notifier.readiness.unmet("index", "loading");
    let told = stage
        .ask("fanfare.ctl.notifier.n1.status", 1)
        .await
        .remove(0);
    assert_eq!(told["ready"], false);
    let why = told["waits_for"].as_str().unwrap();
    assert!(why.starts_with("index: loading (since "), "{why}");
    notifier.readiness.met("index");
}

async fn seen_by_others(stage: &Stage) {
    let seen = eventually(async || {
        let seen = stage.auditor.members_seen("*").await.unwrap();
        if seen.len() == 3 { Ok(seen) } else { Err(seen) }
    });
    for (seen, role) in seen.await.iter().zip(["api", "fetcher", "notifier"]) {
        let member = &seen.member;
        assert_eq!((member.role.as_str(), member.node.as_str()), (role, "n1"));
        assert_eq!((member.host.as_str(), member.weight), ("here", 3));
        assert_eq!(member.version, env!("CARGO_PKG_VERSION"));
        let age = super::support::now().duration_since(seen.renewed);
        assert!(age.as_secs_f64().abs() < TTL.as_secs_f64(), "{age}");
    }
}

/// Whoever asks chooses where the answer goes, and the server does not check it.
async fn nothing_is_answered_elsewhere(stage: &Stage) {
    let n_before = stage.auditor.n_messages().await.unwrap();
    let mut overheard = stage.operator.subscribe("fanfare.event.>").await.unwrap();
    for elsewhere in [
        "fanfare.task.ios-urgent.x.0",
        "fanfare.plan.x",
        "fanfare.event.usgs.x.first",
        "$KV.fanfare_devices.d.x",
        "_INBOX_notifier.x",
        "$JS.API.STREAM.DELETE.FANFARE_EVENTS",
    ] {
        for subject in [
            "$SRV.PING",
            "$SRV.STATS.fanfare-notifier",
            "fanfare.ctl.notifier.n1.status",
            "fanfare.ctl.fetcher.n1.status",
            "fanfare.ctl.api.n1.status",
        ] {
            let asked = stage
                .operator
                .publish_with_reply(subject, elsewhere, "".into());
            asked.await.unwrap();
        }
    }
    // Each service has counted what it refused, so it has judged all of it.
    for (role, least) in [("notifier", 18), ("fetcher", 12), ("api", 12)] {
        let subject = format!("$SRV.STATS.fanfare-{role}.n1");
        eventually(async || {
            let told = stage.ask(&subject, 1).await.remove(0);
            let n_errors = told["endpoints"][0]["num_errors"].as_u64().unwrap();
            if n_errors >= least {
                Ok(())
            } else {
                Err(n_errors)
            }
        })
        .await;
    }
    for actor in &stage.actors {
        actor.broker.flush().await;
    }
    assert_eq!(stage.auditor.n_messages().await.unwrap(), n_before);
    assert_eq!(stage.auditor.n_devices().await.unwrap(), 0);
    assert_eq!(listen(&mut overheard, 1).await, Vec::<Value>::new());
}

/// A member goes at the stop; its service stays until the role has ended.
async fn goodbye(stage: Stage) {
    for actor in &stage.actors {
        actor.stop.cancel();
    }
    eventually(
        async || match stage.auditor.members_seen("*").await.unwrap() {
            none if none.is_empty() => Ok(()),
            some => Err(some),
        },
    )
    .await;
    assert_eq!(stage.ask("$SRV.PING", 3).await.len(), 3);
    let Stage {
        actors, operator, ..
    } = stage;
    for actor in actors {
        actor.presence.end().await;
        actor.broker.flush().await;
        let subject = format!("fanfare.ctl.{}.n1.status", actor.role.name());
        eventually(
            async || match operator.request(subject.clone(), "".into()).await {
                Err(error) => Ok(error), // No responders.
                Ok(answer) => Err(answer),
            },
        )
        .await;
    }
}
