//! An API that is killed in the middle of an import.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use fanfare_tests::api::client;
use fanfare_tests::audit::Registrations;
use fanfare_tests::crowd::many;
use fanfare_tests::fault::CrashAt;
use fanfare_tests::{Pipeline, eventually};
use serde_json::{Value, json};

use super::armed;
use crate::support::{died, setup};

const DEVICES: usize = 4000;
/// Shortly before the third thousand, while all of it is under way.
const CUT_AT: u64 = 2990;
/// Documents that are under way at once.
const AT_ONCE: u64 = 64;

/// What an import was answered, also if the answer breaks off.
async fn import(at: SocketAddr, file: &str) -> (Vec<Value>, bool) {
    let request = client().post(format!("http://{at}/v1/bulk/devices"));
    let request = request.header("content-type", "application/x-ndjson");
    let mut answer = request.body(file.to_owned()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut told = Vec::new();
    let is_whole = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => told.extend_from_slice(&chunk),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    // Of a line that broke off nothing is known.
    let end = told
        .iter()
        .rposition(|it| *it == b'\n')
        .map_or(0, |it| it + 1);
    let lines = told[..end]
        .split(|it| *it == b'\n')
        .filter(|it| !it.is_empty());
    let lines = lines.map(|it| serde_json::from_slice(it).unwrap());
    (lines.collect(), is_whole)
}

/// Every device that there is, with all of its document.
async fn export(at: SocketAddr) -> Vec<Value> {
    let text = eventually("an export", async || {
        let url = format!("http://{at}/v1/bulk/devices?tokens=true");
        let answer = client().get(url).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        if status == 200 { Ok(text) } else { Err(text) }
    });
    let text = text.await;
    let lines = text.lines().map(|it| serde_json::from_str(it).unwrap());
    lines.collect()
}

fn by_id(devices: &[Value]) -> BTreeMap<String, &Value> {
    let named = |it: &'_ Value| it["id"].as_str().unwrap().to_owned();
    devices.iter().map(|it| (named(it), it)).collect()
}

/// The counts of each word of progress, in order.
fn progress(told: &[Value]) -> Vec<u64> {
    let counts = told.iter().filter_map(|it| it.get("progress"));
    let counts = counts.map(|it| {
        let n = |name: &str| it[name].as_u64().unwrap();
        assert_eq!((n("failed"), n("pending")), (0, 0), "{it}");
        let written = n("created") + n("replaced");
        assert!((written..=written + AT_ONCE).contains(&n("lines")), "{it}");
        written
    });
    counts.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_whose_api_is_killed_keeps_what_it_told_of_and_the_same_again_brings_the_rest() {
    let pipeline = Pipeline::start(setup()).await;
    let (survivor, _api) = pipeline.api().await;
    let other = survivor.address("the API listens", "address").await;
    let topics = ["all", "quakes.>"];
    let mut wanted = Vec::new();
    for (id, mut document) in many(DEVICES, &topics, &mut Registrations::default()) {
        document["id"] = json!(id);
        document["topics"] = json!([{"pattern": "all"}, {"pattern": "quakes.>"}]);
        wanted.push(document);
    }
    let lines: Vec<_> = wanted.iter().map(Value::to_string).collect();
    let file = lines.join("\n");

    let crash = CrashAt::new("import.written", CUT_AT);
    let (killed, at) = armed(&pipeline, "killed", &crash).await;
    let (told, is_whole) = import(at, &file).await;
    died(killed, &crash).await;
    assert!(!is_whole, "void: {:?}", told.last());
    assert!(
        told.iter().all(|it| it.get("summary").is_none()),
        "{told:?}"
    );
    let accepted = progress(&told);
    assert!(!accepted.is_empty(), "void: nothing was told");
    assert!([1000, 2000].starts_with(&accepted), "{accepted:?}");
    let kept = export(other).await;
    let n_kept = kept.len() as u64;
    let possible = CUT_AT..=CUT_AT + AT_ONCE;
    assert!(possible.contains(&n_kept), "{n_kept} are there");
    for (id, device) in by_id(&kept) {
        assert_eq!(Some(&device), by_id(&wanted).get(&id));
    }

    // The same file by another API, and once more.
    for created in [DEVICES as u64 - n_kept, 0] {
        let (told, is_whole) = import(other, &file).await;
        assert!(is_whole);
        assert_eq!(progress(&told), [1000, 2000, 3000, 4000]);
        let summary = json!({"summary": {
            "lines": DEVICES, "created": created, "replaced": DEVICES as u64 - created,
            "failed": 0, "pending": 0, "is_complete": true, "ended": "end",
        }});
        assert_eq!(told.last(), Some(&summary));
        assert_eq!(told.len(), 5, "{told:?}");
        let all = export(other).await;
        assert_eq!(all.len(), DEVICES, "each once");
        assert_eq!(by_id(&all), by_id(&wanted));
    }
    survivor.drain(&[]).await;
}
