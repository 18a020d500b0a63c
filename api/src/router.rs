//! Which paths there are, and who answers.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use fanfare_nats::key::Right;
use fanfare_nats::policy::TopicPolicies;
use fanfare_nats::{AppName, Broker, Readiness};
use tower_http::catch_panic::CatchPanicLayer;

use crate::access::{self, Access, Needs};
use crate::config::Config;
use crate::layer::{self, Limits};
use crate::metric::Metrics;
use crate::{device, event, probe};

const DEVICE: &str = "/v1/devices/{id}";
const EVENTS: &str = "/v1/events";
const LIVEZ: &str = "/livez";
const READYZ: &str = "/readyz";

/// Every route and method with the statuses it answers with when all goes well, the closed set of
/// the metrics' labels, and who may come. What does not stand here is served to nobody.
pub(crate) const SERVED: [(&str, &str, &[u16], Needs); 6] = [
    (DEVICE, "GET", &[200, 304], DEVICE_READ),
    (DEVICE, "PUT", &[200, 201], DEVICE_PUT),
    (DEVICE, "DELETE", &[204], DEVICE_REMOVE),
    (EVENTS, "POST", &[200, 201], PUBLISH),
    (LIVEZ, "GET", &[200], Needs::NOTHING),
    (READYZ, "GET", &[200], Needs::NOTHING),
];

const DEVICE_READ: Needs = Needs::one_of(&[Right::Read, Right::DevicesWrite]).or_device();
const DEVICE_PUT: Needs =
    Needs::one_of(&[Right::DevicesWrite, Right::DevicesWriteSelf]).or_device();
const DEVICE_REMOVE: Needs = Needs::one_of(&[Right::DevicesWrite]).or_device();
const PUBLISH: Needs = Needs::one_of(&[Right::Publish]);

/// The label of a matched path; `none` for what matches no route.
pub(crate) fn route_label(matched: Option<&str>) -> &'static str {
    let mut routes = SERVED.iter().map(|(route, ..)| *route);
    routes.find(|it| Some(*it) == matched).unwrap_or("none")
}

/// What every request may use.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) broker: Broker,
    /// The apps that exist, if that is known.
    pub(crate) apps: Option<Arc<[AppName]>>,
    pub(crate) readiness: Readiness,
    pub(crate) topics: Arc<TopicPolicies>,
}

/// Puts the routes and their layers together.
pub(crate) fn router(
    config: &Config,
    broker: Broker,
    metrics: Metrics,
    readiness: Readiness,
    access: Access,
) -> Router {
    let api = Api {
        broker,
        apps: config.app_names().map(Arc::from),
        readiness,
        topics: Arc::new(config.topics.clone()),
    };
    let versioned = Router::new()
        .route(
            DEVICE,
            get(device::show).put(device::put).delete(device::remove),
        )
        .route(EVENTS, post(event::post))
        .with_state(api.clone());
    let probes = Router::new()
        .route(LIVEZ, get(probe::livez))
        .route(READYZ, get(probe::readyz))
        .with_state(api);
    let routes = limited(versioned, config).merge(probes);
    observed(admitted(routes, access), metrics)
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
