//! What a device's topics had while its app was away.

use fanfare_nats::event::SourceName;
use fanfare_nats::{Event, Level, ScreenId, Topic};
use serde_json::{Value, json};

use crate::harness::{Answer, Api, eventually};
use crate::keys::{bearer, known};

const MISSED: &str = "/v1/devices/phone-1/missed";

async fn post(api: &Api, id: &str, topics: &[&str], data: Value) -> Answer {
    let body = json!({"id": id, "topics": topics, "title": id, "data": data});
    api.post(&[], &body).await
}

fn titles(answer: &Answer) -> Vec<&str> {
    let items = answer.body["items"].as_array().unwrap();
    items
        .iter()
        .map(|it| it["title"].as_str().unwrap())
        .collect()
}

/// Follows the links from the first page to the last.
async fn all(api: &Api, query: &str) -> Vec<String> {
    let (mut path, mut seen) = (format!("{MISSED}?{query}"), Vec::new());
    loop {
        let page = api.get(&path).await;
        assert_eq!(page.status, 200, "{page:?}");
        seen.extend(titles(&page).into_iter().map(str::to_owned));
        let Some(link) = page.header("link").split_once('>') else {
            assert_eq!(page.body.get("next_cursor"), None);
            return seen;
        };
        path = link.0.replace('<', "");
    }
}

#[tokio::test]
async fn an_app_that_comes_back_is_told_what_concerned_it() {
    let api = Api::start().await;
    let phone = json!({
        "app": "ios", "token": "t", "user": "ada",
        "topics": ["news.>", {"pattern": "quakes.*", "filters": [{"field": "mag", "min": 5}]}],
    });
    api.put("/v1/devices/phone-1", &[], &phone).await;
    assert_eq!(all(&api, "since=2026-01-01T00:00:00Z").await, [""; 0]);
    let first = post(&api, "before", &["news.a"], json!({})).await;
    let middle = api.get("/v1/events/before").await;
    let stored_at = middle.body["timeline"][0]["at"]
        .as_str()
        .unwrap()
        .to_owned();
    post(&api, "one", &["news.b", "weather"], json!({})).await;
    post(&api, "weak", &["quakes.us"], json!({"mag": 4})).await;
    post(&api, "strong", &["quakes.us"], json!({"mag": 6})).await;
    post(&api, "other", &["weather"], json!({})).await;
    for to in [
        json!({"device": "phone-1"}),
        json!({"user": "ada"}),
        json!({"user": "bob"}),
    ] {
        let mut body = json!({"id": to.to_string(), "title": to.to_string()});
        body.as_object_mut()
            .unwrap()
            .extend(to.as_object().unwrap().clone());
        assert_eq!(api.post(&[], &body).await.status, 201);
    }
    let own = [
        r#"{"user":"ada"}"#,
        r#"{"device":"phone-1"}"#,
        "strong",
        "one",
    ];
    let event = first.body["event"].as_str().unwrap();
    for query in [format!("since={event}"), format!("limit=1&since={event}")] {
        assert_eq!(all(&api, &query).await, own, "{query}");
    }
    let with_first = [&own[..], &["before"]].concat();
    assert_eq!(
        all(&api, &format!("limit=2&since={stored_at}")).await,
        with_first
    );
    assert_eq!(all(&api, "since=2090-01-01T00:00:00Z").await, [""; 0]);

    let page = api.get(&format!("{MISSED}?since={event}")).await;
    let last = &page.body["items"][3];
    assert_eq!(
        last["topics"],
        json!(["news.b"]),
        "of others' nothing is told"
    );
    assert!(last["stored_at"].as_str() > Some(&stored_at));
    api.stop().await;
}

#[tokio::test]
async fn what_is_asked_wrongly_and_what_is_anothers_is_refused_alike() {
    let api = Api::start().await;
    let phone = json!({"app": "ios", "token": "t", "topics": ["news"]});
    api.put("/v1/devices/phone-1", &[], &phone).await;
    for wrong in [
        MISSED.to_owned(),
        format!("{MISSED}?since=x"),
        format!("{MISSED}?cursor=00"),
    ] {
        api.get(&wrong).await.check_problem(400, "invalid_request");
    }
    // An event that is another's, and one that is none, look alike.
    let others = post(&api, "others", &["weather"], json!({})).await;
    let others = others.body["event"].as_str().unwrap();
    let refused = api.get(&format!("{MISSED}?since={others}")).await;
    let unknown = api.get(&format!("{MISSED}?since={}", "0".repeat(32))).await;
    assert_eq!(refused.body["detail"], unknown.body["detail"]);
    let nobody = api
        .get("/v1/devices/nobody/missed?since=2026-01-01T00:00:00Z")
        .await;
    nobody.check_problem(404, "no_such_device");
    api.stop().await;
}

/// More events than one request looks at: pages without items lead on.
#[tokio::test]
async fn one_request_reads_so_much_and_the_next_goes_on() {
    let api = Api::start().await;
    let phone = json!({"app": "ios", "token": "t", "topics": ["news"]});
    api.put("/v1/devices/phone-1", &[], &phone).await;
    post(&api, "one", &["news"], json!({})).await;
    let source = SourceName::api();
    let screen = ScreenId::new(&source, "one");
    let stored = api.broker.stored_event(&source, &screen, &Level::First);
    let (_, one) = stored.await.unwrap().unwrap();
    for n in 0..2100 {
        let other = Event {
            item: format!("other-{n}"),
            topics: vec![Topic::parse("weather").unwrap()],
            ..one.clone()
        };
        api.broker.post(&other).await.unwrap();
    }
    let since = "since=2026-01-01T00:00:00Z";
    let page = api.get(&format!("{MISSED}?{since}")).await;
    assert_eq!(
        (titles(&page).len(), page.header("link").is_empty()),
        (0, false)
    );
    assert_eq!(all(&api, since).await, ["one"]);
}

#[tokio::test]
async fn a_device_asks_for_itself_alone() {
    let api = Api::start_locked().await;
    let (_, backend) = known(&api, "devices:write").await;
    let mut secrets = Vec::new();
    for id in ["phone-1", "phone-2"] {
        let body = json!({"app": "ios", "token": id});
        let path = format!("/v1/devices/{id}");
        let put = api.put(&path, &[("authorization", &backend)], &body).await;
        secrets.push(bearer(put.body["secret"].as_str().unwrap()));
    }
    let path = format!("{MISSED}?since=2026-01-01T00:00:00Z");
    for (secret, status) in [(&secrets[0], 200), (&secrets[1], 401)] {
        let headers = [("authorization", secret.as_str())];
        let ask = async || api.send(reqwest::Method::GET, &path, &headers, None).await;
        let answer = eventually(ask, |it| it.status != 503).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
}
