//! What a provider does to one app of two: nothing is lost, and the other app goes on.

use std::time::Duration;

use fanfare_sim::ledger::{ProviderKind, Request, Verdict};
use fanfare_sim::script::{Answer, RetryAfter, Rule, Scope};
use fanfare_tests::eventually::{at_least, eventually_within};
use fanfare_tests::{Process, Setup};

use crate::support::{Stage, setup};

/// Half of them of the app that suffers.
const N: usize = 300;

/// A word, what happens, to which share of the requests, and to how many at most.
type Fault = (&'static str, Answer, f64, Option<u64>);

fn faults() -> Vec<Fault> {
    let retry_after = Some(RetryAfter::Seconds(1));
    let slow = |head_ms| Answer::Slow {
        head_ms,
        body_ms: 0,
    };
    let device = Answer::TooMany {
        scope: Scope::Device,
        retry_after,
    };
    vec![
        ("slow", slow(1500), 1.0, None),
        ("429", device, 0.5, Some(60)),
        ("5xx-accepted", Answer::AcceptedInternal, 0.1, Some(5)),
        ("never-answers", slow(3_600_000), 0.1, Some(4)),
        ("reset", Answer::ResetStream { code: 2 }, 0.1, Some(5)),
        ("reset-connection", Answer::ResetConnection, 0.1, Some(2)),
        ("goaway", Answer::Goaway, 0.1, Some(3)),
        ("goaway-below", Answer::GoawayBelow, 0.1, Some(3)),
        ("refused-stream", Answer::RefuseStream, 0.3, Some(30)),
        (
            "token-expiry",
            Answer::Credentials { n_credentials: 1 },
            1.0,
            None,
        ),
    ]
}

fn accepted(requests: &[Request], provider: ProviderKind) -> u64 {
    let is_it = |it: &&Request| it.provider == provider && it.verdict == Verdict::Accepted;
    requests.iter().filter(is_it).count() as u64
}

/// Who suffers, and who must not. APNs allows a new provider token every 20 minutes, so that a young
/// one which it calls expired is not renewed: tokens expire at FCM here.
fn sides(name: &str) -> [ProviderKind; 2] {
    if name == "token-expiry" {
        [ProviderKind::Fcm, ProviderKind::Apns]
    } else {
        [ProviderKind::Apns, ProviderKind::Fcm]
    }
}

async fn one_fault(stage: &Stage, n: usize, fault: Fault) -> u64 {
    let (name, answer, share, count) = fault;
    let [suffers, goes_on] = sides(name);
    let rule = stage.pipeline.sim.add_rule(Rule {
        provider: Some(suffers),
        share,
        count,
        ..Rule::new(answer)
    });
    let before = stage.pipeline.counts().repeated;
    let event = stage.api.post(&format!("e-{name}"), &["all"]).await;
    eventually_within(
        Duration::from_secs(10),
        "the other app's pushes",
        async || {
            let requests = stage.pipeline.requests_of(&event);
            at_least(accepted(&requests, goes_on), N as u64 / 2)
        },
    )
    .await;
    eventually_within(Duration::from_secs(20), "the fault bites", async || {
        let rules = stage.pipeline.sim.script().rules();
        let answered = rules.iter().find(|it| it.id == rule).map(|it| it.answered);
        at_least(answered.unwrap_or_default(), 1)
    })
    .await;
    stage.rest((n + 1) * N).await;
    stage.pipeline.sim.script().remove(rule);
    let repeated = stage.pipeline.counts().repeated - before;
    println!("{name}: {repeated} repeated");
    repeated
}

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_of_a_provider_loses_a_push_or_stops_the_other_app() {
    let stage = Stage::set(
        Setup {
            latency: Duration::from_millis(20),
            ..setup()
        },
        N,
    )
    .await;
    let notifier: Process = stage.pipeline.role("notifier", "n1").await;
    let mut most = 0;
    for (n, fault) in faults().into_iter().enumerate() {
        let name = fault.0;
        let repeated = one_fault(&stage, n, fault).await;
        // Only who takes a push without saying so gets it again.
        let takes_silently = ["5xx-accepted", "never-answers", "reset", "reset-connection"];
        if takes_silently.contains(&name) {
            most += repeated;
        } else {
            assert_eq!(repeated, 0, "{name}");
        }
    }
    stage.judge(most, vec![notifier]).await;
}
