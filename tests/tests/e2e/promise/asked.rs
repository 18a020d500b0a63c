//! The API says the same as the commands.

use fanfare_tests::{Api, Pipeline};
use serde_json::json;

use super::{object, why};

/// Of everybody in the cast, by the event's id.
pub(super) async fn check_deliveries(pipeline: &Pipeline, api: &Api, all: &str, short: &str) {
    let of_all = [
        "delivered",
        "filtered",
        "retried",
        "leaves",
        "dead",
        "elsewhere",
    ];
    let cast = of_all.map(|it| (all, it));
    for (event, device) in cast.into_iter().chain([(short, "expires")]) {
        let told = object(&why(pipeline, event, device).await);
        let asked = api
            .ask(&format!("/v1/events/{event}/deliveries/{device}"))
            .await;
        for part in [
            "ending",
            "sentence",
            "is_addressed",
            "subscriptions",
            "task",
            "token",
        ] {
            assert_eq!(asked[part], told[part], "{device}: {part}");
        }
        for part in ["mark", "reason", "attempt", "pass", "node", "receipt"] {
            let of = |answer: &serde_json::Value| -> Vec<_> {
                let attempts = answer["attempts"].as_array().unwrap().iter();
                attempts.map(|it| it[part].clone()).collect()
            };
            assert_eq!(of(&asked), of(&told), "{device}: {part}");
        }
    }
}

/// The event that most of the cast followed.
pub(super) async fn check_event(api: &Api, all: &str) {
    let event = api.ask(&format!("/v1/events/{all}")).await;
    assert_eq!(event, api.ask("/v1/events/e-1").await);
    assert_eq!(event["state"], "done");
    // `delivered`, `retried`, `leaves`, `dead`.
    for (part, n) in [
        ("owed", 4),
        ("accepted", 2),
        ("dropped", 1),
        ("unregistered", 1),
    ] {
        assert_eq!(event["counts"][part], n, "{part}: {event:#}");
    }
    let left = json!({"outcome": "dropped", "reason": "unsubscribed", "devices": 1});
    assert_eq!(event["counts"]["reasons"][0], left, "{event:#}");
}
