//! A permission that is missing is heard, counted, and keeps the process from being ready.

use fanfare_nats::bucket::WriteDeviceError;
use fanfare_nats::stream::Topology;
use fanfare_nats::testing::binary;
use fanfare_nats::{Broker, ConnectOptions, Metrics, Readiness};
use fanfare_nats_server::{Options, Server};

use super::support::eventually;

const USERS: &str = r#"
authorization {
  users: [
    { user: "all", password: "secret-of-all" }
    { user: "narrow", password: "secret-of-narrow", permissions: { publish: { deny: ["$KV.>"] } } }
  ]
}
"#;

async fn server() -> Server {
    let extra = USERS.to_owned();
    let options = Options {
        extra,
        ..Options::ephemeral()
    };
    Server::start(&binary().await, options).await.unwrap()
}

fn options(server: &Server, user: &str) -> ConnectOptions {
    ConnectOptions {
        servers: vec![server.url()],
        node: user.to_owned(),
        user: Some((user.to_owned(), format!("secret-of-{user}"))),
        replicas: 1,
        ..ConnectOptions::default()
    }
}

#[tokio::test]
async fn a_denied_permission_is_counted_and_keeps_the_process_from_being_ready() {
    let server = server().await;
    let all = options(&server, "all");
    let all = Broker::connect(all, Metrics::default(), Readiness::new())
        .await
        .unwrap();
    all.ensure(&Topology::new(1, Vec::new())).await.unwrap();

    let (metrics, readiness) = (Metrics::default(), Readiness::new());
    let narrow = options(&server, "narrow");
    let narrow = Broker::connect(narrow, metrics.clone(), readiness.clone())
        .await
        .unwrap();
    assert!(readiness.is_ready());
    let heard = eventually(async || match metrics.violations.get() {
        0 => Err("no violation"),
        n => Ok(n),
    });
    let (barrier, heard) = tokio::join!(narrow.put_barrier(), heard);
    assert!(
        matches!(barrier, Err(WriteDeviceError::Unavailable)),
        "{barrier:?}"
    );
    assert_eq!(heard, 1);
    let conditions = readiness.conditions();
    let permissions = conditions
        .iter()
        .find(|(name, _)| *name == "permissions")
        .unwrap();
    let why = permissions.1.clone().unwrap_err();
    assert!(why.contains("$KV.fanfare_devices"), "{why}");
    assert!(!readiness.is_ready());
}

#[tokio::test]
async fn a_wrong_password_is_no_connection_and_is_not_told_to_anyone() {
    let server = server().await;
    let wrong = Some(("all".to_owned(), "guessed-secret".to_owned()));
    let wrong = ConnectOptions {
        user: wrong,
        ..options(&server, "all")
    };
    assert!(!format!("{wrong:?}").contains("guessed-secret"));
    let readiness = Readiness::new();
    let error = Broker::connect(wrong, Metrics::default(), readiness.clone())
        .await
        .unwrap_err();
    assert!(!format!("{error:?}").contains("guessed-secret"));
    assert!(!readiness.is_ready());
}
