//! Posted events, read and refused.

use serde_json::json;

use super::*;

fn pointers(body: Value) -> Vec<String> {
    let flaws = read(body, None).unwrap_err();
    flaws.into_iter().map(|it| it.pointer).collect()
}

#[test]
fn a_small_event_gets_the_defaults() {
    let posted = read(json!({"topics": ["news"], "title": "Hello"}), None).unwrap();
    let event = posted.into_event(
        "n1",
        None,
        &TopicPolicies::default(),
        &Tenant::main(),
        Timestamp::UNIX_EPOCH,
    );
    assert_eq!(event.source.as_str(), "api");
    assert_eq!((event.item.as_str(), &event.level), ("n1", &Level::First));
    assert_eq!(event.expires_at.as_second(), 6 * 3600);
    assert_eq!(
        (event.urgency, event.guarantee),
        (Urgency::Urgent, Guarantee::AtLeastOnce)
    );
}

#[test]
fn a_full_event_is_read() {
    let posted = read(
        json!({
            "id": "order-7", "topics": ["a", "b", "a"], "title": "T\u{7}", "body": "B\nC",
            "url": "myapp://order/7", "image": "https://example.org/x.png", "data": {"k": 1},
            "urgency": "bulk", "sound": "default", "badge": 3, "thread": "orders",
            "interruption": "time-sensitive", "overrides": {"apns": {"aps": {}}},
            "expires_in": "30m", "guarantee": "at_least_once",
            "retries": {"attempts": 5, "longest": "1m"},
        }),
        Some("order-7".into()),
    )
    .unwrap();
    assert_eq!(posted.id.as_deref(), Some("order-7"));
    assert_eq!(posted.topics.len(), 2);
    assert_eq!(posted.content.title, "T");
    let five = Retry::new(Some(5), Duration::from_secs(2), Duration::from_mins(1)).unwrap();
    let wish = Wish {
        retry: Some(five),
        expires_in: Some(Duration::from_mins(30)),
        guarantee: Some(Guarantee::AtLeastOnce),
        urgency: Some(Urgency::Bulk),
    };
    assert_eq!(posted.wish, wish);
}

#[test]
fn a_topic_section_holds_where_the_poster_says_nothing_and_never_changes_the_digest() {
    let pattern = fanfare_nats::Pattern::parse("news.>").unwrap();
    let section = Wish {
        expires_in: Some(Duration::from_mins(5)),
        urgency: Some(Urgency::Bulk),
        retry: Retry::new(Some(1), Duration::from_secs(1), Duration::from_secs(1)).ok(),
        ..Wish::default()
    };
    let sections = TopicPolicies::new(vec![(pattern, section)]);
    let event = |body: &Value, topics: &TopicPolicies| {
        let posted = read(body.clone(), None).unwrap();
        posted.into_event("n", None, topics, &Tenant::main(), Timestamp::UNIX_EPOCH)
    };
    let plain = json!({"topics": ["news.local"], "title": "t"});
    let (before, after) = (
        event(&plain, &TopicPolicies::default()),
        event(&plain, &sections),
    );
    assert_eq!(
        (after.urgency, after.expires_at.as_second()),
        (Urgency::Bulk, 300)
    );
    assert_eq!(after.retry.attempts(), Some(1));
    assert_eq!(
        (before.urgency, before.retry),
        (Urgency::Urgent, Retry::DEFAULT)
    );
    assert_eq!(before.digest, after.digest);
    let mut own = plain.clone();
    own["urgency"] = "urgent".into();
    own["retries"] = json!({"attempts": 9});
    let own = event(&own, &sections);
    assert_eq!(
        (own.urgency, own.retry.attempts()),
        (Urgency::Urgent, Some(9))
    );
    assert_eq!(own.expires_at.as_second(), 300);
    assert_ne!(own.digest, after.digest);
}

#[test]
fn retries_that_cannot_be_are_named_where_they_stand() {
    let body = |retries: Value| json!({"topics": ["a"], "title": "t", "retries": retries});
    assert_eq!(pointers(body(json!(3))), ["/retries"]);
    assert_eq!(
        pointers(body(json!({"attempts": 0}))),
        ["/retries/attempts"]
    );
    let long = json!({"first": "2h", "more": 1});
    assert_eq!(pointers(body(long)), ["/retries/more"]);
    assert_eq!(pointers(body(json!({"first": "2h"}))), ["/retries/first"]);
    assert_eq!(
        pointers(body(json!({"longest": "2d"}))),
        ["/retries/longest"]
    );
}

#[test]
fn all_flaws_are_named_at_once() {
    let body = json!({
        "id": "a\nb", "topics": ["a..b", "fanfare.x"], "title": " ", "body": 5,
        "url": "javascript:1", "image": "ftp://x/y", "data": [], "urgency": "now", "sound": "",
        "badge": -1, "thread": 7, "interruption": "loud", "overrides": {"apns": 1},
        "expires_in": "2d", "guarantee": "exactly_once", "lasts": 5,
    });
    let mut found = pointers(body);
    found.sort();
    let expected = [
        "/badge",
        "/body",
        "/data",
        "/expires_in",
        "/guarantee",
        "/id",
        "/image",
        "/interruption",
        "/lasts",
        "/overrides",
        "/sound",
        "/thread",
        "/title",
        "/topics/0",
        "/topics/1",
        "/urgency",
        "/url",
    ];
    assert_eq!(found, expected);
}

#[test]
fn older_words_are_read_as_the_newer_and_nobody_says_a_thing_twice() {
    let event = |more: Value| {
        let mut body = json!({"topics": ["a"], "title": "t"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let newer = json!({"priority": "bulk", "delivery": "at_most_once", "ttl": "30m"});
    let older = json!({"urgency": "bulk", "guarantee": "at_most_once", "expires_in": 1800});
    let read = |it: &Value| read(event(it.clone()), None).unwrap();
    assert_eq!(read(&newer), read(&older));
    assert_ne!(read(&newer), read(&json!({})));
    let mut both = newer.clone();
    both.as_object_mut()
        .unwrap()
        .extend(older.as_object().unwrap().clone());
    let mut found = pointers(event(both));
    found.sort();
    assert_eq!(found, ["/expires_in", "/guarantee", "/urgency"]);
    for lasts in [
        json!(0),
        json!(86_401),
        json!("25h"),
        json!("1w"),
        json!(1.5),
    ] {
        assert_eq!(pointers(event(json!({"ttl": lasts}))), ["/ttl"], "{lasts}");
    }
}

#[test]
fn exactly_one_kind_of_address_is_needed() {
    assert_eq!(pointers(json!({"title": "t"})), ["/topics"]);
    assert_eq!(pointers(json!({"title": "t", "topics": []})), ["/topics"]);
    assert_eq!(
        pointers(json!({"title": "t", "topics": "news"})),
        ["/topics"]
    );
    assert_eq!(
        pointers(json!({"title": "t", "topics": ["a"], "user": "ada"})),
        ["/user"]
    );
    assert_eq!(
        pointers(json!({"title": "t", "device": "p 1"})),
        ["/device"]
    );
    let to_device = read(json!({"title": "t", "device": "phone-1"}), None).unwrap();
    assert_eq!(to_device.topics[0].as_str(), "fanfare.device.phone-1");
    let to_user = read(json!({"title": "t", "user": "ada"}), None).unwrap();
    assert_eq!(to_user.topics, [Topic::of_user("ada")]);
    assert!(!to_user.topics[0].as_str().contains("ada"));
}

#[test]
fn the_id_of_body_and_header_must_agree() {
    let body = || json!({"id": "a", "topics": ["t"], "title": "t"});
    assert_eq!(
        read(body(), Some("b".into())).unwrap_err()[0].pointer,
        "/id"
    );
    assert_eq!(
        read(body(), Some("a".into())).unwrap().id.as_deref(),
        Some("a")
    );
    let unnamed = json!({"topics": ["t"], "title": "t"});
    assert_eq!(
        read(unnamed.clone(), Some("b".into()))
            .unwrap()
            .id
            .as_deref(),
        Some("b")
    );
    assert_eq!(read(unnamed, None).unwrap().id, None);
}

#[track_caller]
fn check_key(value: &str, expected: Option<&str>) {
    let mut headers = HeaderMap::new();
    headers.insert("idempotency-key", value.parse().unwrap());
    let key = idempotency_key(&headers).ok().flatten();
    assert_eq!(key.as_deref(), expected, "{value}");
}

#[test]
fn an_idempotency_key_is_a_quoted_string_or_plain_text() {
    check_key("\"8e03978e\"", Some("8e03978e"));
    check_key("8e03978e", Some("8e03978e"));
    check_key(r#""a\"b\\c""#, Some(r#"a"b\c"#));
    check_key("\"open", None);
    check_key("\"a\" \"b\"", None);
    check_key("\"\"", None);
    check_key("", None);
    check_key(&"x".repeat(201), None);
}

#[test]
fn only_a_whole_trace_context_is_passed_on() {
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let read = |text: &str| {
        traceparent(&HeaderMap::from_iter([(
            http::HeaderName::from_static("traceparent"),
            text.parse().unwrap(),
        )]))
    };
    assert_eq!(read(good).as_deref(), Some(good));
    assert_eq!(read("00-xyz"), None);
    assert_eq!(read(&good.to_uppercase()), None);
    assert_eq!(read(&format!("{good}-more")), None);
}

#[test]
fn what_cannot_fit_any_provider_is_refused() {
    let body = json!({"topics": ["t"], "title": "t", "data": {"k": "x".repeat(5000)}});
    assert_eq!(pointers(body), ["/data"]);
}
