//! Secrets, tokens and users that were planted are in what is stored and sent, and nowhere else: not
//! in logs at their most talkative, in metrics, in subjects and headers, or in what is answered.

mod heard;
mod requests;

use std::fs;
use std::time::Duration;

use fanfare_sim::script::{Answer, RetryAfter, Rule, Scope};
use fanfare_tests::canary::{Canary, Place, scan};
use fanfare_tests::{Pipeline, Process, Setup, eventually};

use self::heard::Heard;
use self::requests::{Client, Told, ordinary, wrong};
use crate::support::token;

/// A request's own id is written down on purpose: whoever looks would find a secret there too.
const ON_PURPOSE: &str = "canary-on-purpose-41c7";

/// The users and the key that exists nowhere.
const USER: &str = "canary-ada-9d3f5a7c";
const WRONG_KEY: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796";

/// A token of an app, different for each number, and like no other number in a log.
fn canary_token(n: usize) -> String {
    format!("ca11ab1e5eed{}", &token(0xfeed_0000 + n)[12..])
}

async fn start(pipeline: &Pipeline, role: &str) -> Process {
    let variables = [
        ("FANFARE__LOG__FILTER", "trace".to_owned()),
        ("FANFARE__API__KEYS", "required".to_owned()),
    ];
    let process = pipeline.begin(role, role, &variables);
    process.ready().await;
    process
}

/// Makes a key with the command line and gives its text.
async fn key(pipeline: &Pipeline, scope: &str) -> String {
    let ended = pipeline
        .command(&["keys", "create", "canary", "--scope", scope])
        .await;
    let mut words = ended.printed.split_whitespace();
    let key = words.find(|it| it.starts_with("fanfare_main_"));
    key.expect("a key is printed").to_owned()
}

/// What must not be told: of a key and of a device's secret the part that proves it.
fn canaries(pipeline: &Pipeline, keys: &[&str], told: &Told) -> Vec<Canary> {
    let secret = |it: &str| it.rsplit('_').next().unwrap().to_owned();
    let mut canaries = vec![
        Canary::new("a user", USER),
        Canary::new("a key that never was", WRONG_KEY),
        // A header of a JSON Web Token, of whatever key.
        Canary::new("a provider's token", "eyJhbGciOiJF"),
        Canary::new("a provider's token", "eyJhbGciOiJS"),
    ];
    canaries.extend(keys.iter().map(|it| Canary::new("a key", &secret(it))));
    let secrets = told.secrets.iter();
    canaries.extend(secrets.map(|it| Canary::new("a device's secret", &secret(it))));
    for n in 0..requests::N_DEVICES {
        canaries.push(Canary::new("a token", &canary_token(n)));
    }
    let at = pipeline.sim.whereabouts();
    for file in [&at.apns_key, &at.fcm_service_account] {
        let text = fs::read_to_string(file).unwrap().replace("\\n", "\n");
        let is_key = |it: &&str| it.len() >= 40 && !it.contains(['"', ' ', '-']);
        for line in text.lines().filter(is_key) {
            canaries.push(Canary::new("a provider's key", line));
        }
    }
    canaries
}

/// Something of everything that a push can meet.
fn obstacles(pipeline: &Pipeline) {
    let answers = [
        Answer::Unregistered {
            ago_ms: 0,
            no_timestamp: false,
        },
        Answer::TooMany {
            scope: Scope::Device,
            retry_after: Some(RetryAfter::Seconds(1)),
        },
        Answer::Reason {
            status: 400,
            reason: "BadDeviceToken".to_owned(),
            retry_after: None,
        },
    ];
    for (n, answer) in answers.into_iter().enumerate() {
        pipeline.sim.add_rule(Rule {
            token: Some(canary_token(n)),
            count: Some(1),
            ..Rule::new(answer)
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_secret_is_in_what_is_stored_and_nowhere_else() {
    let pipeline = Pipeline::start(Setup::default()).await;
    let api = start(&pipeline, "api").await;
    let heard = Heard::start(pipeline.broker()).await;
    let notifier = start(&pipeline, "notifier").await;
    obstacles(&pipeline);
    let admin = key(&pipeline, "admin").await;
    let reader = key(&pipeline, "read").await;
    let at = api.address("the API listens", "address").await;
    let client = Client::new(at);
    eventually("the keys are known", async || {
        let answer = client.get("/v1/lanes", &reader).await;
        (answer == 200).then_some(()).ok_or(answer)
    })
    .await;

    let mut told = Told::default();
    ordinary(&client, &admin, &mut told).await;
    wrong(&client, &admin, &reader, &mut told).await;
    pipeline.settled().await;
    let n_sent = pipeline.requests().len();
    assert!(n_sent >= requests::N_DEVICES, "void: {n_sent} pushes");
    assert!(told.refused.len() >= 18, "void: {told:#?}");

    let canaries = canaries(&pipeline, &[&admin, &reader], &told);
    let mut places = vec![
        Place::new("refusals", told.refused),
        Place::new("subjects and headers", heard.lines().await),
    ];
    for process in [&api, &notifier] {
        let name = process.name();
        places.push(Place::new(&format!("log of {name}"), process.lines()));
        let metrics = process.metrics().await;
        let metrics = metrics.lines().map(str::to_owned).collect();
        places.push(Place::new(&format!("metrics of {name}"), metrics));
    }
    for place in &places {
        println!("{}: {} lines", place.name, place.lines.len());
    }
    let hits = scan(&canaries, &places);
    let few: Vec<_> = hits.iter().take(20).collect();
    assert!(hits.is_empty(), "{} hits: {few:#?}", hits.len());

    // What was written down on purpose is found, so that a secret would be.
    let on_purpose = [Canary::new("on purpose", ON_PURPOSE)];
    for place in ["refusals", "log of api"] {
        let place: Vec<_> = places
            .iter()
            .filter(|it| it.name == place)
            .cloned()
            .collect();
        assert!(!scan(&on_purpose, &place).is_empty(), "{place:?}");
    }
    let device = [Canary::new("a device's id", requests::DEVICE)];
    assert!(
        !scan(&device, &places[1..2]).is_empty(),
        "void: no subject heard"
    );
    drop(tokio::time::timeout(Duration::from_secs(1), heard.end()).await);
    api.drain(&[]).await;
    notifier.drain(&["WARN"]).await;
}
