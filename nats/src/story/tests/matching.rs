//! Two readings of one documentation.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{event, subscription};
use crate::story::matching;

#[track_caller]
fn check_match(pattern: &str, topic: &str, expected: bool) {
    let subscription = subscription(pattern, json!([]));
    let event = event(&[topic], json!({}));
    assert_eq!(matching::concerns(&subscription, &event), expected);
    assert_eq!(matching::opinion(&subscription, &event).is_for(), expected);
}

#[test]
fn patterns_match_as_the_documentation_says() {
    check_match("quakes.us", "quakes.us", true);
    check_match("quakes.us", "quakes.us.big", false);
    check_match("quakes.*", "quakes.us", true);
    check_match("quakes.*", "quakes", false);
    check_match("quakes.>", "quakes.us.big", true);
    check_match("quakes.>", "quakes", false);
    check_match("*.us", "quakes.us", true);
    check_match(">", "quakes", true);
    check_match(">", "fanfare.device.a", false);
    check_match("quakes", "quakes.us", false);
}

#[track_caller]
fn check_filter(filter: Value, data: Value, expected: bool) {
    let subscription = subscription("all", json!([filter]));
    let event = event(&["all"], data);
    assert_eq!(matching::concerns(&subscription, &event), expected);
    let opinion = matching::opinion(&subscription, &event);
    assert_eq!(opinion.is_filtered_out(), !expected, "{opinion:?}");
}

#[test]
fn filters_hold_as_the_documentation_says() {
    let strong = json!({"field": "mag", "min": 5});
    check_filter(strong.clone(), json!({"mag": 5.0}), true);
    check_filter(strong.clone(), json!({"mag": 4.9}), false);
    check_filter(strong.clone(), json!({"mag": "5.0"}), false);
    check_filter(strong, json!({}), false);
    let of = json!({"field": "net", "any_of": ["us", 7]});
    check_filter(of.clone(), json!({"net": "us"}), true);
    check_filter(of.clone(), json!({"net": 7}), true);
    check_filter(of.clone(), json!({"net": "7"}), false);
    check_filter(of, json!({}), false);
    // London to Paris, about 344 km.
    let near = |km: f64| json!({"near": {"lat": 51.5074, "lon": -0.1278, "km": km}});
    let paris = json!({"lat": 48.8566, "lon": 2.3522});
    check_filter(near(345.0), paris.clone(), true);
    check_filter(near(343.0), paris, false);
    check_filter(near(345.0), json!({"lat": 48.8566}), false);
}

/// A stored form of what a tenant writes.
fn of(tenant: &str, written: &str) -> String {
    match tenant {
        "main" => written.to_owned(),
        tenant => format!("fanfare.tenant.{tenant}.{written}"),
    }
}

proptest! {
    // Two readings of one documentation: where they differ, one of them is wrong.
    #[test]
    fn the_sender_and_the_judge_read_patterns_and_circles_alike(
        pattern in "(a|b|\\*)(\\.(a|b|\\*)){0,3}(\\.>)?",
        topic in "(fanfare|a|b)(\\.(a|b)){0,4}",
        follower in "(main|acme|b)", poster in "(main|acme|b)",
        lat in -90.0_f64..90.0, lon in -180.0_f64..180.0, km in 1.0_f64..20_000.0,
        to_lat in -90.0_f64..90.0, to_lon in -180.0_f64..180.0,
    ) {
        let circle = json!([{"near": {"lat": lat, "lon": lon, "km": km}}]);
        for filters in [json!([]), circle] {
            let subscription = subscription(&of(&follower, &pattern), filters);
            let event = event(&[&of(&poster, &topic)], json!({"lat": to_lat, "lon": to_lon}));
            let by_sender = subscription.matches(&event.topics, &event.content.data);
            prop_assert_eq!(matching::concerns(&subscription, &event), by_sender);
            prop_assert!(!by_sender || follower == poster);
        }
    }
}
