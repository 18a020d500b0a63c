//! The control endpoint: steering a sim from outside its process. Loopback only, no secrets.
//!
//! | request | does |
//! |---|---|
//! | `GET /control/state` | where everything is |
//! | `GET /stats` | the ledger's numbers, connections |
//! | `GET /control/faults` | rules and how often they matched |
//! | `POST /control/faults` `[rule, …]` or one rule | adds rules, says their ids |
//! | `DELETE /control/faults[/<id>]` | takes them away |
//! | `POST /control/latency` `{"provider", "fixed_us", "jitter_us", "before_percent"}` | from now on |
//! | `POST /control/connections` `{"provider", "do": "reset", "connection"?}` | to open connections |
//! | `POST /control/listeners` `{"provider", "refuses": true}` | refuses new connections |
//! | `POST /control/feed/faults` `[rule, …]`, `DELETE` | faults of feeds |
//! | `POST /control/feed/advance` `{"path", "steps": 1}`, `{"seconds": 60}` or `{"speed": 10}` | the feed's clock |
//! | `POST /control/feed/close` | closes all sockets of feeds |
//! | `GET /control/feed/emissions` | quakes shown since the start |
//! | `GET /control/feed/received` | what clients of sockets sent |
//! | `GET /control/feed/visits` | connections to sockets: opened, last heard, closed |

use std::sync::PoisonError;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::clock;
use crate::http::{Body, json as answer_json, text};
use crate::ledger::ProviderKind;
use crate::script::Rule;
use crate::sim::Inside;
use crate::upstream::faults::FeedRule;
use crate::wire::{Disturbance, Latency};

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Rules {
    Many(Vec<Rule>),
    One(Box<Rule>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum AdvanceFeed {
    Steps { path: String, steps: usize },
    Seconds { seconds: f64 },
    Speed { speed: f64 },
}

#[derive(Debug, Deserialize)]
struct SetLatency {
    provider: ProviderKind,
    #[serde(flatten)]
    latency: Latency,
}

#[derive(Debug, Deserialize)]
struct Disturb {
    provider: ProviderKind,
    #[serde(default)]
    connection: Option<u64>,
    #[serde(flatten)]
    what: Disturbance,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetRefuses {
    provider: ProviderKind,
    refuses: bool,
}

/// Answers a control request.
pub(crate) fn answer(head: &Parts, body: &Bytes, inside: &Inside) -> Response<Body> {
    let path = head.uri.path();
    let done = match (&head.method, path) {
        (&Method::GET, "/control/state") => Ok(json!(inside.whereabouts)),
        (&Method::GET, "/stats") => Ok(stats(inside)),
        (&Method::GET, "/control/faults") => Ok(json!(inside.world.script.rules())),
        (&Method::POST, "/control/faults") => parsed(body).map(|rules| add(inside, rules)),
        (&Method::DELETE, "/control/faults") => {
            inside.world.script.clear();
            Ok(json!({}))
        }
        (&Method::DELETE, _) => match path.strip_prefix("/control/faults/").map(str::parse) {
            Some(Ok(id)) if inside.world.script.remove(id) => Ok(json!({})),
            _ => return text(404, "no such rule\n"),
        },
        (&Method::POST, "/control/latency") => parsed(body).map(|it: SetLatency| {
            inside.set_latency(it.provider, it.latency);
            json!({})
        }),
        (&Method::POST, "/control/connections") => parsed(body).map(|it: Disturb| {
            json!({ "disturbed": inside.disturb(it.provider, it.what, it.connection) })
        }),
        (&Method::POST, "/control/listeners") => parsed(body).map(|it: SetRefuses| {
            inside.set_refuses(it.provider, it.refuses);
            json!({})
        }),
        _ => match feed(head, body, inside) {
            Some(done) => done,
            None => return text(404, "nothing here\n"),
        },
    };
    match done {
        Ok(value) => answer_json(200, &value),
        Err(error) => answer_json(400, &json!({ "error": error.to_string() })),
    }
}

fn feed(head: &Parts, body: &Bytes, inside: &Inside) -> Option<Result<Value, serde_json::Error>> {
    let upstream = &inside.upstream;
    let now_ms = clock::now().as_millisecond();
    Some(match (&head.method, head.uri.path()) {
        (&Method::POST, "/control/feed/faults") => parsed(body).map(|rules: Vec<FeedRule>| {
            for rule in rules {
                upstream.faults.add(rule, now_ms);
            }
            json!({})
        }),
        (&Method::DELETE, "/control/feed/faults") => {
            upstream.faults.clear();
            Ok(json!({}))
        }
        (&Method::POST, "/control/feed/advance") => parsed(body).map(|it: AdvanceFeed| {
            let is_moved = match (it, &upstream.quakes) {
                (AdvanceFeed::Steps { path, steps }, _) => upstream.advance(&path, steps),
                (AdvanceFeed::Seconds { seconds }, Some(quakes)) => {
                    quakes.leap(seconds);
                    true
                }
                (AdvanceFeed::Speed { speed }, Some(quakes)) => {
                    quakes.set_speed(speed);
                    true
                }
                (AdvanceFeed::Seconds { .. } | AdvanceFeed::Speed { .. }, None) => false,
            };
            json!({ "moved": is_moved })
        }),
        (&Method::POST, "/control/feed/close") => {
            upstream.close_sockets();
            Ok(json!({}))
        }
        (&Method::GET, "/control/feed/emissions") => {
            Ok(json!(upstream.quakes.as_ref().map(|it| it.emissions())))
        }
        (&Method::GET, "/control/feed/visits") => Ok(json!(upstream.visits())),
        (&Method::GET, "/control/feed/received") => {
            let received = upstream
                .received
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            Ok(json!(*received))
        }
        _ => return None,
    })
}

fn add(inside: &Inside, rules: Rules) -> Value {
    let rules = match rules {
        Rules::Many(rules) => rules,
        Rules::One(rule) => vec![*rule],
    };
    let now_ms = clock::now().as_millisecond();
    let ids: Vec<u64> = rules
        .into_iter()
        .map(|rule| inside.world.script.add(rule, now_ms))
        .collect();
    json!({ "ids": ids })
}

fn stats(inside: &Inside) -> Value {
    let listeners = inside.listeners.iter().map(|it| {
        json!({
            "provider": it.double.kind(),
            "address": it.address,
            "open_connections": it.n_open(),
            "refuses": it.is_refusing(),
            "latency": it.latency.get(),
        })
    });
    json!({
        "ledger": inside.world.ledger.counts(),
        "listeners": listeners.collect::<Vec<_>>(),
        "feeds": inside.upstream.asked(),
        "is_feed_over": inside.upstream.quakes.as_ref().map(|it| it.is_over()),
        "access_tokens": inside.oauth.as_ref().map_or(0, |fcm| fcm.oauth.n_issued()),
    })
}

fn parsed<T: DeserializeOwned>(body: &Bytes) -> Result<T, serde_json::Error> {
    serde_json::from_slice(body)
}
