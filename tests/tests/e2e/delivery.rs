//! Register, post, push.

use fanfare_sim::ledger::ProviderKind;
use fanfare_sim::script::{Answer, Rule};
use fanfare_tests::eventually::at_least;
use fanfare_tests::{Pipeline, Registrations, Setup, eventually};

use crate::support::{many, token};

#[tokio::test(flavor = "multi_thread")]
async fn a_posted_event_reaches_each_device_that_follows_it_once_at_both_providers() {
    let pipeline = Pipeline::start(Setup::default()).await;
    let (api_process, api) = pipeline.api().await;
    let notifier = pipeline.role("notifier", "n1").await;
    let mut registrations = Registrations::default();
    let mut devices = Vec::new();
    for (device, app, n, patterns) in [
        ("phone", "ios", 1, &["news.local"][..]),
        ("tablet", "android", 2, &["news.>"]),
        // Several patterns match: one push all the same.
        ("twice", "ios", 3, &["news.local", "news.*"]),
        ("thrice", "android", 4, &[">", "news.>", "news.local"]),
        ("elsewhere", "ios", 5, &["sports.>"]),
        ("shorter", "android", 6, &["news"]),
    ] {
        devices.push((
            device.to_owned(),
            registrations.add(app, &token(n), patterns),
        ));
    }
    api.put_all(&devices).await;
    let event = api.post("n-1", &["news.local"]).await;
    eventually("four pushes", async || {
        at_least(pipeline.counts().accepted, 4)
    })
    .await;
    // Behind it, through the same stations: whatever else the first was going to do is done.
    let marker = api.post("n-2", &["sports.chess"]).await;
    eventually("the push of the marker", async || {
        at_least(pipeline.requests_of(&marker).len() as u64, 2)
    })
    .await;
    pipeline.settled().await;

    pipeline.audit(&registrations).await.check(0);
    let requests = pipeline.requests_of(&event);
    for provider in [ProviderKind::Apns, ProviderKind::Fcm] {
        assert_eq!(
            requests.iter().filter(|it| it.provider == provider).count(),
            2
        );
    }
    assert!(
        requests.iter().all(|it| it.title.as_deref() == Some("n-1")),
        "{requests:#?}"
    );
    notifier.drain(&[]).await;
    api_process.drain(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_refuses_becomes_a_dead_letter_and_is_not_tried_again() {
    let pipeline = Pipeline::start(Setup::default()).await;
    let (api_process, api) = pipeline.api().await;
    let notifier = pipeline.role("notifier", "n1").await;
    let mut registrations = Registrations::default();
    api.put_all(&many(4, &["all"], &mut registrations)).await;
    // Device 2 is one of APNs.
    let refusal = Answer::Reason {
        status: 400,
        reason: "BadExpirationDate".to_owned(),
        retry_after: None,
    };
    pipeline.sim.add_rule(Rule {
        token: Some(token(2)),
        ..Rule::new(refusal)
    });
    let event = api.post("e-1", &["all"]).await;
    let letters = eventually("a dead letter", async || {
        let letters = pipeline.dead_letters().await;
        if letters.is_empty() {
            Err("none")
        } else {
            Ok(letters)
        }
    })
    .await;
    pipeline.settled().await;

    assert_eq!(letters.len(), 1, "{letters:#?}");
    assert_eq!(letters[0]["event"], event);
    assert_eq!(letters[0]["app"], "ios");
    assert!(
        letters[0]["error"]
            .as_str()
            .unwrap()
            .contains("BadExpirationDate"),
        "{letters:#?}"
    );
    assert!(
        !letters[0].to_string().contains(&token(2)),
        "a token is a secret"
    );
    let to_it: Vec<_> = pipeline
        .requests_of(&event)
        .into_iter()
        .filter(|it| it.token == token(2))
        .collect();
    assert_eq!(to_it.len(), 1, "{to_it:#?}");
    assert_eq!(pipeline.counts().accepted, 3);
    assert!(
        api.has("device-2").await,
        "a refusal says nothing about the token"
    );
    notifier.drain(&[]).await;
    api_process.drain(&[]).await;
}
