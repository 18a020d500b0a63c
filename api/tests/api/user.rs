//! All devices of somebody.

use fanfare_api::Config;
use futures::StreamExt;
use serde_json::json;

use crate::harness::{Answer, Api, eventually};

async fn loaded() -> Api {
    let api = Api::start_with(Config::default()).await;
    eventually(async || api.get("/v1/topics").await, |it| it.status != 503).await;
    api
}

async fn register(api: &Api, id: &str, user: &str) {
    let document = json!({"app": "ios", "token": format!("token-of-{id}"), "user": user});
    let put = api.put(&format!("/v1/devices/{id}"), &[], &document).await;
    assert!(put.status.is_success(), "{put:?}");
}

fn ids(answer: &Answer) -> Vec<&str> {
    let items = answer.body["items"].as_array().unwrap();
    items.iter().map(|it| it["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_devices_of_a_user_are_listed_without_tokens_and_page_by_page() {
    let api = loaded().await;
    for id in ["c", "a", "b"] {
        register(&api, id, "ada l").await;
    }
    register(&api, "d", "bob").await;
    let all = api.get("/v1/users/ada%20l").await;
    assert_eq!(ids(&all), ["a", "b", "c"]);
    assert_eq!(all.body["items"][0]["user"], "ada l");
    assert!(!all.body.to_string().contains("token-of"), "{all:?}");
    let first = api.get("/v1/users/ada%20l?limit=2").await;
    assert_eq!(ids(&first), ["a", "b"]);
    let link = first.header("link").strip_prefix('<').unwrap();
    let (next, _) = link.split_once('>').unwrap();
    assert_eq!(ids(&api.get(next).await), ["c"]);
    // Whose a device is now, and not whose it was.
    register(&api, "a", "bob").await;
    assert_eq!(ids(&api.get("/v1/users/bob").await), ["a", "d"]);
    let nobody = api.get("/v1/users/nobody").await;
    nobody.check_problem(404, "no_such_user");
}

#[tokio::test]
async fn a_user_is_removed_with_everything_that_was_registered_by_then() {
    let api = loaded().await;
    for n in 0..40 {
        register(&api, &format!("ada-{n}"), "ada").await;
    }
    register(&api, "bobs", "bob").await;
    // Others write the same devices meanwhile: each document goes at the revision it had, or stays
    // because it is somebody else's by then.
    let taken_over = async {
        for n in 30..40 {
            register(&api, &format!("ada-{n}"), "bob").await;
        }
    };
    let (gone, ()) = tokio::join!(api.delete("/v1/users/ada", &[]), taken_over);
    assert_eq!(gone.body["is_complete"], true, "{gone:?}");
    let n: u64 = serde_json::from_value(gone.body["removed"].clone()).unwrap();
    assert!((30..=40).contains(&n), "{gone:?}");
    api.get("/v1/users/ada")
        .await
        .check_problem(404, "no_such_user");
    let bobs = api.get("/v1/users/bob").await;
    assert_eq!(ids(&bobs).len(), 11, "{bobs:?}");
    let again = api.delete("/v1/users/ada", &[]).await;
    assert_eq!(again.body, json!({"removed": 0, "is_complete": true}));
    assert_eq!(api.get("/v1/devices/ada-0").await.status, 404);
}

#[tokio::test]
async fn a_user_of_more_devices_than_are_removed_at_once_is_removed_whole() {
    let api = loaded().await;
    let ids: Vec<String> = (0..530).map(|n| format!("ada-{n}")).collect();
    let registered = ids.iter().map(|id| register(&api, id, "ada"));
    let registered = futures::stream::iter(registered).buffer_unordered(32);
    registered.collect::<()>().await;
    let mut n_removed = 0;
    loop {
        let gone = api.delete("/v1/users/ada", &[]).await;
        n_removed += gone.body["removed"].as_u64().unwrap();
        // A slow machine may be told to come again.
        if gone.body["is_complete"] == true {
            break;
        }
    }
    assert_eq!(n_removed, 530);
    let nobody = api.get("/v1/users/ada").await;
    nobody.check_problem(404, "no_such_user");
}
