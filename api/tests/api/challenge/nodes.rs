//! Whatever a node knows when it takes a registration in, a token has one owner.

use fanfare_api::Config;
use reqwest::Method;

use super::node::Node;
use super::{HERS, HIS, confirm, device, loaded, nonce, reached};
use crate::harness::{Answer, Api, eventually};

/// A node without devices in memory is one whose index is late, for as long as one likes.
#[tokio::test]
async fn what_a_node_took_in_too_early_takes_nothing_and_is_challenged_by_another() {
    let api = loaded().await;
    let late = Node::beside(
        &api,
        Config {
            index: false,
            ..Config::default()
        },
    )
    .await;
    api.put(HERS, &[], &device("token", "ada")).await;
    let early = late.put(&api, HIS, &device("token", "bob")).await;
    assert_eq!(early.status, 201, "it does not know: {early:?}");
    // At no time it is his.
    assert_eq!(reached(&api, &["hers", "his"]).await, ["hers"]);
    let waits = |it: &Answer| it.body["pending_until"].is_string();
    eventually(async || api.get(HIS).await, waits).await;
    // Her app writes again, and nothing depends on what came last.
    late.put(&api, HERS, &device("token", "ada")).await;
    assert_eq!(reached(&api, &["hers", "his"]).await, ["hers"]);
    let sent = async || {
        let nonce = nonce(&api, "his").await;
        confirm(&api, HIS, &nonce).await
    };
    let confirmed = sent().await;
    assert_eq!(confirmed.status, 200, "{confirmed:?}");
    assert_eq!(reached(&api, &["hers", "his"]).await, ["his"]);
    late.put(&api, HERS, &device("token", "ada")).await;
    assert_eq!(reached(&api, &["hers", "his"]).await, ["his"]);
    late.stop().await;
}

#[tokio::test]
async fn where_nobody_can_notice_it_a_token_stays_with_whom_had_it_first() {
    let api = Api::start_with(Config {
        index: false,
        ..Config::default()
    })
    .await;
    let both = ["hers", "his"];
    api.put(HERS, &[], &device("token", "ada")).await;
    let early = api.put(HIS, &[], &device("token", "bob")).await;
    assert_eq!(early.status, 201, "{early:?}");
    // However often and by whatever route either is written.
    for path in [HERS, HIS, HERS] {
        let user = if path == HERS { "ada" } else { "bob" };
        api.put(path, &[], &device("token", user)).await;
        assert_eq!(reached(&api, &both).await, ["hers"], "{path}");
    }
    let more = format!("{HERS}/topics/more");
    api.send(Method::PUT, &more, &[], None).await;
    assert_eq!(reached(&api, &both).await, ["hers"]);
    api.delete(HERS, &[]).await;
    assert_eq!(reached(&api, &both).await, ["his"], "it is free");
}

/// Two nodes that both know everything, but for what comes this moment.
#[tokio::test]
async fn of_two_users_who_register_one_token_at_once_with_two_nodes_one_gets_it() {
    let api = loaded().await;
    let other = Node::beside(&api, Config::default()).await;
    for n in 0..20 {
        let token = format!("token-{n}");
        let (hers, his) = (format!("hers-{n}"), format!("his-{n}"));
        let (her_path, his_path) = (format!("/v1/devices/{hers}"), format!("/v1/devices/{his}"));
        let (her_document, his_document) = (device(&token, "ada"), device(&token, "bob"));
        tokio::join!(
            api.put(&her_path, &[], &her_document),
            other.put(&api, &his_path, &his_document),
        );
        let both = [hers.as_str(), his.as_str()];
        let has_it = reached(&api, &both).await;
        assert_eq!(has_it.len(), 1, "{n}");
        let loser = if has_it[0] == hers {
            &his_path
        } else {
            &her_path
        };
        let waits = |it: &Answer| it.body["pending_until"].is_string();
        eventually(async || api.get(loser).await, waits).await;
        assert_eq!(reached(&api, &both).await, has_it, "{n}");
    }
    other.stop().await;
}
