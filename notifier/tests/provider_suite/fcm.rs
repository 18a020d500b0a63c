//! FCM: what is on the wire, what each answer comes to, and its access token.

use std::time::Duration;

use fanfare_notifier::outcome::{Outcome, Scope};
use fanfare_notifier::provider::AppConfig;
use fanfare_sim::ledger::Verdict;
use fanfare_sim::script::{Answer, RetryAfter, Rule, Scope as Limit};
use futures::future::join_all;

use crate::stage::{
    Stage, TOKEN, a_moment_later, assert_accepted, push, push_to, quake, unavailable,
};

#[tokio::test]
async fn a_push_arrives_with_its_identity() {
    let stage = Stage::new().await;
    let app = stage.fcm();
    let outcome = push(&app).await;
    assert!(
        matches!(&outcome, Outcome::Accepted { provider_id: Some(id) } if id.starts_with("projects/")),
        "{outcome:?}"
    );
    let requests = stage.requests();
    let [request] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    let what = quake();
    assert_eq!(request.verdict, Verdict::Accepted);
    assert_eq!(request.token, TOKEN);
    assert_eq!(request.event.as_deref(), Some(&*what.event_id));
    assert_eq!(request.screen.as_deref(), Some(&*what.screen_id));
    assert_eq!(request.level.as_deref(), Some("s6"));
    assert_eq!(request.title.as_deref(), Some("M 6.1 Honshu"));
    stage.end(app).await;
}

#[tokio::test]
async fn each_scripted_answer_comes_to_its_outcome() {
    let stage = Stage::new().await;
    let app = stage.fcm();
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
        (Answer::Unavailable { retry_after: None }, "unavailable"),
        (Answer::Internal, "unavailable"),
        (Answer::Html { status: 502 }, "unavailable"),
        (Answer::EndlessBody, "unavailable"),
        (reason(400, "INVALID_ARGUMENT"), "refused"),
        (reason(403, "NEVER_HEARD_OF"), "credentials"),
        (reason(401, "THIRD_PARTY_AUTH_ERROR"), "credentials"),
        (reason(418, "NEVER_HEARD_OF"), "refused"),
    ];
    for (answer, expected) in cases {
        stage.once(answer.clone());
        let outcome = push(&app).await;
        assert_eq!(outcome.name(), expected, "{answer:?}: {outcome:?}");
    }
    assert_accepted(&push(&app).await);
    stage.end(app).await;
}

fn reason(status: u16, reason: &str) -> Answer {
    Answer::Reason {
        status,
        reason: reason.to_owned(),
        retry_after: None,
    }
}

#[tokio::test]
async fn a_quota_concerns_the_device_or_the_project() {
    let stage = Stage::new().await;
    let app = stage.fcm();
    let minute = Some(Duration::from_mins(1));
    stage.once(Answer::TooMany {
        scope: Limit::Device,
        retry_after: None,
    });
    assert_eq!(
        unavailable(&push(&app).await),
        (Scope::Device, false, minute)
    );
    stage.once(Answer::TooMany {
        scope: Limit::App,
        retry_after: Some(RetryAfter::Seconds(7)),
    });
    let seven = Some(Duration::from_secs(7));
    assert_eq!(unavailable(&push(&app).await), (Scope::Quota, false, seven));
    stage.end(app).await;
}

#[tokio::test]
async fn a_cold_start_under_load_asks_for_one_access_token() {
    let stage = Stage::new().await;
    let app = stage.fcm();
    let tokens: Vec<String> = (0..200).map(|it| format!("token-{it}")).collect();
    let outcomes = join_all(tokens.iter().map(|it| push_to(&app, it))).await;
    outcomes.iter().for_each(assert_accepted);
    assert_eq!(stage.sim.n_access_tokens(), 1);
    stage.end(app).await;
}

#[tokio::test]
async fn a_refused_access_token_is_renewed_once_for_all_and_the_pushes_go_through() {
    // 30 s of life: young for half a second, renewed half-way.
    let stage = Stage::with(|it| it.fcm.as_mut().unwrap().token_lifetime_s = 30).await;
    let app = stage.fcm();
    assert_accepted(&push(&app).await);
    a_moment_later().await;
    tokio::time::timeout(Duration::from_secs(10), async {
        // While the token is young a refusal is final; as soon as it is not, one renewal helps all.
        let id = stage
            .sim
            .add_rule(Rule::new(Answer::Credentials { n_credentials: 0 }));
        while push(&app).await.name() == "credentials" {
            tokio::task::yield_now().await;
        }
        assert!(id > 0);
    })
    .await
    .unwrap();
    let outcomes = join_all((0..50).map(|_| push(&app))).await;
    outcomes.iter().for_each(assert_accepted);
    assert_eq!(stage.sim.n_access_tokens(), 2);
    stage.end(app).await;
}

#[tokio::test]
async fn a_young_access_token_that_is_refused_is_a_matter_of_credentials() {
    let stage = Stage::new().await;
    let app = stage.fcm();
    assert_accepted(&push(&app).await);
    a_moment_later().await;
    stage
        .sim
        .add_rule(Rule::new(Answer::Credentials { n_credentials: 0 }));
    assert_eq!(push(&app).await.name(), "credentials");
    assert_eq!(stage.sim.n_access_tokens(), 1);
    stage.end(app).await;
}

#[tokio::test]
async fn the_token_endpoint_may_speak_http2_over_tls() {
    let stage = Stage::new().await;
    let at = stage.sim.whereabouts();
    let text = std::fs::read_to_string(&at.fcm_service_account).unwrap();
    let mut account: serde_json::Value = serde_json::from_str(&text).unwrap();
    account["token_uri"] = format!("https://localhost:{}/token", at.fcm.unwrap().port()).into();
    let app = stage.open(&AppConfig {
        service_account_file: None,
        service_account: Some(fanfare_notifier::Secret::new(account.to_string())),
        ..stage.fcm_config()
    });
    // The double knows this audience not: an answer over HTTP/2, and a plain word from it.
    let outcome = push(&app).await;
    assert_eq!(
        outcome,
        Outcome::Credentials {
            reason: "access token: 400 invalid_grant".into()
        }
    );
    stage.end(app).await;
}

#[tokio::test]
async fn a_token_endpoint_that_is_away_is_an_outage_of_the_app() {
    let stage = Stage::new().await;
    let text = std::fs::read_to_string(&stage.sim.whereabouts().fcm_service_account).unwrap();
    let mut account: serde_json::Value = serde_json::from_str(&text).unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    account["token_uri"] = format!("http://{closed}/token").into();
    let app = stage.open(&AppConfig {
        service_account_file: None,
        service_account: Some(fanfare_notifier::Secret::new(account.to_string())),
        ..stage.fcm_config()
    });
    assert_eq!(unavailable(&push(&app).await), (Scope::App, false, None));
    assert!(stage.requests().is_empty());
    stage.end(app).await;
}
