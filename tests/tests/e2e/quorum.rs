//! Two of three brokers are gone: nobody accepts, plans or sends anything, everyone says so once, and
//! everything goes on by itself when they are back.

use std::collections::BTreeSet;
use std::time::Duration;

use fanfare_tests::eventually::eventually_within;
use fanfare_tests::{Pipeline, Process, Registrations, Setup, eventually};
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::many;

const N_DEVICES: usize = 200;
const POLLED_AT: &str = "fanfare_source_last_success_timestamp_seconds";
/// Said once when it begins, and once when it ends, by each process.
const BEGAN: &str = "no answer from the broker: what needs it waits";
const ENDED: &str = "the broker answers again: everything goes on";

/// What each role says while there is no quorum, and the text that says so.
async fn says_so(process: &Process) -> String {
    eventually_within(Duration::from_secs(25), process.name(), async || {
        let told = process.unready().await;
        let line = told.lines().find(|it| it.starts_with("[-] broker: "));
        match line {
            Some(line) if line.contains("(since 2") => Ok(line.to_owned()),
            _ => Err(told),
        }
    })
    .await
}

fn n_said(process: &Process, message: &str) -> usize {
    let lines = process.lines();
    lines.iter().filter(|it| it.contains(message)).count()
}

/// A write that is refused for now, and told when to come again.
async fn is_put_off(api: &Process, method: Method, path: &str, body: &Value) {
    let at = api.address("the API listens", "address").await;
    let client = fanfare_tests::api::client();
    let request = client
        .request(method, format!("http://{at}{path}"))
        .json(body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
    let after = answer.headers()[RETRY_AFTER].to_str().unwrap().to_owned();
    assert!(after.parse::<u32>().unwrap() >= 1, "{after}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_quorum_every_role_waits_says_so_and_goes_on_by_itself() {
    let pipeline = Pipeline::start(Setup {
        is_three: true,
        ..Setup::default()
    })
    .await;
    let (api_process, api) = pipeline.api().await;
    let fetcher = pipeline.role("fetcher", "f1").await;
    let notifier = pipeline.role("notifier", "n1").await;
    let processes = [&api_process, &fetcher, &notifier];
    let mut registrations = Registrations::default();
    api.put_all(&many(N_DEVICES, &["all"], &mut registrations))
        .await;
    api.post("before", &["all"]).await;
    all_served(&pipeline, 1).await;
    // And recorded: of what is not, the pushes would be made again.
    pipeline.settled().await;
    let n_stored = fetcher.metric("fanfare_events_total").await;

    strike(&pipeline, false).await;
    // News at the source, which nobody can store.
    pipeline.sim.leap_feed(2.0 * 3600.0);
    let event =
        json!({"id": "meanwhile", "topics": ["all"], "title": "meanwhile", "body": "a test"});
    is_put_off(&api_process, Method::POST, "/v1/events", &event).await;
    let device = json!({"app": "ios", "token": "00".repeat(32), "topics": ["all"]});
    is_put_off(&api_process, Method::PUT, "/v1/devices/late", &device).await;
    for process in processes {
        println!("{}: {}", process.name(), says_so(process).await);
        let answers = process.metric("fanfare_nats_answers").await;
        assert!(answers < 1.0, "{answers}");
    }
    let held_at = fetcher.metric(POLLED_AT).await;
    assert_eq!(pipeline.requests().len(), N_DEVICES);

    strike(&pipeline, true).await;
    for process in processes {
        process.ready().await;
    }
    // It may be stored or not: whoever was put off sends the same again.
    api.post_again("meanwhile", &["all"]).await;
    api.post("after", &["all"]).await;
    all_served(&pipeline, 3).await;
    assert_eq!(
        pipeline.requests().len(),
        3 * N_DEVICES,
        "each of them once"
    );
    eventually("the news of the source", async || {
        let n = fetcher.metric("fanfare_events_total").await;
        let at = fetcher.metric(POLLED_AT).await;
        let is_there = n > n_stored && at > held_at;
        is_there.then_some(()).ok_or(format!("{n} {at}"))
    })
    .await;
    for process in processes {
        has_told_once(process).await;
    }
    members(&pipeline).await;
}

/// One line when it began and one when it ended, not one for each try. A group that elects its leader
/// long after the others, and is asked only then, may be told once more.
async fn has_told_once(process: &Process) {
    let (name, lines) = (process.name(), process.lines());
    let n_began = n_said(process, BEGAN);
    assert!((1..=2).contains(&n_began), "{name}: {lines:#?}");
    assert_eq!(n_said(process, ENDED), n_began, "{name}: {lines:#?}");
    let answers = process.metric("fanfare_nats_answers").await;
    let n_outages = process.metric("fanfare_nats_outages_total").await;
    assert!(answers > 0.0, "{name}");
    assert!((0.5..2.5).contains(&n_outages), "{name}: {n_outages}");
    let warnings = process.warnings();
    assert!(warnings.len() <= 12, "{name}: {warnings:#?}");
}

/// Kills two of three brokers, or starts them again.
async fn strike(pipeline: &Pipeline, is_back: bool) {
    let mut server = pipeline.server.lock().await;
    let servers = server.cluster().unwrap().servers_mut();
    for server in &mut servers[1..] {
        if is_back {
            server.restart().await.unwrap();
        } else {
            server.kill9().await.unwrap();
        }
    }
}

async fn all_served(pipeline: &Pipeline, n_events: usize) {
    eventually_within(Duration::from_secs(40), "pushes", async || {
        let requests = pipeline.requests();
        let served: BTreeSet<_> = requests.iter().map(|it| (&it.event, &it.token)).collect();
        if served.len() == n_events * N_DEVICES {
            Ok(())
        } else {
            Err(served.len())
        }
    })
    .await;
}

/// Everyone is back in the list that operators look at.
async fn members(pipeline: &Pipeline) {
    eventually("members", async || {
        let ended = pipeline.command(&["members", "--json"]).await;
        let ready: BTreeSet<String> = (ended.printed.lines())
            .filter_map(|it| serde_json::from_str::<Value>(it).ok())
            .filter(|it| it["ready"] == true)
            .filter_map(|it| Some(it["role"].as_str()?.to_owned()))
            .collect();
        if ready.len() == 3 {
            Ok(())
        } else {
            Err(ended.printed)
        }
    })
    .await;
}
