//! Apps are everybody's: who learns a token of another tenant may register it, and gets nothing by it.

use fanfare_nats::clock;
use fanfare_nats::key::{Key, Tenant};
use reqwest::Method;
use serde_json::{Value, json};

use super::{device, nonce, reached};
use crate::harness::{Answer, Api, eventually};

async fn key(api: &Api, tenant: &str) -> String {
    let tenant = Tenant::parse(tenant).unwrap();
    let scopes = vec!["admin".parse().unwrap()];
    let (key, secret) = Key::create(tenant, "all", scopes, None, clock::now()).unwrap();
    api.broker.create_key(&key).await.unwrap();
    format!("Bearer {}", secret.reveal())
}

async fn ask(api: &Api, key: &str, method: Method, path: &str, body: Option<&Value>) -> Answer {
    api.send(method, path, &[("authorization", key)], body)
        .await
}

#[tokio::test]
async fn a_token_of_another_tenant_is_challenged_and_then_both_have_it() {
    let api = Api::start_locked().await;
    let (main, acme) = (key(&api, "main").await, key(&api, "acme").await);
    let loaded = async |key: &str| {
        let ask = async || ask(&api, key, Method::GET, "/v1/topics", None).await;
        eventually(ask, |it| it.status == 200).await;
    };
    loaded(&main).await;
    let phone = "/v1/devices/phone";
    // Of nobody, too: in another tenant a token is somebody else's.
    let hers = json!({"app": "ios", "token": "token", "topics": ["news"]});
    let first = ask(&api, &main, Method::PUT, phone, Some(&hers)).await;
    assert_eq!(first.status, 201, "{first:?}");
    loaded(&acme).await;
    let theirs = device("token", "ada");
    let waiting = ask(&api, &acme, Method::PUT, phone, Some(&theirs)).await;
    assert_eq!(waiting.status, 202, "{waiting:?}");
    let all = ["phone", "acme=phone"];
    assert_eq!(reached(&api, &all).await, ["phone"]);
    let told = json!({"nonce": nonce(&api, "acme=phone").await});
    let confirm = format!("{phone}/confirm");
    let confirmed = ask(&api, &acme, Method::POST, &confirm, Some(&told)).await;
    assert_eq!(confirmed.status, 200, "{confirmed:?}");
    // It takes nothing away.
    assert_eq!(reached(&api, &all).await, all);
    loaded(&main).await;
    let again = ask(&api, &main, Method::PUT, phone, Some(&hers)).await;
    assert_eq!(again.status, 200, "{again:?}");
    assert_eq!(reached(&api, &all).await, all);
}
