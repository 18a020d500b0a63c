//! APNs: what is on the wire, and what each answer comes to.

use std::time::Duration;

use fanfare_notifier::outcome::{Outcome, Scope};
use fanfare_notifier::provider::{App, AppConfig};
use fanfare_sim::ledger::Verdict;
use fanfare_sim::script::{Answer, RetryAfter, Rule, Scope as Limit};
use jiff::SignedDuration;

use crate::stage::{Stage, TOKEN, a_moment_later, assert_accepted, now, push, quake, unavailable};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

#[tokio::test]
async fn a_push_arrives_with_its_identity_and_its_headers() {
    let stage = Stage::new().await;
    let app = stage.apns();
    let outcome = push(&app).await;
    assert!(matches!(&outcome, Outcome::Accepted { provider_id: Some(id) } if id.len() == 36));
    let requests = stage.requests();
    let [request] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    let what = quake();
    assert_eq!(request.verdict, Verdict::Accepted);
    assert_eq!(
        (request.token.as_str(), request.app.as_str()),
        (TOKEN, "org.example.app")
    );
    assert_eq!(request.event.as_deref(), Some(&*what.event_id));
    assert_eq!(request.screen.as_deref(), Some(&*what.screen_id));
    assert_eq!(request.level.as_deref(), Some("s6"));
    assert_eq!(request.title.as_deref(), Some("M 6.1 Honshu"));
    assert_eq!(
        request.headers.get("apns-collapse-id").map(String::as_str),
        Some(&*what.screen_id)
    );
    assert_eq!(
        request.headers.get("apns-priority").map(String::as_str),
        Some("10")
    );
    stage.end(app).await;
}

#[tokio::test]
async fn one_delivery_has_one_apns_id_on_all_attempts() {
    let stage = Stage::new().await;
    let app = stage.apns();
    assert_eq!(push(&app).await, push(&app).await);
    stage.end(app).await;
}

#[tokio::test]
async fn each_scripted_answer_comes_to_its_outcome() {
    let stage = Stage::new().await;
    let app = stage.apns();
    let seconds = |it| Some(RetryAfter::Seconds(it));
    let cases = [
        (
            Answer::Unregistered {
                ago_ms: 0,
                no_timestamp: false,
            },
            "unregistered",
        ),
        (Answer::BadToken, "unregistered"),
        (Answer::WrongSender, "unregistered"),
        (
            Answer::TooMany {
                scope: Limit::Device,
                retry_after: seconds(9),
            },
            "unavailable",
        ),
        (Answer::Unavailable { retry_after: None }, "unavailable"),
        (Answer::Internal, "unavailable"),
        (Answer::Shutdown, "unavailable"),
        (Answer::Html { status: 502 }, "unavailable"),
        (Answer::EndlessBody, "unavailable"),
    ];
    for (answer, expected) in cases {
        stage.once(answer.clone());
        let outcome = push(&app).await;
        assert_eq!(outcome.name(), expected, "{answer:?}: {outcome:?}");
    }
    assert_accepted(&push(&app).await);
    stage.end(app).await;
}

#[tokio::test]
async fn every_reason_keeps_its_name_through_the_wire() {
    let stage = Stage::new().await;
    let app = stage.apns();
    let cases = [
        (400, "BadCollapseId", "refused"),
        (400, "BadExpirationDate", "refused"),
        (400, "BadMessageId", "refused"),
        (400, "BadPriority", "refused"),
        (400, "BadTopic", "credentials"),
        (400, "DuplicateHeaders", "refused"),
        (400, "IdleTimeout", "unavailable"),
        (400, "InvalidPushType", "refused"),
        (400, "MissingTopic", "credentials"),
        (400, "PayloadEmpty", "refused"),
        (400, "TopicDisallowed", "credentials"),
        (403, "BadCertificate", "credentials"),
        (403, "BadCertificateEnvironment", "credentials"),
        (403, "BadEnvironmentKeyIdInToken", "credentials"),
        (403, "Forbidden", "credentials"),
        (403, "InvalidProviderToken", "credentials"),
        (403, "MissingProviderToken", "credentials"),
        (404, "BadPath", "refused"),
        (405, "MethodNotAllowed", "refused"),
        (410, "ExpiredToken", "unregistered"),
        (413, "PayloadTooLarge", "refused"),
        (429, "TooManyProviderTokenUpdates", "unavailable"),
        (503, "Shutdown", "unavailable"),
        (400, "NeverHeardOf", "refused"),
    ];
    for (status, reason, expected) in cases {
        let answer = Answer::Reason {
            status,
            reason: reason.to_owned(),
            retry_after: None,
        };
        stage.once(answer);
        let outcome = push(&app).await;
        assert_eq!((outcome.name(), outcome.reason()), (expected, Some(reason)));
    }
    stage.end(app).await;
}

#[tokio::test]
async fn the_moment_of_unregistration_is_apples() {
    let stage = Stage::new().await;
    let app = stage.apns();
    stage.once(Answer::Unregistered {
        ago_ms: 3_600_000,
        no_timestamp: false,
    });
    let before = now();
    let Outcome::Unregistered {
        since: Some(since), ..
    } = push(&app).await
    else {
        panic!("no moment")
    };
    let age = before.duration_since(since);
    assert!(
        (age - SignedDuration::from_hours(1)).abs() < MINUTE,
        "{age:?}"
    );
    stage.once(Answer::Unregistered {
        ago_ms: 0,
        no_timestamp: true,
    });
    assert!(matches!(
        push(&app).await,
        Outcome::Unregistered { since: None, .. }
    ));
    stage.end(app).await;
}

#[tokio::test]
async fn too_many_requests_concern_the_device_and_an_outage_the_app() {
    let stage = Stage::new().await;
    let app = stage.apns();
    let wait = Some(RetryAfter::Seconds(9));
    stage.once(Answer::TooMany {
        scope: Limit::Device,
        retry_after: wait,
    });
    let outcome = push(&app).await;
    assert_eq!(
        unavailable(&outcome),
        (Scope::Device, false, Some(Duration::from_secs(9)))
    );
    stage.once(Answer::Unavailable {
        retry_after: Some(RetryAfter::Date(30)),
    });
    let (scope, maybe_delivered, wait) = unavailable(&push(&app).await);
    // Whether a failing server had taken the push before is not known.
    assert_eq!((scope, maybe_delivered), (Scope::App, true));
    let wait = wait.unwrap();
    assert!(
        wait <= Duration::from_secs(31) && wait >= Duration::from_secs(25),
        "{wait:?}"
    );
    stage.end(app).await;
}

#[tokio::test]
async fn an_old_token_that_expired_is_renewed_and_the_push_goes_through() {
    let stage = Stage::new().await;
    let app = App::open(&stage.apns_config(), &stage.with, now() - 25 * MINUTE).unwrap();
    assert_accepted(&push(&app).await);
    a_moment_later().await;
    stage
        .sim
        .add_rule(Rule::new(Answer::Credentials { n_credentials: 0 }));
    assert_accepted(&push(&app).await);
    let statuses: Vec<u16> = stage.requests().iter().map(|it| it.status).collect();
    assert_eq!(statuses, [200, 403, 200]);
    stage.end(app).await;
}

#[tokio::test]
async fn a_young_token_that_expired_is_a_matter_of_credentials_and_of_one_request() {
    let stage = Stage::new().await;
    let app = stage.apns();
    stage
        .sim
        .add_rule(Rule::new(Answer::Credentials { n_credentials: 1 }));
    let outcome = push(&app).await;
    assert_eq!(
        outcome,
        Outcome::Credentials {
            reason: "ExpiredProviderToken".into()
        }
    );
    assert_eq!(stage.requests().len(), 1);
    stage.end(app).await;
}

#[tokio::test]
async fn an_unrelated_key_id_is_tried_once_more_on_another_connection() {
    let stage = Stage::new().await;
    let app = stage.apns();
    let reason = "UnrelatedKeyIdInToken".to_owned();
    stage.once(Answer::Reason {
        status: 403,
        reason: reason.clone(),
        retry_after: None,
    });
    assert_accepted(&push(&app).await);
    let connections: Vec<u64> = stage.requests().iter().map(|it| it.conn).collect();
    assert!(
        matches!(connections.as_slice(), [a, b] if a != b),
        "{connections:?}"
    );
    stage.sim.add_rule(Rule::new(Answer::Reason {
        status: 403,
        reason,
        retry_after: None,
    }));
    assert_eq!(push(&app).await.name(), "credentials");
    assert_eq!(stage.requests().len(), 4);
    stage.end(app).await;
}

#[tokio::test]
async fn apps_with_one_key_show_one_token() {
    let stage = Stage::with(|it| {
        let apns = it.apns.as_mut().unwrap();
        apns.renewals_per = fanfare_sim::RenewalsPer::Key;
        apns.topics.push("org.example.other".to_owned());
    })
    .await;
    let one = stage.apns();
    let other = AppConfig {
        bundle_id: Some("org.example.other".into()),
        ..stage.apns_config()
    };
    let other = App::open(&other, &stage.with, now() + 2 * MINUTE).unwrap();
    assert_accepted(&push(&one).await);
    assert_accepted(&push(&other).await);
    drop(other);
    stage.end(one).await;
}

#[tokio::test]
async fn a_certificate_does_instead_of_a_key() {
    let stage = Stage::with(|it| it.apns.as_mut().unwrap().accepts_certificates = true).await;
    let client = stage.sim.whereabouts().apns_client.clone();
    let app = stage.open(&AppConfig {
        key_file: None,
        key_id: None,
        team_id: None,
        certificate_file: Some(client.clone()),
        certificate_key_file: Some(client),
        ..stage.apns_config()
    });
    assert_accepted(&push(&app).await);
    stage.end(app).await;
}

#[tokio::test]
async fn the_wrong_key_and_the_wrong_bundle_are_credentials() {
    let stage = Stage::new().await;
    let foreign = AppConfig {
        team_id: Some("OTHERTEAM1".into()),
        ..stage.apns_config()
    };
    let app = stage.open(&foreign);
    assert_eq!(push(&app).await.name(), "credentials");
    drop(app);
    let foreign = AppConfig {
        bundle_id: Some("org.example.nobody".into()),
        ..stage.apns_config()
    };
    let app = stage.open(&foreign);
    assert_eq!(push(&app).await.name(), "credentials");
    stage.end(app).await;
}

#[tokio::test]
async fn what_cannot_be_a_token_is_not_sent() {
    let stage = Stage::new().await;
    let app = stage.apns();
    let outcome = crate::stage::push_to(&app, "../../secret").await;
    assert_eq!(outcome.name(), "unregistered");
    assert!(stage.requests().is_empty());
    stage.end(app).await;
}

#[tokio::test]
async fn after_an_outage_the_next_try_is_on_a_new_connection() {
    let stage = Stage::new().await;
    let app = stage.apns();
    stage.once(Answer::Unavailable { retry_after: None });
    push(&app).await;
    assert_accepted(&push(&app).await); // The outage was none: the connection is kept.
    stage.once(Answer::Unavailable { retry_after: None });
    push(&app).await;
    tokio::time::sleep(Duration::from_millis(2100)).await; // The breaker waits for longer.
    assert_accepted(&push(&app).await);
    assert_accepted(&push(&app).await);
    let connections: Vec<_> = stage.requests().iter().map(|it| it.conn).collect();
    let [first, .., before, tried, after] = connections.as_slice() else {
        panic!("{connections:?}")
    };
    assert!(
        first == before && before != tried && tried == after,
        "{connections:?}"
    );
    stage.end(app).await;
}
