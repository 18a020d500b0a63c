//! The load: devices that come and go, events posted and served, all noted in the book.
//!
//! Every write is repeated with the same content until it is answered, by whichever API lives: that
//! is what the API asks its clients to do.

mod pulse;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use rand::Rng;
use rand::rngs::StdRng;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::book::{Book, Device, Event, Group};
use super::seat::{Role, Seat};
use crate::now_us;
use crate::pipeline::{Apps, Pipeline};

/// Registrations at once at the start.
const AT_ONCE: usize = 32;
/// An answer that takes longer is asked for again.
const ANSWER: Duration = Duration::from_secs(12);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(50);
/// Where the feed of quakes is.
const QUAKES: &str = "/quakes/all_day.geojson";
/// An event that nobody got all of is followed by the next after so long.
const STUCK: Duration = Duration::from_secs(20);
/// Devices that watch quakes, and those that watch levels.
const WATCHERS: usize = 20;

/// How much there is to do.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Devices that get every posted event.
    pub crowd: usize,
    /// Pushes that may be owed and not made before the next event is posted.
    pub backlog: u64,
}

/// The load on one pipeline.
pub struct Load<'a> {
    pipeline: &'a Pipeline,
    seats: &'a [Seat],
    client: Client,
    size: Size,
    /// Expected pushes of posted events so far.
    expected: Mutex<u64>,
    book: Mutex<Book>,
    /// What an API said that it must never say.
    wrong: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

/// Devices that get events of at most once and such that expire soon: few, because neither repeats
/// what the formula is about.
const FEW: usize = 100;
/// Devices by which waits are measured.
const PULSES: usize = 2;

/// More lines for the configuration: quakes by the levels that they cross.
pub fn levels_source(pipeline_sim_url: &str) -> String {
    format!(
        r#"
[[source]]
name = "steps"
when = "item.properties.type == 'earthquake'"
level = {{ levels = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0], of = "{{{{ item.properties.mag }}}}" }}
id = "{{{{ item.id }}}}"
time = "{{{{ item.properties.time | from_ms }}}}"
topics = ["steps.{{{{ item.properties.net | slug }}}}"]
title = "steps {{{{ item.id }}}}"

[[source.input]]
http = "{pipeline_sim_url}"
every = "1s"
items = "$.features[*]"
allow_private = true
"#
    )
}

/// A token that both apps take.
fn token(prefix: &str, n: usize) -> String {
    format!("{prefix}{n:060x}")
}

impl<'a> Load<'a> {
    /// A load that reaches the APIs in `seats`.
    pub fn new(pipeline: &'a Pipeline, seats: &'a [Seat], size: Size) -> Self {
        Self {
            pipeline,
            seats,
            client: crate::api::client(),
            size,
            expected: Mutex::default(),
            book: Mutex::default(),
            wrong: Mutex::default(),
            is_over: AtomicBool::new(false),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was registered, posted and served so far; the feed's items are taken from its double.
    pub fn noted(&self) -> Book {
        let mut book = self.book().clone();
        for shown in self.pipeline.sim.emissions() {
            if shown.kind != "earthquake" {
                continue; // The configuration leaves it out.
            }
            let is_new = shown.revision == 0;
            let event = |group| Event {
                group,
                asked_us: shown.at_us,
                expires_us: None,
                is_at_most_once: false,
            };
            if is_new {
                book.events.insert(shown.id.clone(), event(Group::Watcher));
            }
            let title = format!("steps {}", shown.id);
            book.events
                .entry(title)
                .or_insert_with(|| event(Group::Climber));
        }
        book
    }

    /// What an API said that it must never say.
    pub fn wrong(&self) -> Vec<String> {
        self.wrong
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Asks until somebody answers with one of `good`; returns the body.
    async fn insist(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        good: &[u16],
    ) -> Value {
        let apis = || self.seats.iter().filter(|it| it.role == Role::Api);
        for turn in 0_usize.. {
            let n_apis = apis().count().max(1);
            let address = apis().nth(turn % n_apis).and_then(Seat::address);
            if let Some(address) = address {
                let mut request = self
                    .client
                    .request(method.clone(), format!("http://{address}{path}"))
                    .timeout(ANSWER);
                if let Some(body) = body {
                    request = request.json(body);
                }
                if let Ok(answer) = request.send().await {
                    let status = answer.status().as_u16();
                    let text = answer.text().await.unwrap_or_default();
                    if good.contains(&status) {
                        return serde_json::from_str(&text).unwrap_or_default();
                    }
                    if status < 500 && status != 429 {
                        self.wrong
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(format!("{method} {path}: {status}: {text}"));
                        return Value::Null;
                    }
                }
            }
            sleep(AGAIN).await;
        }
        Value::Null
    }

    /// Registers a device and notes it once that is answered.
    async fn register(&self, device: &str, token: &str, app: &str, group: Group, topic: &str) {
        let document = json!({"app": app, "token": token, "topics": [topic]});
        let path = format!("/v1/devices/{device}");
        // A push may come before the answer.
        let noted = |since_us| Device {
            group,
            since_us,
            removed_us: None,
        };
        self.book()
            .devices
            .insert(token.to_owned(), noted(i64::MAX));
        self.insist(Method::PUT, &path, Some(&document), &[200, 201])
            .await;
        self.book()
            .devices
            .insert(token.to_owned(), noted(now_us()));
    }

    /// Devices that get every posted event from the start.
    pub fn crowd(&self) -> usize {
        self.size.crowd
    }

    fn app(&self, n: usize) -> &'static str {
        let apps: Apps = self.pipeline.setup().apps;
        apps.names()[n % 2]
    }

    /// Registers everyone who is there from the start.
    pub async fn gather(&self) {
        let crowd = (0..self.size.crowd).map(|n| (n, "aaaa", Group::Crowd, "all"));
        let watchers = (0..WATCHERS).map(|n| (n, "bbbb", Group::Watcher, "quakes.>"));
        let few = (0..FEW).map(|n| (n, "eeee", Group::Few, "few"));
        let climbers = (0..WATCHERS).map(|n| (n, "cccc", Group::Climber, "steps.>"));
        let pulses = (0..PULSES).map(|n| (n, "ffff", Group::Pulse, "pulse"));
        let everyone = crowd
            .chain(watchers)
            .chain(climbers)
            .chain(few)
            .chain(pulses);
        stream::iter(everyone)
            .for_each_concurrent(AT_ONCE, |(n, prefix, group, topic)| async move {
                let device = format!("{prefix}-{n}");
                self.register(&device, &token(prefix, n), self.app(n), group, topic)
                    .await;
            })
            .await;
    }

    /// Posts an event to the crowd and notes it.
    pub async fn post(&self, title: &str, more: &Value) -> Option<String> {
        self.post_to(Group::Crowd, "all", title, more).await
    }

    async fn post_to(
        &self,
        group: Group,
        topic: &str,
        title: &str,
        more: &Value,
    ) -> Option<String> {
        let mut document = json!({"id": title, "topics": [topic], "title": title});
        if let (Some(document), Some(more)) = (document.as_object_mut(), more.as_object()) {
            document.extend(more.clone());
        }
        let asked_us = now_us();
        let expires_us = more["expires_in"]
            .as_i64()
            .map(|seconds| asked_us + seconds * 1_000_000);
        let event = Event {
            group,
            asked_us,
            expires_us,
            is_at_most_once: more["guarantee"] == "at_most_once",
        };
        self.book().events.insert(title.to_owned(), event);
        let answer = self
            .insist(Method::POST, "/v1/events", Some(&document), &[200, 201])
            .await;
        // It lives from the moment at which an API took it, not from our first try.
        if let Some(event) = self.book().events.get_mut(title)
            && expires_us.is_some()
        {
            let read = |it: &Value| it.as_str()?.parse::<jiff::Timestamp>().ok();
            event.expires_us = read(&answer["expires_at"]).map(jiff::Timestamp::as_microsecond);
        }
        answer["event"].as_str().map(str::to_owned)
    }

    /// Pushes that are owed and not made, roughly.
    pub fn outstanding(&self) -> u64 {
        let expected = *self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        expected.saturating_sub(self.pipeline.counts().deliveries)
    }

    /// Whether the API takes events that are never to be sent twice.
    pub async fn offers_at_most_once(&self) -> bool {
        let title = "once-first";
        let more = json!({"guarantee": "at_most_once"});
        self.post_to(Group::Few, "few", title, &more).await;
        let is_offered = self.wrong().is_empty();
        if !is_offered {
            self.book().events.remove(title);
            self.wrong
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
        }
        is_offered
    }

    /// Lets the requests that are under way come to their end, and begins no more.
    pub async fn finish(&self, loading: impl Future<Output = ()>) {
        self.is_over.store(true, Ordering::Relaxed);
        let limit = tokio::time::timeout(4 * ANSWER, loading);
        if limit.await.is_err() {
            let text = "a request was never answered".to_owned();
            self.wrong
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(text);
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Posts one event after another, as fast as they are pushed.
    pub async fn keep_posting(&self) {
        for n in 0_u64.. {
            if self.is_over() {
                return;
            }
            self.post(&format!("e-{n}"), &json!({"urgency": pulse::urgency(n)}))
                .await;
            *self.expected.lock().unwrap_or_else(PoisonError::into_inner) += self.size.crowd as u64;
            let stuck = Instant::now() + STUCK;
            while self.outstanding() > self.size.backlog
                && Instant::now() < stuck
                && !self.is_over()
            {
                sleep(AGAIN).await;
            }
        }
    }

    /// Moves the feed of quakes on, so often.
    pub async fn keep_feeding(&self, every: Duration) {
        while !self.is_over() {
            sleep(every).await;
            self.pipeline.sim.advance_feed(QUAKES, 1);
        }
    }

    /// Devices that come and go, tokens that are refused, events that expire soon.
    pub async fn keep_churning(&self, mut chance: StdRng, offers_at_most_once: bool) {
        for n in 0_usize.. {
            if self.is_over() {
                return;
            }
            sleep(Duration::from_millis(chance.random_range(300..900))).await;
            let leaver = format!("leaver-{n}");
            let gone = token("dddd", n);
            self.register(&leaver, &gone, self.app(n), Group::Crowd, "all")
                .await;
            if n % 4 == 1 {
                // 410 and 400 for good.
                for (prefix, name) in [("dead", "dead"), ("bad0", "bad")] {
                    let device = format!("{name}-{n}");
                    self.register(
                        &device,
                        &token(prefix, n),
                        self.app(n),
                        Group::Refused,
                        "all",
                    )
                    .await;
                }
            }
            if n % 4 == 2 {
                let more = json!({"expires_in": 2, "urgency": "urgent"});
                self.post_to(Group::Few, "few", &format!("soon-{n}"), &more)
                    .await;
            }
            if n % 4 == 3 && offers_at_most_once {
                let more = json!({"guarantee": "at_most_once"});
                self.post_to(Group::Few, "few", &format!("once-{n}"), &more)
                    .await;
            }
            if n >= 3 {
                self.remove(n - 3).await;
            }
        }
    }

    async fn remove(&self, n: usize) {
        let (path, token) = (format!("/v1/devices/leaver-{n}"), token("dddd", n));
        let asked_us = now_us();
        if let Some(device) = self.book().devices.get_mut(&token) {
            device.removed_us = Some((asked_us, i64::MAX));
        }
        self.insist(Method::DELETE, &path, None, &[204]).await;
        if let Some(device) = self.book().devices.get_mut(&token) {
            device.removed_us = Some((asked_us, now_us()));
        }
    }
}
