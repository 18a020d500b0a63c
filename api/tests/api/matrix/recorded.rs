//! Every operation of the contract that changes something leaves one record: a new one cannot be
//! forgotten, because it has to have a row in `requests.rs`.

use std::collections::BTreeMap;

use fanfare_nats::audit::{Kept, Place};
use reqwest::Method;
use serde_json::{Value, json};

use super::requests::{Request, good};
use super::stage::Stage;

/// Questions that have a body.
const CHANGE_NOTHING: [&str; 1] = ["askAudience"];

/// The row of an operation, done in earnest.
async fn earnest(operation: &str, stage: &Stage) -> Request {
    let request = good(operation, stage).await;
    let mut request = request.unwrap_or_else(|| panic!("{operation} has no row"));
    if operation == "replayDeadLetters" {
        let body = json!({"letters": [stage.letter().await]});
        request.body = Some(("application/json", body.to_string().into_bytes()));
    }
    request
        .headers
        .push(("x-request-id", format!("of-{operation}")));
    request
}

#[tokio::test]
async fn every_operation_that_changes_something_leaves_one_record_and_no_other_leaves_any() {
    let stage = Stage::set().await;
    let mut expected: BTreeMap<String, (usize, u16)> = BTreeMap::new();
    for (method, path, document) in stage.api.contract().operations() {
        let operation = document["operationId"].as_str().unwrap();
        stage.reset().await;
        let request = earnest(operation, &stage).await;
        let path = request.path(path);
        let shown = Some(stage.admin());
        let answer = stage.send(method.clone(), &path, shown, &request).await;
        assert!(answer.status.is_success(), "{operation}: {answer:?}");
        let changes = method != Method::GET && !CHANGE_NOTHING.contains(&operation);
        let status = answer.status.as_u16();
        expected.insert(operation.to_owned(), (usize::from(changes), status));
    }
    // No waiting here: what is answered has its record.
    let broker = &stage.api.broker;
    let all = broker.changes_after(None, Place::default(), 100_000).await;
    let all = all.unwrap();
    for (operation, (n, status)) in &expected {
        let id = format!("of-{operation}");
        let of = |it: &&Kept| it.change.as_ref().unwrap().request.as_ref() == Some(&id);
        let records: Vec<&Kept> = all.iter().filter(of).collect();
        assert_eq!(records.len(), *n, "{operation}: {records:?}");
        for record in records {
            let change = record.change.as_ref().unwrap();
            assert_eq!(change.what, *operation);
            assert_eq!(change.status, Some(*status), "{change:?}");
            assert_eq!(
                (record.tenant.as_str(), record.user.as_str()),
                ("main", "api")
            );
        }
    }
    let n = expected.values().map(|(n, _)| n).sum::<usize>();
    assert!(n >= 15, "{n} operations change something");
    let told: Vec<Value> = all.iter().map(|it| json!(it.change)).collect();
    let told = json!(told).to_string();
    for secret in [super::stage::TOKEN, "fanfare_main_", "fanfare-device_"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
    stage.api.stop().await;
}
