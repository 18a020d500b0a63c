//! Everything at once, on several threads: what was said must be what the ledger says.

#![expect(clippy::panic, reason = "support of tests")]

use std::collections::HashMap;
use std::time::Duration;

use fanfare_notifier::outcome::Outcome;
use fanfare_notifier::provider::AppConfig;
use fanfare_sim::Latency;
use fanfare_sim::ledger::{ProviderKind, Verdict};
use fanfare_sim::script::{Answer, Rule};
use futures::StreamExt as _;

use crate::stage::{Stage, assert_accepted, push_to};

const N_PUSHES: usize = 3_000;

fn storm(answer: Answer, share: f64) -> Rule {
    Rule {
        share,
        ..Rule::new(answer)
    }
}

/// `share` picks by a hash of the request's number, so each rule gets tokens of its own.
fn begin(stage: &Stage) -> Vec<u64> {
    let rules = [
        storm(Answer::RefuseStream, 0.02),
        storm(Answer::Goaway, 0.01),
        storm(Answer::GoawayBelow, 0.01),
        storm(Answer::ResetStream { code: 2 }, 0.01),
        storm(Answer::ResetConnection, 0.005),
        storm(Answer::MaxStreams { streams: 3 }, 0.005),
        storm(Answer::MaxStreams { streams: 20 }, 0.005),
        storm(Answer::Unavailable { retry_after: None }, 0.01),
    ];
    rules
        .into_iter()
        .enumerate()
        .map(|(n, rule)| {
            stage.sim.add_rule(Rule {
                token_prefix: Some(format!("{n:x}")),
                share: rule.share * 8.0,
                ..rule
            })
        })
        .collect()
}

/// How often each token's push was accepted, by the ledger.
fn accepted(stage: &Stage) -> HashMap<String, u32> {
    let mut accepted = HashMap::new();
    for request in stage.requests() {
        if request.verdict == Verdict::Accepted {
            *accepted.entry(request.token).or_default() += 1;
        }
    }
    accepted
}

/// Holds an outcome against the ledger; true for one that leaves it open.
fn is_ambiguous(token: &str, outcome: Option<&Outcome>, accepted: &HashMap<String, u32>) -> bool {
    let was_accepted = accepted.contains_key(token);
    match outcome {
        Some(Outcome::Accepted { .. }) => assert!(was_accepted, "{token}"),
        Some(Outcome::Unavailable {
            maybe_delivered: false,
            ..
        }) => {
            assert!(!was_accepted, "{token} {outcome:?}");
        }
        Some(Outcome::Unavailable {
            maybe_delivered: true,
            ..
        }) => return true,
        None => {}
        Some(other) => panic!("{other:?}"),
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_storm_no_push_is_repeated_and_no_outcome_is_wrong() {
    let stage = Stage::with(|it| it.apns.as_mut().unwrap().max_streams = 16).await;
    stage.sim.set_latency(
        ProviderKind::Apns,
        Latency {
            fixed_us: 500,
            jitter_us: 2_000,
            ..Latency::default()
        },
    );
    let ids = begin(&stage);
    let app = stage.open(&AppConfig {
        connections: Some(3),
        ..stage.apns_config()
    });
    let outcomes: HashMap<String, Option<Outcome>> = futures::stream::iter(0..N_PUSHES)
        .map(|n| {
            let app = &app;
            async move {
                let token = format!("{:x}{n:063x}", n % 16);
                // Some are given up in the middle, as when a task is stopped.
                let wait = if n % 50 == 0 { 2 } else { 60_000 };
                let pushed = push_to(app, &token);
                let outcome = tokio::time::timeout(Duration::from_millis(wait), pushed)
                    .await
                    .ok();
                (token, outcome)
            }
        })
        .buffer_unordered(100)
        .collect()
        .await;
    for id in ids {
        stage.sim.script().remove(id);
    }
    // No place was lost: all of them can be used again.
    let tokens: Vec<String> = (0..200).map(|n| format!("f{n:063x}aa")).collect();
    let after = futures::future::join_all(tokens.iter().map(|it| push_to(&app, it))).await;
    after.iter().for_each(assert_accepted);

    let accepted = accepted(&stage);
    assert_eq!(
        accepted.values().filter(|it| **it > 1).count(),
        0,
        "repeated"
    );
    let n_ambiguous = outcomes
        .iter()
        .filter(|(token, it)| is_ambiguous(token, it.as_ref(), &accepted))
        .count();
    assert!(n_ambiguous > 0, "the storm did not bite");
    assert!(stage.sim.counts().unavailable > 0, "the storm did not bite");
    stage.end(app).await;
}
