//! `GET /v1/dead-letters` and one of them: what was given up, and what became of it since.
//!
//! Through the connection of operators: letters hold parts of whole events. Devices are in them by
//! their hashes, tokens never; what an unreadable message held is told by its length alone.

pub(crate) mod replay;
mod wanted;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fanfare_nats::Broker;
use fanfare_nats::dead::{Advisory, DeadLetter, Entry, Found, JudgeError, Kind as Reason, Now};
use http::header::CACHE_CONTROL;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use self::wanted::Filter;
use crate::body::LetterPath;
use crate::call::{bounded, no_answer, unavailable};
use crate::clock;
use crate::page::{Listed, Page};
use crate::problem::{Kind, Problem};
use crate::router::{Api, DEAD_LETTERS};
use crate::text::glimpse;

/// The most letters of a page: what each is by now is asked of its task's receipts.
const MOST: usize = 50;
/// The longest text of a provider or decoder that is repeated.
const MAX_ERROR: usize = 500;

/// Something that was given up.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetter)]
pub(crate) struct Shown {
    /// Its number, by which it is shown and replayed.
    number: u64,
    stored_at: Timestamp,
    /// `refused`, `invalid`, `poison`; `advisory` of the broker; or `unreadable`.
    reason: &'static str,
    /// What it is by now: `open` is what a replay sends; `accepted`, `replayed`, `waiting`,
    /// `being_sent`, `unclear`, `superseded`, `event_gone`, `receipts_gone`, `unreadable`,
    /// `not_sendable`.
    now: String,
    /// The same in words.
    explained: &'static str,
    /// The provider's words, the decoder's, or the broker's.
    error: String,
    app: Option<String>,
    event: Option<String>,
    lane: Option<String>,
    /// Which part of the plan, of how many.
    part: Option<Part>,
    /// The hash of the device, where it is about one.
    device: Option<String>,
    /// Attempts so far; of a task, claims in a row without progress.
    attempts: u64,
    /// When it was given up.
    given_up_at: Option<Timestamp>,
    /// By which process.
    node: Option<String>,
    /// The trace of the event.
    trace_id: Option<String>,
    /// How long the message was that cannot be read.
    payload_bytes: Option<usize>,
}

/// A task's place in its plan.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetterPart)]
struct Part {
    index: u32,
    of: u32,
}

/// What was given up, the oldest first.
///
/// Dropping the future changes nothing.
#[utoipa::path(
    get,
    path = "/v1/dead-letters",
    operation_id = "listDeadLetters",
    description = "A page has at most 50. What each is by now is read from the receipts.",
    tag = "operating",
    params(
        crate::page::Params,
        ("reason" = Option<String>, Query, pattern = "^(refused|invalid|poison|advisory)$", description = "Only these"),
        ("app" = Option<String>, Query, pattern = "^[a-z0-9_-]{1,20}$", description = "Only of this app"),
        ("event" = Option<String>, Query, pattern = "^[0-9a-f]{32}$", description = "Only of this event"),
    ),
    responses((
        status = 200,
        description = "By number",
        body = Listed<Shown>,
        headers(("Link" = String, description = "`rel=\"next\"`, if there is a next page")),
    )),
)]
pub(crate) async fn list(
    State(api): State<Api>,
    page: Page,
    filter: Filter,
) -> Result<Response, Problem> {
    let broker = api.operating.broker()?;
    let after = page.behind()?;
    let most = page.limit().min(MOST);
    let read = async {
        let after = after.unwrap_or_default();
        let read = broker.dead_letters_after(&filter.wanted, after, most);
        let entries = read.await.map_err(|error| unavailable(&error))?;
        let known = judged(broker, &entries).await?;
        Ok((entries, known))
    };
    let (entries, known) = bounded(broker, read, no_answer).await?;
    let last = entries.last().filter(|_| entries.len() == most);
    let last = last.map(|it| it.seq.to_string());
    let shown: Vec<Shown> = entries.iter().zip(known).map(shown).collect();
    Ok(page.part(&format!("{DEAD_LETTERS}?{}", filter.query()), shown, last))
}

/// One of them.
///
/// Dropping the future changes nothing.
#[utoipa::path(
    get,
    path = "/v1/dead-letters/{number}",
    operation_id = "showDeadLetter",
    description = "What it is by now is read from the receipts.",
    tag = "operating",
    params(("number" = String, Path, description = "Its number in the list")),
    responses((status = 200, description = "The letter", body = Shown)),
)]
pub(crate) async fn show(
    State(api): State<Api>,
    LetterPath(number): LetterPath,
) -> Result<Response, Problem> {
    let broker = api.operating.broker()?;
    let read = async {
        let entry = broker.dead_letter(number).await;
        let entry = entry.map_err(|error| unavailable(&error))?;
        let entry = entry.ok_or_else(no_such_letter)?;
        let known = judged(broker, std::slice::from_ref(&entry)).await?;
        Ok((entry, known.first().copied().unwrap_or(Now::NotSendable)))
    };
    let (entry, now) = bounded(broker, read, no_answer).await?;
    let private = [(CACHE_CONTROL, "private, no-cache")];
    Ok((private, axum::Json(shown((&entry, now)))).into_response())
}

/// What each of them is by now.
async fn judged(broker: &Broker, entries: &[Entry]) -> Result<Vec<Now>, Problem> {
    let judged = broker.judge_letters(entries, clock::now(), |_, _| {}).await;
    judged.map_err(|error: JudgeError| unavailable(&error))
}

/// The refusal of a letter that there is not.
pub(crate) fn no_such_letter() -> Problem {
    Problem::new(
        Kind::NoSuchDeadLetter,
        "there is no dead letter of this number",
    )
}

/// A word as it stands in JSON.
fn word(now: Now) -> String {
    now.word().replace(' ', "_")
}

fn shown((entry, now): (&Entry, Now)) -> Shown {
    let bare = Shown {
        number: entry.seq,
        stored_at: entry.stored_at,
        reason: entry.kind().map_or("unreadable", Reason::as_str),
        now: word(now),
        explained: now.explained(),
        error: String::new(),
        app: None,
        event: None,
        lane: None,
        part: None,
        device: None,
        attempts: 0,
        given_up_at: None,
        node: None,
        trace_id: None,
        payload_bytes: None,
    };
    match &entry.found {
        Found::Letter(letter) => of_letter(bare, letter),
        Found::Advisory(it) => of_advisory(bare, it),
        Found::Unreadable(error) => Shown {
            error: glimpse(error, MAX_ERROR),
            ..bare
        },
    }
}

fn of_letter(bare: Shown, letter: &DeadLetter) -> Shown {
    let told = |text: &str| {
        let text = glimpse(text, MAX_ERROR);
        Some(text).filter(|it| !it.is_empty() && it != "-")
    };
    let part = letter.task.as_ref().map(|it| Part {
        index: it.index,
        of: 1_u32.checked_shl(it.log2_n.into()).unwrap_or(u32::MAX),
    });
    Shown {
        error: glimpse(&letter.error, MAX_ERROR),
        app: told(&letter.app),
        event: told(&letter.event),
        lane: letter.task.as_ref().and_then(|it| told(&it.lane)),
        part,
        device: told(&letter.device),
        attempts: letter.attempts.into(),
        given_up_at: Some(letter.at),
        node: told(&letter.node),
        trace_id: letter.trace_id().and_then(told),
        payload_bytes: letter.payload_bytes().map(|it| it.len()),
        ..bare
    }
}

fn of_advisory(bare: Shown, advisory: &Advisory) -> Shown {
    let Advisory {
        stream,
        consumer,
        stream_seq,
        deliveries,
    } = advisory;
    let error = format!(
        "the broker gave message {stream_seq} of {stream} up: somebody set a limit on consumer {consumer}"
    );
    Shown {
        error: glimpse(&error, MAX_ERROR),
        attempts: *deliveries,
        ..bare
    }
}
