//! One client: it reads a device, wishes something on a condition, and writes down what it was told.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::ledger::{Guard, Ledger, Mark, State, Told, Wish, Write};
use super::nodes::Addresses;

/// Longer than an API takes to say that it does not know.
const LIMIT: Duration = Duration::from_secs(20);
/// After an answer that is none.
const PAUSE: Duration = Duration::from_millis(25);

/// The ledgers of all devices, and what stood in the way.
#[derive(Debug, Default)]
pub struct Book {
    pub devices: Vec<Mutex<Ledger>>,
    /// Acknowledged writes.
    pub done: AtomicU64,
    pub refused: AtomicU64,
    /// Requests whose API could not be reached, or was lost.
    pub unreached: AtomicU64,
    /// Requests that were answered 503 or 504.
    pub put_off: AtomicU64,
}

/// One of the many.
pub struct Editor<'a> {
    pub number: u32,
    pub book: &'a Book,
    pub addresses: &'a Addresses,
    pub http: &'a Client,
    pub chance: StdRng,
    pub n_writes: u32,
}

/// What a node says of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: StatusCode,
    pub revision: Option<u64>,
    pub body: Value,
}

impl Answer {
    /// What is stored; `None` if there is nothing.
    pub fn state(&self) -> Option<State> {
        let mark = self.body["locale"].as_str().and_then(Mark::parse);
        match (self.status, self.revision, mark) {
            (StatusCode::NOT_FOUND, ..) => None,
            (StatusCode::OK, Some(revision), Some(mark)) => Some((revision, mark)),
            _ => panic!("no device as it was written: {self:?}"),
        }
    }
}

pub fn path(device: usize) -> String {
    format!("/v1/devices/edited-{device}")
}

/// Asks one node once; `Err` if it does not answer.
pub async fn ask(
    http: &Client,
    url: String,
    method: Method,
    guard: Option<(&str, String)>,
    body: Option<&Value>,
) -> Result<Answer, reqwest::Error> {
    let mut request = http.request(method, url).timeout(LIMIT);
    if let Some((name, value)) = guard {
        request = request.header(name, value);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = request.send().await?;
    let status = answer.status();
    let tag = answer.headers().get("etag").and_then(|it| it.to_str().ok());
    let revision = tag.and_then(|it| it.trim_matches('"').parse().ok());
    let body = answer.bytes().await?;
    Ok(Answer {
        status,
        revision,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}

impl Editor<'_> {
    /// Reads one device and changes it, through nodes of its choice.
    pub async fn edit(&mut self) {
        // A few that many want at once, and all others.
        let n = self.book.devices.len();
        let few = if self.chance.random_ratio(1, 8) {
            n.div_ceil(50)
        } else {
            n
        };
        let device = self.chance.random_range(0..few);
        let Some(found) = self.attempt(device, Method::GET, None, None).await else {
            return;
        };
        let (guard, wish) = self.wish(found.state());
        let method = match wish {
            Wish::Put(_) => Method::PUT,
            Wish::Remove => Method::DELETE,
        };
        let header = match guard {
            Guard::None => None,
            Guard::Absent => Some(("if-none-match", "*".to_owned())),
            Guard::At((revision, _)) => Some(("if-match", format!("\"{revision}\""))),
        };
        let document = match wish {
            Wish::Put(mark) => Some(json!({
                "app": "ios",
                "token": crate::crowd::token(device),
                "topics": ["nothing"],
                "locale": mark.to_locale(),
            })),
            Wish::Remove => None,
        };
        let answer = self
            .attempt(device, method, header, document.as_ref())
            .await;
        let told = match answer {
            None => Told::Nothing,
            Some(answer) => match answer.status.as_u16() {
                200 | 201 | 204 => Told::Done(answer.revision),
                412 => Told::Refused,
                _ => panic!("{device}: {guard:?} {wish:?}: {answer:?}"),
            },
        };
        match told {
            Told::Done(_) => self.book.done.fetch_add(1, Ordering::Relaxed),
            Told::Refused => self.book.refused.fetch_add(1, Ordering::Relaxed),
            Told::Nothing => 0,
        };
        let mut ledger = self.ledger(device);
        ledger.seen.extend(found.state());
        ledger.writes.push(Write { guard, wish, told });
    }

    fn ledger(&self, device: usize) -> std::sync::MutexGuard<'_, Ledger> {
        let ledger = self.book.devices[device].lock();
        ledger.unwrap_or_else(PoisonError::into_inner)
    }

    /// Mostly a guarded change; now and then a removal, or a registration that asks nobody.
    fn wish(&mut self, found: Option<State>) -> (Guard, Wish) {
        self.n_writes += 1;
        let mark = |changes| {
            Wish::Put(Mark {
                client: self.number,
                write: self.n_writes,
                changes,
            })
        };
        match (found, self.chance.random_range(0..20)) {
            (None, 0..15) => (Guard::Absent, mark(0)),
            (None, _) | (Some(_), 0..2) => (Guard::None, mark(0)),
            (Some(state), 2..5) => (Guard::At(state), Wish::Remove),
            (Some(state), _) => (Guard::At(state), mark(state.1.changes + 1)),
        }
    }

    /// Asks any node once; `None` if the answer is not final.
    async fn attempt(
        &mut self,
        device: usize,
        method: Method,
        guard: Option<(&str, String)>,
        body: Option<&Value>,
    ) -> Option<Answer> {
        let node = self.chance.random_range(0..self.addresses.len());
        let url = format!("http://{}{}", self.addresses.get(node), path(device));
        let in_the_way = match ask(self.http, url, method, guard, body).await {
            Ok(answer) if !matches!(answer.status.as_u16(), 503 | 504) => return Some(answer),
            Ok(_) => &self.book.put_off,
            Err(_) => &self.book.unreached,
        };
        in_the_way.fetch_add(1, Ordering::Relaxed);
        sleep(PAUSE).await;
        None
    }
}
