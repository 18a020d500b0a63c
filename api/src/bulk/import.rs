//! `POST /v1/bulk/devices`: a device a line, each written as by its own `PUT`.
//!
//! The answer begins before the first line is read and tells of failed lines and of progress while
//! more are coming. Nothing is kept of the whole: at most [`AT_ONCE`] documents are under way, and
//! nothing more is read meanwhile. Two lines about one device are written one after the other.

mod told;

use std::collections::HashSet;
use std::convert::Infallible;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use fanfare_nats::{DeviceId, fail};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, stream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

use self::told::{Told, Why};
use super::lines::{Line, Lines};
use super::{AT_ONCE, CHUNK, NDJSON, answer, place};
use crate::access::Caller;
use crate::body::DeviceLine;
use crate::call::{bounded, no_answer, patiently};
use crate::clock;
use crate::device::document::Wanted;
use crate::device::write::{Writer, write};
use crate::precondition::Preconditions;
use crate::problem::{Kind, Problem};
use crate::router::Api;

/// Many devices, a line each: its document, and its `id`.
///
/// Dropping the future leaves what was written, and of at most 64 lines not known whether they are.
#[utoipa::path(
    post,
    path = "/v1/bulk/devices",
    operation_id = "importDevices",
    description = "Each line is the document of a `PUT` with an `id`, and replaces what stands there. The answer is a stream: `{\"line\", \"id\", \"code\", \"detail\", \"errors\"}` for each line that failed, `{\"progress\": {…}}` every 1,000 lines, at last `{\"summary\": {…}}`. Lines are written in any order, two of one device in theirs. `pending` counts those stored whose token is another user's or tenant's: they wait, as after a `PUT` that is answered 202. The same file again leads to the same documents. Devices get no secret by it.",
    tag = "devices",
    request_body(content = String, content_type = NDJSON, description = "A device a line"),
    responses((status = 200, description = "What became of it, a line each", body = String, content_type = NDJSON)),
)]
pub(crate) async fn import(
    State(api): State<Api>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let most = api.max_import_bytes;
    judge(request.headers(), most)?;
    let place = place(&api.bulk)?;
    let import = Import {
        body: Body::into_data_stream(request.into_body()),
        lines: Lines::new(api.max_line_bytes),
        left: most,
        is_open: true,
        silent_since: None,
        held: None,
        writes: FuturesUnordered::new(),
        in_flight: HashSet::new(),
        told: Told::default(),
        caller,
        _place: place,
        api,
    };
    let lines = stream::unfold(import, async |mut import| {
        let lines = import.next().await?;
        Some((Ok::<Bytes, Infallible>(lines), import))
    });
    Ok(answer(lines))
}

/// What the head says already.
fn judge(headers: &HeaderMap, most: u64) -> Result<(), Problem> {
    let text = |it: Option<&HeaderValue>| it.and_then(|it| it.to_str().ok()).map(str::to_owned);
    let kind = text(headers.get(CONTENT_TYPE)).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is_ndjson = [NDJSON, "application/ndjson", "application/jsonl"]
        .iter()
        .any(|it| kind.eq_ignore_ascii_case(it));
    if !is_ndjson {
        return Err(Problem::new(
            Kind::UnsupportedMediaType,
            format!("send a document a line with `Content-Type: {NDJSON}`"),
        ));
    }
    let length = text(headers.get(CONTENT_LENGTH)).and_then(|it| it.parse::<u64>().ok());
    if length.is_some_and(|it| it > most) {
        return Err(Problem::new(
            Kind::BodyTooLarge,
            "send less, or in several requests",
        ));
    }
    Ok(())
}

/// A line that is a document.
struct Document {
    line: u64,
    id: DeviceId,
    wanted: Wanted,
}

/// What became of a document; whether it is a new device, and whether it waits.
struct Done {
    line: u64,
    id: DeviceId,
    written: Result<(bool, bool), Problem>,
}

/// One that is under way.
struct Import {
    api: Api,
    caller: Caller,
    body: BodyDataStream,
    lines: Lines,
    /// Bytes that may still come.
    left: u64,
    /// More may come.
    is_open: bool,
    /// Since when something is waited for that does not come.
    silent_since: Option<Instant>,
    /// A document of a device that another line is about, which is being written.
    held: Option<Document>,
    writes: FuturesUnordered<BoxFuture<'static, Done>>,
    in_flight: HashSet<DeviceId>,
    told: Told,
    _place: OwnedSemaphorePermit,
}

impl Import {
    /// The next lines of the answer; nothing behind the summary.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.begin_what_may_begin();
            if self.told.len() >= CHUNK {
                return self.told.take();
            }
            let may_read = self.is_open && self.held.is_none() && self.writes.len() < AT_ONCE;
            if !may_read && self.writes.is_empty() {
                self.told.end();
                return self.told.take();
            }
            let silent_since = if may_read {
                *self.silent_since.get_or_insert_with(Instant::now)
            } else {
                self.silent_since = None;
                Instant::now()
            };
            let stop = self.api.stop.clone();
            tokio::select! {
                biased;
                Some(done) = self.writes.next(), if !self.writes.is_empty() => self.note(done),
                () = stop.cancelled(), if self.is_open => self.close(Why::Stopping),
                frame = self.body.next(), if may_read => self.read(frame),
                () = sleep_until(silent_since + self.api.import_stall), if may_read => self.close(Why::Stalled),
                () = std::future::ready(()), if !self.told.is_empty() => return self.told.take(),
            }
        }
    }

    fn close(&mut self, why: Why) {
        self.is_open = false;
        self.held = None;
        self.told.because(why);
    }

    fn read(&mut self, frame: Option<Result<Bytes, axum::Error>>) {
        self.silent_since = None;
        match frame {
            Some(Ok(bytes)) => {
                let n = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                match self.left.checked_sub(n) {
                    Some(left) => {
                        self.left = left;
                        self.lines.push(&bytes);
                    }
                    None => self.close(Why::TooLarge),
                }
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "the body of an import ended early");
                self.close(Why::CutOff);
            }
            None => {
                self.is_open = false;
                if let Some(line) = self.lines.last() {
                    self.take(line);
                }
            }
        }
    }

    /// Begins as many writes as there is room for.
    fn begin_what_may_begin(&mut self) {
        if let Some(document) = self.held.take() {
            self.begin(document);
        }
        while self.held.is_none() && self.told.goes_on() && self.writes.len() < AT_ONCE {
            match self.lines.next() {
                Some(line) => self.take(line),
                None => return,
            }
        }
    }

    fn take(&mut self, line: Line) {
        let number = self.told.line();
        let text = match line {
            Line::Text(text) if text.trim_ascii().is_empty() => return,
            Line::Text(text) => text,
            Line::TooLong => {
                let problem = Problem::new(Kind::BodyTooLarge, "the line is too long");
                return self.told.failed(number, None, &problem);
            }
        };
        let Ok(value) = serde_json::from_slice::<Value>(&text) else {
            let problem = Problem::new(Kind::InvalidJson, "the line is not JSON");
            return self.told.failed(number, None, &problem);
        };
        match DeviceLine::read(value, &self.caller.tenant(), self.api.apps.as_deref()) {
            Ok(DeviceLine { id, wanted }) => self.begin(Document {
                line: number,
                id,
                wanted,
            }),
            Err((id, flaws)) => {
                let problem = Problem::fields(flaws);
                self.told.failed(number, id.as_ref(), &problem);
            }
        }
    }

    fn begin(&mut self, document: Document) {
        if !self.in_flight.insert(document.id.clone()) {
            self.held = Some(document);
            return;
        }
        let (api, caller) = (self.api.clone(), self.caller.clone());
        self.writes.push(put(api, caller, document).boxed());
    }

    fn note(&mut self, done: Done) {
        self.in_flight.remove(&done.id);
        match done.written {
            Ok((is_new, is_pending)) => {
                fail::point("import.written");
                self.told.written(is_new, is_pending);
            }
            Err(problem) => {
                self.told.failed(done.line, Some(&done.id), &problem);
                if problem.is_passing() && self.is_open {
                    self.close(Why::BrokerUnavailable);
                }
            }
        }
    }
}

async fn put(api: Api, caller: Caller, document: Document) -> Done {
    let Document { line, id, wanted } = document;
    let preconditions = Preconditions::default();
    let writing = || {
        let writer = Writer {
            caller: &caller,
            preconditions: &preconditions,
            secret: None,
            seems_new: !api.known.seems_to_have(&id),
            now: clock::now(),
        };
        let (api, id, wanted) = (&api, &id, wanted.clone());
        async move {
            let write = write(api, id, wanted, &writer);
            bounded(&api.broker, write, no_answer).await
        }
    };
    let written = patiently(&api.stop, writing).await;
    let written = written.map(|it| (it.is_new, it.is_pending()));
    Done { line, id, written }
}
