//! Every fault of a provider, one after another, for one app of two: nothing is lost, and the other
//! app's lane goes on as before.

use std::collections::BTreeMap;
use std::time::Duration;

use fanfare_sim::ledger::{self, Entry, ProviderKind, Verdict};
use fanfare_sim::script::{Answer, RetryAfter, Rule, Scope};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::load::Load;
use super::options::Options;
use super::seat::Seat;
use super::slice::count;
use super::table::{self, Row};
use crate::pipeline::Pipeline;

/// Between two events of a row.
const EVERY: Duration = Duration::from_millis(1500);

/// Who suffers in a row. APNs allows a new provider token every 20 minutes, so that a young one which
/// it calls expired is not renewed: tokens expire at FCM.
fn suffers(name: &str) -> ProviderKind {
    if name == "token-expiry" {
        ProviderKind::Fcm
    } else {
        ProviderKind::Apns
    }
}

/// The rows: a word, what happens, and to which share of the requests.
fn faults() -> Vec<(&'static str, Answer, f64)> {
    let retry_after = Some(RetryAfter::Seconds(2));
    vec![
        ("none", Answer::Goaway, 0.0),
        (
            "slow",
            Answer::Slow {
                head_ms: 3000,
                body_ms: 0,
            },
            1.0,
        ),
        (
            "429-device",
            Answer::TooMany {
                scope: Scope::Device,
                retry_after,
            },
            0.5,
        ),
        ("5xx-accepted", Answer::AcceptedInternal, 0.1),
        ("503", Answer::Unavailable { retry_after }, 1.0),
        (
            "never-answers",
            Answer::Slow {
                head_ms: 3_600_000,
                body_ms: 0,
            },
            0.2,
        ),
        ("reset-stream", Answer::ResetStream { code: 2 }, 0.2),
        ("reset-connection", Answer::ResetConnection, 0.02),
        ("goaway", Answer::Goaway, 0.05),
        ("goaway-below", Answer::GoawayBelow, 0.05),
        ("refused-stream", Answer::RefuseStream, 0.3),
        ("silent-drop", Answer::SilentDrop, 0.01),
        (
            "token-expiry",
            Answer::Credentials { n_credentials: 1 },
            1.0,
        ),
        (
            "wrong-credentials",
            Answer::Reason {
                status: 403,
                reason: "InvalidProviderToken".to_owned(),
                retry_after: None,
            },
            1.0,
        ),
    ]
}

/// The healthy lane in one row: pushes in all, and how long each took from the answered post.
#[derive(Clone, Debug, Default)]
struct Lane {
    took_us: Vec<i64>,
    between_us: BTreeMap<String, (i64, i64)>,
    /// Answers of the suffering app that were not plain acceptances.
    n_bitten: u64,
    n_repeated: u64,
    /// Owed to the suffering app too, and never accepted.
    n_lost: u64,
}

impl Lane {
    fn quantile_ms(&self, share: f64) -> f64 {
        let mut sorted = self.took_us.clone();
        sorted.sort_unstable();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place in a list"
        )]
        let at = (share * (sorted.len().saturating_sub(1)) as f64) as usize;
        #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
        let ms = sorted.get(at).copied().unwrap_or_default() as f64 / 1000.0;
        ms
    }

    /// Pushes a second while an event is being pushed.
    fn rate(&self) -> f64 {
        let busy_us: i64 = self
            .between_us
            .values()
            .map(|(first, last)| last - first)
            .sum();
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rate = self.took_us.len() as f64 * 1e6 / busy_us.max(1) as f64;
        rate
    }
}

/// One row after another, then rest, then the audit; a row of the table for each.
pub(super) async fn run(
    options: &Options,
    pipeline: &Pipeline,
    seats: &[Seat],
    load: &Load<'_>,
) -> Row {
    let faults = faults();
    let each = options.time / u32::try_from(faults.len()).unwrap_or(1);
    let mut posted = BTreeMap::new();
    for (name, answer, share) in &faults {
        eprintln!("provider fault: {name}");
        let rule = Rule {
            provider: Some(suffers(name)),
            share: *share,
            ..Rule::new(answer.clone())
        };
        let rule = pipeline.sim.add_rule(rule);
        let until = Instant::now() + each;
        for n in 0_u32.. {
            let title = format!("{name} {n}");
            load.post(&title, &json!({})).await;
            posted.insert(title, crate::now_us());
            if Instant::now() + EVERY > until {
                break;
            }
            sleep(EVERY).await;
        }
        sleep(until.saturating_duration_since(Instant::now())).await;
        pipeline.sim.script().remove(rule);
        quiet(pipeline).await;
    }
    let row = count(options.kind, pipeline, seats, load, faults.len() as u64).await;
    let lanes = lanes(pipeline, &posted, load.crowd());
    tell(options, &lanes);
    row
}

/// The next fault begins on a lane that has nothing left of the one before, or not much.
async fn quiet(pipeline: &Pipeline) {
    let until = Instant::now() + Duration::from_secs(40);
    while pipeline.is_settled().await.is_err() && Instant::now() < until {
        sleep(Duration::from_millis(200)).await;
    }
}

/// A lane by the word of its row and its provider.
type Lanes = BTreeMap<(String, &'static str), Lane>;

fn word(provider: ProviderKind) -> &'static str {
    match provider {
        ProviderKind::Apns => "apns",
        ProviderKind::Fcm => "fcm",
    }
}

fn lanes(pipeline: &Pipeline, posted: &BTreeMap<String, i64>, crowd: usize) -> Lanes {
    let path = pipeline.sim.whereabouts().ledger.clone().unwrap();
    let mut lanes = Lanes::new();
    let mut seen = std::collections::HashSet::new();
    for title in posted.keys() {
        for provider in [ProviderKind::Apns, ProviderKind::Fcm] {
            let name = title.split(' ').next().unwrap_or_default().to_owned();
            lanes.entry((name, word(provider))).or_default().n_lost += crowd as u64 / 2;
        }
    }
    for entry in ledger::read(&path).unwrap() {
        let Entry::Request(request) = entry.unwrap() else {
            continue;
        };
        let title = request.title.clone().unwrap_or_default();
        let Some(posted_us) = posted.get(&title) else {
            continue;
        };
        let name = title.split(' ').next().unwrap_or_default().to_owned();
        let lane = lanes.entry((name, word(request.provider))).or_default();
        let is_accepted = request.verdict == Verdict::Accepted;
        if request.reason.is_some() {
            lane.n_bitten += 1;
        }
        if is_accepted && !seen.insert((title.clone(), request.token.clone())) {
            lane.n_repeated += 1;
        } else if is_accepted {
            lane.n_lost -= 1;
            lane.took_us.push(request.at_us - posted_us);
            let between = lane
                .between_us
                .entry(title)
                .or_insert((request.at_us, request.at_us));
            between.1 = request.at_us;
        }
    }
    lanes
}

fn tell(options: &Options, lanes: &Lanes) {
    for (name, _, _) in faults() {
        let sides = match suffers(name) {
            ProviderKind::Apns => ["apns", "fcm"],
            ProviderKind::Fcm => ["fcm", "apns"],
        };
        let of = |name: &str, side| lanes.get(&(name.to_owned(), side)).cloned();
        let [suffering, other] = sides.map(|it| of(name, it).unwrap_or_default());
        let base = of("none", sides[1]).unwrap_or_default();
        let [p50, p99] = [0.5, 0.99].map(|it| other.quantile_ms(it));
        let [base_p50, base_p99] = [0.5, 0.99].map(|it| base.quantile_ms(it).max(1e-9));
        let note = format!(
            "other app ({}): rate {:.0}/s = {:.2}, p50 {p50:.0} ms = {:.2}, p99 {p99:.0} ms = {:.2} of no fault; {} answers spoilt",
            sides[1],
            other.rate(),
            other.rate() / base.rate().max(1e-9),
            p50 / base_p50,
            p99 / base_p99,
            suffering.n_bitten,
        );
        // A connection that fell silent leaves no line.
        let is_void = suffering.n_bitten == 0 && !["none", "silent-drop"].contains(&name);
        let n_lost = suffering.n_lost + other.n_lost;
        let verdict = match (n_lost, is_void) {
            (1.., _) => "FAILED",
            (0, true) => "void",
            (0, false) => "ok",
        };
        let row = Row {
            kind: format!("provider/{name}"),
            verdict: verdict.to_owned(),
            repeated: suffering.n_repeated + other.n_repeated,
            lost: n_lost,
            note,
            ..Row::default()
        };
        eprintln!(
            "{:<28} {} lost {} repeated {}: {}",
            row.kind, row.verdict, row.lost, row.repeated, row.note
        );
        if let Some(file) = &options.append
            && let Err(error) = table::append(file, &row)
        {
            eprintln!("{}: {error}", file.display());
        }
    }
}
