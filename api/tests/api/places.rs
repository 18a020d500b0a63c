//! How many devices one user may have.

use fanfare_api::Config;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::bulk::import;
use crate::challenge::node::Node;
use crate::harness::{Answer, Api, eventually};

fn with(most: usize) -> Config {
    Config {
        max_devices_per_user: most,
        ..Config::default()
    }
}

/// An API that knows of every device.
async fn loaded(most: usize) -> Api {
    let api = Api::start_with(with(most)).await;
    eventually(async || api.get("/v1/topics").await, |it| it.status == 200).await;
    api
}

fn device(id: &str, user: Option<&str>) -> Value {
    json!({"app": "ios", "token": format!("token-of-{id}"), "user": user})
}

fn path(id: &str) -> String {
    format!("/v1/devices/{id}")
}

async fn put(api: &Api, id: &str, user: Option<&str>) -> Answer {
    api.put(&path(id), &[], &device(id, user)).await
}

const ADA: Option<&str> = Some("ada");

fn created(answers: &[Answer]) -> usize {
    for it in answers.iter().filter(|it| it.status != 201) {
        it.check_problem(409, "too_many_devices");
    }
    answers.iter().filter(|it| it.status == 201).count()
}

#[tokio::test]
async fn a_user_has_so_many_devices_and_no_more() {
    let api = loaded(2).await;
    for (id, user) in [("a1", ADA), ("a2", ADA), ("b1", Some("bob")), ("n1", None)] {
        assert_eq!(put(&api, id, user).await.status, 201, "{id}");
    }
    for (id, why) in [("a3", "one more"), ("b1", "another's"), ("n1", "nobody's")] {
        let refused = put(&api, id, ADA).await;
        refused.check_problem(409, "too_many_devices");
        assert_eq!(refused.body["limit"], 2, "{why}");
    }
    assert_eq!(api.get(&path("a3")).await.status, 404);
    assert_eq!(api.get(&path("b1")).await.body["user"], "bob");
    // What is hers stays hers, and others have places of their own.
    let moved = json!({"app": "ios", "token": "another", "user": "ada", "topics": ["news"]});
    assert_eq!(api.put(&path("a1"), &[], &moved).await.status, 200);
    assert_eq!(put(&api, "b2", Some("bob")).await.status, 201);
    for n in 0..5 {
        assert_eq!(put(&api, &format!("m{n}"), None).await.status, 201);
    }
    // A place that was given up is free, at once.
    for n in 0..5 {
        api.delete(&path(&format!("a{}", n + 2)), &[]).await;
        assert_eq!(put(&api, &format!("a{}", n + 3), ADA).await.status, 201);
        assert_eq!(created(&[put(&api, "more", ADA).await]), 0);
    }
    assert_eq!(put(&api, "a1", None).await.status, 200);
    assert_eq!(put(&api, "more", ADA).await.status, 201);
}

#[tokio::test]
async fn a_device_that_waits_for_a_confirmation_has_a_place() {
    let api = loaded(1).await;
    assert_eq!(put(&api, "a1", ADA).await.status, 201);
    eventually(
        async || api.get("/v1/users/ada").await,
        |it| it.status == 200,
    )
    .await;
    let hers = json!({"app": "ios", "token": "token-of-a1", "user": "bob"});
    assert_eq!(api.put(&path("b1"), &[], &hers).await.status, 202);
    assert_eq!(created(&[put(&api, "b2", Some("bob")).await]), 0);
    assert_eq!(api.put(&path("b1"), &[], &hers).await.status, 202);
}

#[tokio::test]
async fn of_many_that_come_at_once_as_many_are_taken_as_there_are_places() {
    let api = loaded(7).await;
    for (n, user) in ["ada", "bob", "eve"].into_iter().enumerate() {
        let ids: Vec<String> = (0..40).map(|it| format!("d{n}-{it}")).collect();
        let puts = ids.iter().map(|id| put(&api, id, Some(user)));
        assert_eq!(created(&join_all(puts).await), 7, "{user}");
        let his = api.get(&format!("/v1/users/{user}")).await;
        assert_eq!(his.body["items"].as_array().unwrap().len(), 7);
    }
    // One device has one place, however often it comes at once.
    let one = loaded(1).await;
    for n in 0..10 {
        let (id, user) = (format!("e{n}"), format!("user-{n}"));
        let puts = (0..8).map(|_| put(&one, &id, Some(&user)));
        let answers = join_all(puts).await;
        assert!(
            answers.iter().all(|it| it.status.is_success()),
            "{answers:?}"
        );
    }
}

#[tokio::test]
async fn an_import_takes_the_places_there_are_and_tells_of_the_other_lines() {
    let api = loaded(7).await;
    assert_eq!(put(&api, "d0", ADA).await.status, 201);
    let mut body = String::new();
    for n in 0..200 {
        let id = format!("d{n}");
        let mut line = device(&id, if n < 100 { ADA } else { None });
        line["id"] = id.into();
        body += &line.to_string();
        body.push('\n');
    }
    for created in [106, 0] {
        let told = import(&api, body.clone()).await;
        let summary = &told.last().unwrap()["summary"];
        assert_eq!(
            (&summary["created"], &summary["failed"]),
            (&json!(created), &json!(93))
        );
        assert_eq!(summary["is_complete"], true, "the others were taken");
        let failed = told.iter().filter(|it| it["code"] == "too_many_devices");
        assert_eq!(failed.count(), 93);
    }
}

#[tokio::test]
async fn who_goes_from_one_api_to_the_other_has_no_more_places() {
    let api = loaded(10).await;
    let other = Node::beside(&api, with(10)).await;
    let mut answers = Vec::new();
    for n in 0..40 {
        let id = format!("a{n}");
        answers.push(if n % 2 == 0 {
            put(&api, &id, ADA).await
        } else {
            other.put(&api, &path(&id), &device(&id, ADA)).await
        });
    }
    assert_eq!(created(&answers), 10);
    // What both take at the same moment neither knows of the other: at most twice as many.
    let ids: Vec<String> = (0..40).map(|n| format!("b{n}")).collect();
    let bob = Some("bob");
    let mine = ids[..20].iter().map(|id| put(&api, id, bob));
    let others = ids[20..].iter().map(|id| async {
        let id: &str = id;
        other.put(&api, &path(id), &device(id, bob)).await
    });
    let (mine, others) = tokio::join!(join_all(mine), join_all(others));
    let n = created(&mine) + created(&others);
    assert!((10..=20).contains(&n), "{n}");
    assert_eq!(created(&[put(&api, "b-more", bob).await]), 0);
    other.stop().await;
}

#[tokio::test]
async fn a_user_of_more_devices_than_he_may_have_keeps_them() {
    let api = loaded(0).await;
    let ids = ["a1", "a2", "a3"];
    for id in ids {
        assert_eq!(put(&api, id, ADA).await.status, 201);
    }
    let strict = Node::beside(&api, with(1)).await;
    for id in ids {
        let again = strict.put(&api, &path(id), &device(id, ADA)).await;
        assert_eq!(again.status, 200, "{again:?}");
    }
    let more = strict.put(&api, &path("a4"), &device("a4", ADA)).await;
    more.check_problem(409, "too_many_devices");
    strict.stop().await;
}

#[tokio::test]
async fn where_it_is_not_known_or_not_asked_for_nobody_is_refused() {
    let unlimited = loaded(0).await;
    let without_index = Api::start_with(Config {
        index: false,
        ..with(1)
    })
    .await;
    for api in [&unlimited, &without_index] {
        for id in ["a1", "a2", "a3"] {
            assert_eq!(put(api, id, ADA).await.status, 201, "{id}");
        }
    }
}
