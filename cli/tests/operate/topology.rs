//! `fanfare admin verify` and `apply`, on a server that somebody else looks after.

use std::time::Duration;

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_server_fails_verify_gets_everything_from_apply_and_then_passes() {
    let stage = Stage::start().await;
    let (code, printed) = stage.run(&["admin", "verify"]).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("FANFARE_EVENTS existence"), "{printed}");
    let (code, printed) = stage.run(&["admin", "apply", "--dry-run"]).await;
    assert_eq!(code, Some(0), "{printed}");
    assert!(
        printed.contains("create    FANFARE_TASKS/send-ios-urgent"),
        "{printed}"
    );
    let (code, _) = stage.run(&["admin", "verify"]).await;
    assert_eq!(code, Some(1), "a dry run does nothing");
    let (code, printed) = stage.run(&["admin", "apply"]).await;
    assert_eq!(code, Some(0), "{printed}");
    let (code, printed) = stage.run(&["admin", "verify"]).await;
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("as the promise needs it"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changed_stops_a_start_and_is_set_right_while_the_others_run() {
    let stage = Stage::start().await;
    let running = stage.roles(&["notifier"], "").await;
    let info = stage
        .ask_broker("$JS.API.STREAM.INFO.FANFARE_EVENTS", "")
        .await;
    let mut config = info["config"].clone();
    config["max_age"] = 3_600_000_000_000_u64.into();
    let update = "$JS.API.STREAM.UPDATE.FANFARE_EVENTS";
    let updated = stage.ask_broker(update, &config.to_string()).await;
    assert_eq!(updated["config"]["max_age"], config["max_age"], "{updated}");

    let refused = stage.launch(&["api"], "");
    let status = refused.child.wait(Duration::from_secs(20)).await.unwrap();
    let printed = refused.printed();
    assert_eq!(status.code(), Some(1), "{printed}");
    assert!(
        printed.contains("FANFARE_EVENTS: max_age is 3600s"),
        "{printed}"
    );
    assert!(printed.contains("events sent again"), "{printed}");
    let (code, printed) = stage.run(&["admin", "apply"]).await;
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("add --yes"), "{printed}");
    let (code, printed) = stage.run(&["admin", "apply", "--yes"]).await;
    assert_eq!(code, Some(0), "{printed}");
    assert!(
        printed.contains("change    FANFARE_EVENTS: max_age"),
        "{printed}"
    );

    let api = stage.roles(&["api"], "").await;
    let at = api.api().await;
    stage.register(at, 1).await;
    stage.post(at, "e-1").await;
    crate::stage::eventually("the push", async || (stage.deliveries() == 1).then_some(())).await;
    drop(running);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_what_is_wrong_and_is_content_when_it_is_mended() {
    let stage = Stage::start().await;
    let (code, printed) = stage.run(&["doctor"]).await;
    assert_eq!(code, Some(1), "{printed}");
    let missing = "trouble  topology     FANFARE_EVENTS: existence is";
    assert!(printed.contains(missing), "{printed}");
    assert!(printed.contains("→ fanfare admin apply"), "{printed}");
    let (code, _) = stage.run(&["admin", "apply"]).await;
    assert_eq!(code, Some(0));
    let (code, printed) = stage.run(&["doctor"]).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("there is no notifier"), "{printed}");
    let verdict = "one of the findings is trouble";
    assert!(printed.contains(verdict), "{printed}");

    let _running = stage.roles(&["notifier"], "").await;
    let monitoring = stage.server.monitoring_url();
    let doctor = ["doctor", "--json", "--monitoring", &monitoring];
    let (code, printed) = stage.run(&doctor).await;
    assert_eq!(code, Some(0), "{printed}");
    let start = printed.find('{').unwrap();
    let told: serde_json::Value = serde_json::from_str(&printed[start..]).unwrap();
    assert_eq!(told["is_well"], true);
    // The tests' server flushes every minute, and says so.
    assert!(printed.contains("flushes every 60 s"), "{printed}");
}
