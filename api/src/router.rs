//! Which paths there are, and who answers.

mod deprecation;
mod row;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post, put};
use fanfare_nats::key::Right;
use fanfare_nats::policy::TopicPolicies;
use fanfare_nats::{AppName, Broker, Readiness};
use http::Method;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

pub(crate) use self::deprecation::Deprecation;
use self::row::{Row, row};
use crate::access::{self, Access, Needs};
use crate::audit::{self, Audit};
use crate::config::{App, Config, Preconditions};
use crate::device::places::Places;
use crate::known::Known;
use crate::layer::{self, Limits};
use crate::live::{self, Live};
use crate::metric::Metrics;
use crate::operate::Operating;
use crate::quota::Quotas;
use crate::{
    app, audience, bulk, dead_letter, delivery, device, docs, event, lane, member, openapi, probe,
    source, test_send, topics, user, web,
};

const DEVICE: &str = "/v1/devices/{id}";
const DEVICE_SECRET: &str = "/v1/devices/{id}/secret";
const DEVICE_TOPIC: &str = "/v1/devices/{id}/topics/{pattern}";
const DEVICE_CONFIRM: &str = "/v1/devices/{id}/confirm";
const DEVICE_MISSED: &str = "/v1/devices/{id}/missed";
const DEVICE_TEST: &str = "/v1/devices/{id}/test";
const USER_TEST: &str = "/v1/users/{user}/test";
pub(crate) const EVENTS: &str = "/v1/events";
const EVENT: &str = "/v1/events/{event}";
const DELIVERY: &str = "/v1/events/{event}/deliveries/{device}";
pub(crate) const APPS: &str = "/v1/apps";
const APP: &str = "/v1/apps/{app}";
pub(crate) const LANES: &str = "/v1/lanes";
const LANE: &str = "/v1/lanes/{lane}";
const LANE_PAUSE: &str = "/v1/lanes/{lane}/pause";
pub(crate) const STREAM: &str = "/v1/stream";
pub(crate) const DEAD_LETTERS: &str = "/v1/dead-letters";
const DEAD_LETTER: &str = "/v1/dead-letters/{number}";
const REPLAY: &str = "/v1/dead-letters/replay";
pub(crate) const SOURCES: &str = "/v1/sources";
const SOURCE: &str = "/v1/sources/{source}";
const SOURCE_PAUSE: &str = "/v1/sources/{source}/pause";
pub(crate) const AUDIT: &str = "/v1/audit";
pub(crate) const MEMBERS: &str = "/v1/members";
pub(crate) const TOPICS: &str = "/v1/topics";
const BULK: &str = "/v1/bulk/devices";
const USER: &str = "/v1/users/{user}";
const AUDIENCE: &str = "/v1/topics/audience";
const LIVEZ: &str = "/livez";
const DOCS: &str = "/docs";
const OPENAPI: &str = "/openapi.json";
const READYZ: &str = "/readyz";
/// Large events whose receipts one process counts at once; each may be thousands of reads.
const READINGS: usize = 4;
/// Devices that one process lets catch up at once; each may be thousands of reads.
const CATCHING_UP: usize = 8;

/// Every route and method with the statuses it answers with when all goes well, the closed set of
/// the metrics' labels, and who may come. What does not stand here is served to nobody.
pub(crate) const SERVED: &[Row] = &[
    row(DEVICE, "GET", &[200, 304], DEVICE_READ),
    row(DEVICE, "PUT", &[200, 201, 202], DEVICE_PUT),
    row(DEVICE, "DELETE", &[204], DEVICE_CHANGE),
    row(DEVICE_SECRET, "POST", &[200], DEVICE_CHANGE),
    row(DEVICE_TOPIC, "PUT", &[200, 201], DEVICE_CHANGE),
    row(DEVICE_TOPIC, "DELETE", &[204], DEVICE_CHANGE),
    row(DEVICE_CONFIRM, "POST", &[200], DEVICE_CHANGE),
    row(DEVICE_MISSED, "GET", &[200], DEVICE_READ),
    row(DEVICE_TEST, "POST", &[201], DEVICE_TRY),
    row(USER_TEST, "POST", &[201], TRY),
    row(BULK, "POST", &[200], CHANGE_DEVICES),
    row(BULK, "GET", &[200], READ),
    row(EVENTS, "GET", &[200], READ),
    row(EVENTS, "POST", &[200, 201], PUBLISH),
    row(EVENT, "GET", &[200], READ),
    row(DELIVERY, "GET", &[200], READ),
    row(STREAM, "GET", &[200], READ),
    row(APPS, "GET", &[200], READ),
    row(APP, "GET", &[200], READ),
    row(LANES, "GET", &[200], SYSTEM),
    row(LANE, "GET", &[200], SYSTEM),
    row(LANE_PAUSE, "PUT", &[200], OPERATE),
    row(LANE_PAUSE, "DELETE", &[200], OPERATE),
    row(MEMBERS, "GET", &[200], SYSTEM),
    row(USER, "GET", &[200], READ_DEVICES),
    row(USER, "DELETE", &[200], CHANGE_DEVICES),
    row(TOPICS, "GET", &[200], READ),
    row(AUDIENCE, "POST", &[200], READ).changing_nothing(),
    row(SOURCES, "GET", &[200], SYSTEM),
    row(SOURCE, "GET", &[200], SYSTEM),
    row(SOURCE_PAUSE, "PUT", &[200], OPERATE),
    row(SOURCE_PAUSE, "DELETE", &[200], OPERATE),
    row(DEAD_LETTERS, "GET", &[200], OPERATE),
    row(DEAD_LETTER, "GET", &[200], OPERATE),
    row(REPLAY, "POST", &[200], OPERATE),
    row(AUDIT, "GET", &[200], EVERYTHING),
    row(OPENAPI, "GET", &[200], Needs::NOTHING),
    row(DOCS, "GET", &[200], Needs::NOTHING),
    row(LIVEZ, "GET", &[200], Needs::NOTHING),
    row(READYZ, "GET", &[200], Needs::NOTHING),
];

const DEVICE_READ: Needs = Needs::one_of(&[Right::Read, Right::DevicesWrite])
    .or_device()
    .for_tenants();
const DEVICE_PUT: Needs = Needs::one_of(&[Right::DevicesWrite, Right::DevicesWriteSelf])
    .or_device()
    .for_tenants();
const DEVICE_CHANGE: Needs = Needs::one_of(&[Right::DevicesWrite])
    .or_device()
    .for_tenants();
const TRY: Needs = Needs::one_of(&[Right::DevicesWrite, Right::Operate]).for_tenants();
const DEVICE_TRY: Needs = TRY.or_device();
const PUBLISH: Needs = Needs::one_of(&[Right::Publish]).for_tenants();
const READ_DEVICES: Needs = Needs::one_of(&[Right::Read, Right::DevicesWrite]).for_tenants();
const CHANGE_DEVICES: Needs = Needs::one_of(&[Right::DevicesWrite]).for_tenants();
const READ: Needs = Needs::one_of(&[Right::Read]).for_tenants();
const SYSTEM: Needs = Needs::one_of(&[Right::Read, Right::Operate]);
const OPERATE: Needs = Needs::one_of(&[Right::Operate]);
/// `admin` alone.
const EVERYTHING: Needs = Needs::one_of(&[]).for_tenants();

/// The label of a matched path; `none` for what matches no route.
pub(crate) fn route_label(matched: Option<&str>) -> &'static str {
    let mut routes = SERVED.iter().map(|it| it.route);
    routes.find(|it| Some(*it) == matched).unwrap_or("none")
}

/// The row that answers a request.
pub(crate) fn row_of(path: &str, method: &Method) -> Option<&'static Row> {
    // What serves GET serves HEAD.
    let method = if *method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    let mut rows = SERVED.iter();
    rows.find(|it| it.route == path && it.method == method.as_str())
}

/// What every request may use. Each layer of a request clones it, so it is one pointer.
#[derive(Clone, Debug)]
pub(crate) struct Api(Arc<Means>);

impl Deref for Api {
    type Target = Means;

    fn deref(&self) -> &Means {
        &self.0
    }
}

/// The same, behind the pointer.
#[derive(Debug)]
pub(crate) struct Means {
    pub(crate) broker: Broker,
    pub(crate) metrics: Metrics,
    /// What askers have left, of what only a handler knows.
    pub(crate) quotas: Quotas,
    /// Whether a write has to say a revision.
    preconditions: Preconditions,
    /// The apps that exist, if that is known.
    pub(crate) apps: Option<Arc<[AppName]>>,
    /// The same, as app developers see them.
    pub(crate) shown_apps: Vec<App>,
    pub(crate) readiness: Readiness,
    /// All devices together.
    pub(crate) known: Known,
    /// Places for the devices of each user.
    pub(crate) places: Places,
    /// Places of those who count large events, or all devices.
    pub(crate) readings: Semaphore,
    /// Places of devices that catch up.
    pub(crate) catching_up: Semaphore,
    pub(crate) topics: TopicPolicies,
    /// The connection that may pause and replay, if this process has one.
    pub(crate) operating: Operating,
    pub(crate) live: Live,
    /// When the server ends; what lasts long heeds it.
    pub(crate) stop: CancellationToken,
    /// Places of those who import and export.
    pub(crate) bulk: Arc<Semaphore>,
    pub(crate) max_import_bytes: u64,
    pub(crate) max_line_bytes: usize,
    pub(crate) import_stall: Duration,
}

/// What runs beside the requests, and what they ask of it.
#[derive(Debug)]
pub(crate) struct Beside {
    pub(crate) operating: Operating,
    pub(crate) live: Live,
    pub(crate) known: Known,
    /// Where changes are recorded, if they are.
    pub(crate) audit: Option<Audit>,
    pub(crate) stop: CancellationToken,
}

impl Means {
    /// Whether a device that exists is written only by who says its revision.
    pub(crate) fn must_say_revisions(&self) -> bool {
        self.preconditions == Preconditions::Required
    }
}

/// Puts the routes and their layers together.
pub(crate) fn router(
    config: &Config,
    broker: Broker,
    metrics: Metrics,
    readiness: Readiness,
    access: Access,
    beside: Beside,
) -> Router {
    let Beside {
        operating,
        live,
        known,
        audit,
        stop,
    } = beside;
    let quotas = Quotas::new(config);
    let access = access.counting(quotas.clone());
    let api = Api(Arc::new(Means {
        preconditions: config.preconditions,
        quotas,
        broker,
        metrics: metrics.clone(),
        apps: config.app_names().map(Arc::from),
        shown_apps: config.shown_apps(),
        readiness,
        known,
        places: Places::new(config.max_devices_per_user),
        readings: Semaphore::new(READINGS),
        catching_up: Semaphore::new(CATCHING_UP),
        topics: config.topics.clone(),
        operating,
        live,
        stop,
        bulk: Arc::new(Semaphore::new(bulk::PLACES)),
        max_import_bytes: config.max_import_bytes,
        max_line_bytes: config.max_body_bytes,
        import_stall: config.import_stall(),
    }));
    let versioned = Router::new()
        .route(USER_TEST, post(test_send::to_user))
        .route(EVENTS, get(event::list::list).post(event::post))
        .route(EVENT, get(event::shown::show))
        .route(DELIVERY, get(delivery::show))
        .route(STREAM, get(live::show))
        .route(MEMBERS, get(member::list))
        .route(BULK, get(bulk::export::export).post(bulk::import::import))
        .route(USER, get(user::show).delete(user::remove))
        .route(TOPICS, get(topics::list))
        .route(AUDIENCE, post(audience::ask))
        .merge(devices())
        .merge(system())
        .with_state(api.clone());
    let probes = Router::new()
        .route(LIVEZ, get(probe::livez))
        .route(READYZ, get(probe::readyz))
        .route(OPENAPI, get(openapi::show))
        .route(DOCS, get(docs::show))
        .with_state(api);
    let routes = limited(recorded(versioned, audit), config).merge(probes);
    web::served(observed(admitted(routes, access), metrics), config)
}

/// One device.
fn devices() -> Router<Api> {
    Router::new()
        .route(
            DEVICE,
            get(device::show).put(device::put).delete(device::remove),
        )
        .route(DEVICE_SECRET, post(device::secret::renew))
        .route(
            DEVICE_TOPIC,
            put(device::topic::put).delete(device::topic::remove),
        )
        .route(DEVICE_CONFIRM, post(device::confirm::confirm))
        .route(DEVICE_MISSED, get(device::missed::list))
        .route(DEVICE_TEST, post(test_send::to_device))
}

/// Apps, lanes, sources, and what was given up.
fn system() -> Router<Api> {
    Router::new()
        .route(APPS, get(app::list))
        .route(APP, get(app::show))
        .route(LANES, get(lane::list))
        .route(LANE, get(lane::show))
        .route(
            LANE_PAUSE,
            put(lane::pause::put).delete(lane::pause::remove),
        )
        .route(SOURCES, get(source::list))
        .route(SOURCE, get(source::show))
        .route(
            SOURCE_PAUSE,
            put(source::pause::put).delete(source::pause::remove),
        )
        .route(DEAD_LETTERS, get(dead_letter::list))
        .route(DEAD_LETTER, get(dead_letter::show))
        .route(REPLAY, post(dead_letter::replay::post))
        .route(AUDIT, get(audit::list::list))
}

/// Where what changes something is recorded.
fn recorded(routes: Router, audit: Option<Audit>) -> Router {
    match audit {
        Some(audit) => routes.layer(from_fn_with_state(audit, audit::record)),
        None => routes,
    }
}

/// What holds for every request that has a route: somebody who may come there asks.
pub(crate) fn admitted(routes: Router, access: Access) -> Router {
    routes.layer(from_fn_with_state(access, access::admit))
}

/// What holds for requests of work, not for probes: limits, time.
pub(crate) fn limited(routes: Router, config: &Config) -> Router {
    let limits = Limits::new(config);
    routes
        .layer(DefaultBodyLimit::max(config.max_body_bytes))
        .layer(from_fn_with_state(limits, layer::limit))
}

/// What holds for every request: an id, a span, a count, and a problem document for every error.
pub(crate) fn observed(routes: Router, metrics: Metrics) -> Router {
    routes
        .layer(CatchPanicLayer::custom(layer::panicked))
        .layer(from_fn(move |request, next| {
            layer::observe(metrics.clone(), request, next)
        }))
}
