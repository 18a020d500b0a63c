//! Posted events: stored once, whoever posts them how often.

use std::collections::HashSet;

use fanfare_nats::event::{ScreenId, SourceName};
use fanfare_nats::{Event, Level, Topic};
use serde_json::{Value, json};

use crate::harness::Api;

fn document(id: &str, title: &str) -> Value {
    json!({"id": id, "topics": ["news.local"], "title": title, "data": {"a": 1, "b": 2}})
}

async fn stored(api: &Api, id: &str) -> Event {
    let source = SourceName::api();
    let screen = ScreenId::new(&source, id);
    api.broker
        .stored_event(&source, &screen, &Level::First)
        .await
        .unwrap()
        .unwrap()
        .1
}

#[tokio::test]
async fn an_event_is_stored_once_and_other_content_is_refused() {
    let api = Api::start().await;
    let first = api.post(&[], &document("n-1", "One")).await;
    assert_eq!(first.status, 201, "{first:?}");
    let event = stored(&api, "n-1").await;
    assert_eq!(first.body["event"], event.id().as_str());
    assert_eq!(first.body["id"], "n-1");
    assert_eq!(first.body["topics"], json!(["news.local"]));
    assert_eq!(first.body["expires_at"], event.expires_at.to_string());

    let again = api.post(&[], &document("n-1", "One")).await;
    assert_eq!((again.status.as_u16(), &again.body), (200, &first.body));
    let reordered = json!({"data": {"b": 2, "a": 1}, "title": "One", "topics": ["news.local"]});
    let by_header = api
        .post(&[("idempotency-key", "\"n-1\"")], &reordered)
        .await;
    assert_eq!(
        (by_header.status.as_u16(), &by_header.body),
        (200, &first.body)
    );
    api.post(&[], &document("n-1", "Two"))
        .await
        .check_problem(409, "event_exists");
    assert_eq!(stored(&api, "n-1").await.content.title, "One");
    api.stop().await;
}

#[tokio::test]
async fn of_two_contents_posted_at_once_under_one_id_exactly_one_is_stored() {
    let api = Api::start().await;
    for round in 0..20 {
        let id = format!("race-{round}");
        let (left, right) = (document(&id, "Left"), document(&id, "Right"));
        let answers: [_; 2] = tokio::join!(api.post(&[], &left), api.post(&[], &right)).into();
        let mut statuses = answers.each_ref().map(|it| it.status.as_u16());
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "{answers:?}");
        let winner = if answers[0].status == 201 {
            "Left"
        } else {
            "Right"
        };
        assert_eq!(stored(&api, &id).await.content.title, winner);
    }
}

#[tokio::test]
async fn of_the_same_content_posted_at_once_one_is_new_and_all_are_told_the_same() {
    let api = Api::start().await;
    let body = document("same", "Same");
    let answers: [_; 4] = tokio::join!(
        api.post(&[], &body),
        api.post(&[], &body),
        api.post(&[], &body),
        api.post(&[], &body),
    )
    .into();
    let mut statuses = answers.each_ref().map(|it| it.status.as_u16());
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 201], "{answers:?}");
    let bodies: HashSet<String> = answers.iter().map(|it| it.body.to_string()).collect();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}

#[tokio::test]
async fn an_event_without_an_id_gets_one_each_time() {
    let api = Api::start().await;
    let body = json!({"topics": ["news"], "title": "Hello"});
    let (one, two) = (api.post(&[], &body).await, api.post(&[], &body).await);
    assert_eq!((one.status.as_u16(), two.status.as_u16()), (201, 201));
    assert_ne!(one.body["id"], two.body["id"]);
    let repeated = json!({"id": one.body["id"], "topics": ["news"], "title": "Hello"});
    assert_eq!(api.post(&[], &repeated).await.status, 200);
}

#[tokio::test]
async fn what_was_posted_is_what_is_stored() {
    let api = Api::start().await;
    let body = json!({
        "id": "Bestellung \"7\" €", "user": "ada", "title": "T\u{7}ea\u{202e} ", "body": "now\nhot",
        "url": "myapp://order/7", "image": "https://example.org/x.png", "data": {"k": [1]},
        "priority": "bulk", "sound": "default", "badge": 3, "thread": "orders",
        "interruption": "passive", "overrides": {"fcm": {"android": {}}},
        "ttl": "1h", "delivery": "at_least_once",
    });
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer = api.post(&[("traceparent", trace)], &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let event = stored(&api, "Bestellung \"7\" €").await;
    assert_eq!(event.topics, [Topic::of_user("ada")]);
    assert_eq!(
        (event.content.title.as_str(), event.content.body.as_deref()),
        ("Tea", Some("now\nhot"))
    );
    assert_eq!(event.content.url.as_deref(), Some("myapp://order/7"));
    assert_eq!(
        (event.content.badge, event.content.thread.as_deref()),
        (Some(3), Some("orders"))
    );
    assert_eq!(
        (event.urgency.as_str(), event.guarantee.as_str()),
        ("bulk", "at_least_once")
    );
    assert_eq!(event.traceparent.as_deref(), Some(trace));
    let lives = event.expires_at.duration_since(event.occurred_at.unwrap());
    assert_eq!(lives.as_secs(), 3600);
    assert!(!answer.body.to_string().contains("ada"), "{answer:?}");
}
