//! An API that is killed between a change, its record and its answer: whoever was answered has a record,
//! and the same request again settles and records what stands without one.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use fanfare_tests::api::client;
use fanfare_tests::crowd::token;
use fanfare_tests::fault::CrashAt;
use fanfare_tests::{Pipeline, Setup};
use futures::{StreamExt, stream};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::{answered, armed};
use crate::support::{died, setup};

/// Behind the change, before its record, behind that.
const PLACES: [&str; 3] = ["api.written", "audit.due", "audit.stored"];

/// Something that is asked for, and how it is settled.
struct Change {
    operation: &'static str,
    method: Method,
    path: String,
    body: Option<Value>,
    /// What is answered where it stands already.
    status: u16,
}

/// One of each kind; nothing of one place is touched by those of another.
fn changes(n: usize) -> [Change; 4] {
    let device = json!({"app": "ios", "token": token(n), "topics": ["all"]});
    let event = json!({"id": format!("e-{n}"), "topics": ["all"], "title": "One"});
    let change = |operation, method, path: String, body, status| Change {
        operation,
        method,
        path,
        body,
        status,
    };
    [
        change(
            "putDevice",
            Method::PUT,
            format!("/v1/devices/new-{n}"),
            Some(device),
            200,
        ),
        change(
            "followTopic",
            Method::PUT,
            format!("/v1/devices/old/topics/t.{n}"),
            None,
            200,
        ),
        change(
            "postEvent",
            Method::POST,
            "/v1/events".to_owned(),
            Some(event),
            200,
        ),
        change(
            "removeDevice",
            Method::DELETE,
            format!("/v1/devices/gone-{n}"),
            None,
            204,
        ),
    ]
}

async fn ask(at: SocketAddr, change: &Change, id: &str) -> reqwest::Result<Response> {
    let url = format!("http://{at}{}", change.path);
    let request = client().request(change.method.clone(), url);
    let request = request.header("x-request-id", id);
    match &change.body {
        Some(body) => request.json(body).send().await,
        None => request.send().await,
    }
}

/// Whether it was done, as somebody sees who knows nothing of it.
async fn stands(pipeline: &Pipeline, at: SocketAddr, change: &Change, n: usize) -> bool {
    let device = async |path: &str| {
        let asked = client().get(format!("http://{at}{path}")).send().await;
        let answer = asked.unwrap();
        (answer.status() == 200, answer.text().await.unwrap())
    };
    match change.operation {
        "putDevice" => device(&change.path).await.0,
        "removeDevice" => !device(&change.path).await.0,
        "followTopic" => {
            let (_, document) = device("/v1/devices/old").await;
            document.contains(&format!("\"t.{n}\""))
        }
        _ => pipeline.stored_events().await.len() == n + 1,
    }
}

/// The records, by the request's id.
async fn records(at: SocketAddr) -> BTreeMap<String, Vec<Value>> {
    let listed = answered(at, Method::GET, "/v1/audit?limit=200", None).await;
    let mut records = BTreeMap::<_, Vec<_>>::new();
    for record in listed["items"].as_array().unwrap() {
        let id = record["request_id"].as_str().unwrap().to_owned();
        records.entry(id).or_default().push(record.clone());
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_api_is_killed_before_its_answer_is_settled_and_recorded_by_the_same_again()
{
    let operate = Setup {
        extra: "[api.operate]\n".to_owned(),
        ..setup()
    };
    let pipeline = Pipeline::start(operate).await;
    let (survivor, api) = pipeline.api().await;
    let other = survivor.address("the API listens", "address").await;
    let old = json!({"app": "ios", "token": token(90), "topics": ["all"]});
    api.put("old", &old).await;
    let (mut acknowledged, mut cut_off) = (Vec::new(), Vec::new());
    for (n, point) in PLACES.into_iter().enumerate() {
        let gone = json!({"app": "ios", "token": token(91 + n), "topics": ["all"]});
        api.put(&format!("gone-{n}"), &gone).await;
        for change in changes(n) {
            let operation = change.operation;
            if point == "api.written" && operation == "removeDevice" {
                continue; // It does not come past there.
            }
            assert!(!stands(&pipeline, other, &change, n).await, "{operation}");
            // Were it answered before it is recorded, it would be now.
            let crash = CrashAt::new(point, 1).held();
            let (killed, at) = armed(&pipeline, &format!("{operation}-{n}"), &crash).await;
            let id = format!("cut-{operation}-{n}");
            let cut = ask(at, &change, &id).await;
            assert!(cut.is_err(), "{point}: {operation}: it answered: {cut:?}");
            died(killed, &crash).await;
            assert!(
                stands(&pipeline, other, &change, n).await,
                "void: {operation}"
            );
            cut_off.push((id, point == "audit.stored"));

            let id = format!("again-{operation}-{n}");
            let again = ask(other, &change, &id).await.unwrap();
            assert_eq!(again.status(), change.status, "{point}: {operation}");
            assert!(stands(&pipeline, other, &change, n).await, "{operation}");
            acknowledged.push((id, operation, change.status));
        }
    }
    let records = records(other).await;
    for (id, operation, status) in acknowledged {
        let of = records.get(&id).map(Vec::as_slice);
        let Some([record]) = of else {
            panic!("{id}: {of:?}");
        };
        assert_eq!(record["operation"], operation, "{record}");
        assert_eq!(record["status"], status, "{record}");
    }
    // Whoever was not answered has a record if he died behind it.
    for (id, is_recorded) in cut_off {
        let n = records.get(&id).map_or(0, Vec::len);
        assert_eq!(n, usize::from(is_recorded), "{id}");
    }
    assert_eq!(
        pipeline.stored_events().await.len(),
        PLACES.len(),
        "each once"
    );
    survivor.drain(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_changes_at_once_whoever_was_answered_before_the_kill_has_a_record() {
    const CHANGES: usize = 60;
    let operate = Setup {
        extra: "[api.operate]\n".to_owned(),
        ..setup()
    };
    let pipeline = Pipeline::start(operate).await;
    let (survivor, _api) = pipeline.api().await;
    let other = survivor.address("the API listens", "address").await;
    // A message has the records of several.
    for (round, point) in ["audit.due", "audit.stored"].into_iter().enumerate() {
        let crash = CrashAt::new(point, 5).held();
        let (killed, at) = armed(&pipeline, &point.replace('.', "-"), &crash).await;
        let asked = (0..CHANGES).map(async |n| {
            let [put, ..] = changes(round * CHANGES + n);
            let id = format!("{point}-{n}");
            let answer = ask(at, &put, &id).await;
            (id, answer.is_ok_and(|it| it.status().is_success()))
        });
        let asked = stream::iter(asked).buffer_unordered(8);
        let asked: Vec<_> = asked.collect().await;
        died(killed, &crash).await;
        let n_good = asked.iter().filter(|(_, is_good)| *is_good).count();
        assert!((1..CHANGES).contains(&n_good), "void: {n_good} answered");
        let recorded = records(other).await;
        for (id, _) in asked.into_iter().filter(|(_, is_good)| *is_good) {
            let n = recorded.get(&id).map_or(0, Vec::len);
            assert_eq!(n, 1, "{id} was answered");
        }
    }
    survivor.drain(&[]).await;
}
