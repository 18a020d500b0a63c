//! `POST /v1/dead-letters/replay`: sends again what nobody has accepted.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fanfare_nats::dead::{DeadLetter, Entry, Kind as Reason, Now, Report, Wanted, Work};
use fanfare_nats::{AppName, Broker, EventId};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Array, ArrayBuilder, SchemaType};
use utoipa::openapi::{KnownFormat, ObjectBuilder, SchemaFormat, Type};

use super::{judged, no_such_letter, word};
use crate::audit::{About, NothingChanged};
use crate::body::Json;
use crate::call::{bounded, unavailable};
use crate::clock;
use crate::fields::{Fields, Flaw, Flaws, Read};
use crate::operate::pause::length;
use crate::problem::{Kind, Problem};
use crate::router::Api;
use crate::text;

/// The most letters of one request, so that it ends in time; the answer says where to go on.
const MOST: usize = 100;
/// No event is worth something for longer.
const LONGEST: Duration = Duration::from_hours(24);
const SHORTEST: Duration = Duration::from_mins(1);
const USUAL: SignedDuration = SignedDuration::from_hours(1);

/// Which letters: by their numbers, or all that match. Not both, and not nothing.
#[derive(ToSchema)]
#[schema(as = ReplayDocument)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "described here, read by hand")]
pub(crate) struct Document {
    /// These.
    #[schema(schema_with = numbers)]
    letters: Option<Vec<u64>>,
    /// Only these: `refused`, `invalid`, `poison` or `advisory`.
    #[schema(pattern = "^(refused|invalid|poison|advisory)$")]
    reason: Option<String>,
    /// Only of this app.
    #[schema(pattern = "^[a-z0-9_-]{1,20}$")]
    app: Option<String>,
    /// Only of this event.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    event: Option<String>,
    /// Of those that match, the ones after this number: `next` of the answer before.
    #[schema(minimum = 0)]
    after: Option<u64>,
    /// Tells what would be sent, and sends nothing.
    dry_run: Option<bool>,
    /// How long it is worth sending from now on: 1m to 24h, an hour if nothing is said.
    #[schema(example = "1h", max_length = 32)]
    expires_in: Option<String>,
}

/// The numbers of letters, which begin with 1.
fn numbers() -> Array {
    let number = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(1));
    ArrayBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Array, Type::Null]))
        .description(Some("These."))
        .items(number)
        .min_items(Some(1))
        .max_items(Some(MOST))
        .build()
}

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    which: Which,
    is_dry_run: bool,
    expires_at: Timestamp,
}

#[derive(Debug)]
enum Which {
    Numbers(Vec<u64>),
    Wanted(Box<Wanted>, u64),
}

/// What was replayed, or would be.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Replayed)]
struct Answer {
    dry_run: bool,
    /// Letters that were looked at.
    letters: usize,
    /// Of them, those that nobody has accepted.
    open: usize,
    /// The others, by what they are by now.
    left_alone: Vec<LeftAlone>,
    /// Devices that are sent to one by one.
    devices: usize,
    /// Tasks of poison that go on where they stood.
    tasks: usize,
    /// Events that are planned anew.
    events: usize,
    /// Tasks and events of which it is not known; the same request again is harmless.
    failed: usize,
    /// After this nobody is told.
    expires_at: Timestamp,
    /// There are more that match: ask again with this as `after`.
    next: Option<u64>,
}

/// Letters that a replay leaves alone, and why.
#[derive(Debug, Serialize, ToSchema)]
struct LeftAlone {
    now: String,
    letters: usize,
    why: &'static str,
}

/// Sends again what nobody has accepted; doing it twice sends nothing twice.
///
/// Dropping the future leaves some replayed and others not; the same again ends it.
#[utoipa::path(
    post,
    path = "/v1/dead-letters/replay",
    operation_id = "replayDeadLetters",
    description = "What was accepted meanwhile, waits, or is being sent is left alone. At most 100 letters are looked at; `next` says where to go on.",
    tag = "operating",
    request_body(content = Document),
    responses((status = 200, description = "What was done, or would be", body = Answer)),
)]
pub(crate) async fn post(State(api): State<Api>, Json(body): Json) -> Result<Response, Problem> {
    let now = clock::now();
    let asked = read(body, now).map_err(Problem::fields)?;
    let broker = api.operating.broker()?;
    let (answer, open) = bounded(broker, replay(broker, asked, now), unknown).await?;
    let is_dry_run = answer.dry_run;
    let mut response = axum::Json(answer).into_response();
    let extensions = response.extensions_mut();
    if is_dry_run {
        extensions.insert(NothingChanged);
    } else {
        extensions.insert(About(vec![("letters", open)]));
    }
    Ok(response)
}

fn unknown() -> Problem {
    Problem::new(
        Kind::BrokerUnavailable,
        "the broker gave no final answer: some may be replayed. The same request again sends \
         nothing twice",
    )
}

/// What was done, and the numbers of the letters that it was done about.
async fn replay(
    broker: &Broker,
    asked: Asked,
    now: Timestamp,
) -> Result<(Answer, String), Problem> {
    let (entries, next) = letters(broker, &asked.which).await?;
    let known = judged(broker, &entries).await?;
    let mut left = BTreeMap::<Now, usize>::new();
    let mut open: Vec<&DeadLetter> = Vec::new();
    let mut numbers: Vec<String> = Vec::new();
    for (entry, now) in entries.iter().zip(known) {
        match entry.letter().filter(|_| now.is_open()) {
            Some(letter) => {
                numbers.push(entry.seq.to_string());
                open.push(letter);
            }
            None => *left.entry(now).or_default() += 1,
        }
    }
    let report = if asked.is_dry_run {
        Report::default()
    } else {
        let work = Work::of(broker, &open, asked.expires_at).await;
        let work = work.map_err(|error| unavailable(&error))?;
        work.run(broker, now, || {}).await
    };
    for error in &report.errors {
        let error = error as &dyn std::error::Error;
        tracing::warn!(error, "a dead letter is not known to be replayed");
    }
    let left_alone = left.into_iter().map(|(now, letters)| LeftAlone {
        now: word(now),
        letters,
        why: now.explained(),
    });
    let answer = Answer {
        dry_run: asked.is_dry_run,
        letters: entries.len(),
        open: open.len(),
        left_alone: left_alone.collect(),
        devices: report.n_devices,
        tasks: report.n_rests,
        events: report.n_events,
        failed: report.errors.len(),
        expires_at: asked.expires_at,
        next,
    };
    Ok((answer, numbers.join(" ")))
}

async fn letters(broker: &Broker, which: &Which) -> Result<(Vec<Entry>, Option<u64>), Problem> {
    match which {
        Which::Numbers(numbers) => {
            let mut entries = Vec::new();
            for number in numbers {
                let entry = broker.dead_letter(*number).await;
                let entry = entry.map_err(|error| unavailable(&error))?;
                entries.push(entry.ok_or_else(no_such_letter)?);
            }
            Ok((entries, None))
        }
        Which::Wanted(wanted, after) => {
            let read = broker.dead_letters_after(wanted, *after, MOST).await;
            let entries = read.map_err(|error| unavailable(&error))?;
            let last = entries.last().filter(|_| entries.len() == MOST);
            let next = last.map(|it| it.seq);
            Ok((entries, next))
        }
    }
}

/// Reads the body.
pub(crate) fn read(body: Value, now: Timestamp) -> Result<Asked, Vec<Flaw>> {
    let mut flaws = Flaws::default();
    let asked = Fields::open(body, "", &mut flaws).map(|mut fields| {
        let is_numbers = fields.has("letters");
        let names = ["reason", "app", "event"];
        let is_filter = names.iter().any(|it| fields.has(it));
        let mut numbers = fields.items("letters", MOST, &mut flaws, |it, at, flaws| {
            let number = number(&it).and_then(|it| match it {
                0 => Err(NO_NUMBER.into()),
                it => Ok(it),
            });
            flaws.keep(at, number)
        });
        numbers.sort_unstable();
        numbers.dedup();
        let wanted = Wanted {
            kind: fields.optional("reason", &mut flaws, reason),
            app: fields.optional("app", &mut flaws, app),
            event: fields.optional("event", &mut flaws, event),
            since: None,
        };
        let after = fields.optional("after", &mut flaws, |it| number(&it));
        let is_dry_run = fields.optional("dry_run", &mut flaws, |it| {
            it.as_bool().ok_or_else(|| "must be true or false".into())
        });
        let lasting = fields.optional("expires_in", &mut flaws, lasting);
        fields.finish(&mut flaws);
        let is_numbers = is_numbers.then_some(numbers);
        let wanted = is_filter.then_some(wanted);
        let which = which(is_numbers, wanted, after, &mut flaws);
        which.map(|which| Asked {
            which,
            is_dry_run: is_dry_run.unwrap_or_default(),
            expires_at: now.checked_add(lasting.unwrap_or(USUAL)).unwrap_or(now),
        })
    });
    flaws.judge(asked.flatten())
}

/// What is meant, if it is one thing.
fn which(
    numbers: Option<Vec<u64>>,
    wanted: Option<Wanted>,
    after: Option<u64>,
    flaws: &mut Flaws,
) -> Option<Which> {
    match (numbers, wanted) {
        (Some(_), Some(_)) => {
            let pointer = "/letters";
            flaws.add(pointer, "cannot be told beside `reason`, `app` or `event`");
        }
        (None, None) => {
            flaws.add(
                "",
                "must have `letters`, or one of `reason`, `app`, `event`",
            );
        }
        (Some(_), None) if after.is_some() => {
            flaws.add("/after", "cannot be told beside `letters`");
        }
        (Some(numbers), None) if numbers.is_empty() => {
            if flaws.len() == 0 {
                flaws.add("/letters", "must not be empty");
            }
        }
        (Some(numbers), None) => return Some(Which::Numbers(numbers)),
        (None, Some(wanted)) => {
            return Some(Which::Wanted(Box::new(wanted), after.unwrap_or_default()));
        }
    }
    None
}

const NO_NUMBER: &str = "must be a letter's number";

/// As far as the contract's `int64` goes.
fn number(value: &Value) -> Read<u64> {
    let number = value.as_i64().and_then(|it| u64::try_from(it).ok());
    number.ok_or_else(|| NO_NUMBER.into())
}

fn reason(value: Value) -> Read<Reason> {
    let reason = Reason::parse(&text::string(value)?);
    reason.ok_or_else(|| "must be `refused`, `invalid`, `poison` or `advisory`".into())
}

fn app(value: Value) -> Read<AppName> {
    AppName::parse(&text::string(value)?).map_err(|_| "must be the name of an app".into())
}

fn event(value: Value) -> Read<EventId> {
    EventId::parse(&text::string(value)?).ok_or_else(|| "must be an event's id".into())
}

fn lasting(value: Value) -> Read<SignedDuration> {
    let lasting = length(&text::string(value)?);
    lasting
        .filter(|it| !it.is_negative() && (SHORTEST..=LONGEST).contains(&it.unsigned_abs()))
        .ok_or_else(|| "must be a length of time from 1m to 24h".into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn noon() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    #[track_caller]
    fn check_refused(body: Value, pointer: &str) {
        let flaws = read(body.clone(), noon()).unwrap_err();
        let pointers: Vec<_> = flaws.iter().map(|it| it.pointer.as_str()).collect();
        assert_eq!(pointers, [pointer], "{body}");
    }

    #[test]
    fn letters_are_named_or_described_and_never_meant_by_nothing() {
        let numbers = read(json!({"letters": [3, 1, 3], "dry_run": true}), noon()).unwrap();
        assert!(matches!(numbers.which, Which::Numbers(it) if it == [1, 3]));
        assert!(numbers.is_dry_run);
        let all = json!({"reason": "refused", "after": 7, "expires_in": "30m"});
        let all = read(all, noon()).unwrap();
        assert!(matches!(all.which, Which::Wanted(_, 7)) && !all.is_dry_run);
        assert_eq!(all.expires_at.to_string(), "2026-03-01T12:30:00Z");

        check_refused(json!({}), "");
        check_refused(json!({"dry_run": true}), "");
        check_refused(json!({"letters": []}), "/letters");
        check_refused(json!({"letters": [0]}), "/letters/0");
        check_refused(json!({"letters": [1], "app": "ios"}), "/letters");
        check_refused(json!({"letters": [1], "after": 1}), "/after");
        let beyond = i64::MAX.unsigned_abs() + 1;
        check_refused(json!({"letters": [beyond]}), "/letters/0");
        check_refused(json!({"app": "ios", "after": beyond}), "/after");
        check_refused(json!({"reason": "poisn"}), "/reason");
        check_refused(json!({"app": "ios", "event": "us7"}), "/event");
        check_refused(json!({"app": "ios", "expires_in": "25h"}), "/expires_in");
        check_refused(json!({"app": "ios", "expires_in": "-1h"}), "/expires_in");
        check_refused(json!({"app": "ios", "dry_run": "yes"}), "/dry_run");
    }
}
