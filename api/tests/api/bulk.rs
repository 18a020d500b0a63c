//! Many devices in one request, in and out.

mod ends;

use fanfare_api::Config;
use reqwest::Client;
use serde_json::{Value, json};

use crate::harness::{Api, eventually};

async fn loaded(config: Config) -> Api {
    let api = Api::start_with(config).await;
    eventually(async || api.get("/v1/topics").await, |it| it.status != 503).await;
    api
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect()
}

pub async fn import(api: &Api, body: String) -> Vec<Value> {
    let client = Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("http://{}/v1/bulk/devices", api.address()));
    let request = request.header("content-type", "application/x-ndjson");
    let response = request.body(body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    lines(&response.text().await.unwrap())
}

async fn export(api: &Api, query: &str) -> Vec<Value> {
    let client = Client::builder().no_proxy().build().unwrap();
    let request = client.get(format!("http://{}/v1/bulk/devices{query}", api.address()));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    lines(&response.text().await.unwrap())
}

#[tokio::test]
async fn each_line_is_a_device_and_each_bad_one_is_told_with_its_number() {
    let api = loaded(Config::default()).await;
    let mut body = String::new();
    for n in 0..2500 {
        let line = json!({"id": format!("d{n}"), "app": "ios", "token": format!("token-{n}"), "topics": ["a.>"]});
        body.push_str(&line.to_string());
        body.push('\n');
    }
    body += "\n{\"id\": \"x y\", \"app\": \"ios\", \"token\": 7}\nno json\n";
    body += "{\"id\": \"d0\", \"app\": \"ios\", \"token\": \"other\"}";
    let told = import(&api, body).await;
    let summary = &told.last().unwrap()["summary"];
    let expected = json!({
        "lines": 2504, "created": 2500, "replaced": 1, "failed": 2, "pending": 0,
        "is_complete": true, "ended": "end",
    });
    assert_eq!(*summary, expected);
    assert_eq!(
        told.iter()
            .filter(|it| it.get("progress").is_some())
            .count(),
        2
    );
    let failed: Vec<_> = told.iter().filter(|it| it.get("line").is_some()).collect();
    assert_eq!(
        (&failed[0]["line"], &failed[0]["code"]),
        (&json!(2502), &json!("invalid_fields"))
    );
    let pointers = failed[0]["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["pointer"].clone());
    assert_eq!(pointers.collect::<Vec<_>>(), ["/id", "/token"]);
    assert_eq!(
        (&failed[1]["line"], &failed[1]["code"]),
        (&json!(2503), &json!("invalid_json"))
    );
    let shown = export(&api, "").await;
    assert_eq!(shown.len(), 2500);
    assert!(shown.iter().all(|it| it.get("token").is_none()));
    let whole = export(&api, "?tokens=true").await;
    let first = whole.iter().find(|it| it["id"] == "d0").unwrap();
    assert_eq!(first["token"], "other");
    let again: Vec<String> = whole.iter().map(Value::to_string).collect();
    let told = import(&api, again.join("\n")).await;
    assert_eq!(told.last().unwrap()["summary"]["replaced"], 2500);
}

#[tokio::test]
async fn lines_about_one_device_are_written_in_their_order() {
    let api = loaded(Config::default()).await;
    let line = |n| json!({"id": "d", "app": "ios", "token": format!("token-{n}")}).to_string();
    let body: Vec<String> = (0..200).map(line).collect();
    let told = import(&api, body.join("\n")).await;
    let summary = &told.last().unwrap()["summary"];
    assert_eq!(
        (&summary["created"], &summary["replaced"]),
        (&json!(1), &json!(199))
    );
    assert_eq!(export(&api, "?tokens=true").await[0]["token"], "token-199");
}

#[tokio::test]
async fn a_line_with_somebody_elses_token_waits_and_is_counted() {
    let api = loaded(Config::default()).await;
    let line = |id, user| json!({"id": id, "app": "ios", "token": "t", "user": user}).to_string();
    import(&api, line("hers", "ada")).await;
    // What was imported is known to whatever is asked of all devices.
    assert_eq!(export(&api, "").await.len(), 1);
    let told = import(&api, [line("his", "bob"), line("next", "ada")].join("\n")).await;
    let summary = &told.last().unwrap()["summary"];
    assert_eq!(
        (&summary["created"], &summary["pending"]),
        (&json!(2), &json!(1))
    );
    let his = api.get("/v1/devices/his").await;
    assert!(his.body["pending_until"].is_string(), "{his:?}");
}
