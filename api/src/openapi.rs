//! The contract: one `OpenAPI` 3.1 document, made from the handlers and their types, at
//! `/openapi.json`.
//!
//! The handlers say what they answer when all goes well. Every refusal is a problem document, and
//! which of them a route can give is said here once, by rules and not by memory ([`refusals`]).
//! The test suite holds every answer that it gets against this document.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use fanfare_nats::key::Right;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderValue};
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Content, Deprecated, Header, ObjectBuilder, PathItem, Ref, RefOr, ResponseBuilder, Schema, Type,
};
use utoipa::{Modify, OpenApi, ToSchema};

use crate::access::Needs;
use crate::problem::{Kind, MEDIA_TYPE};
use crate::router::{Deprecation, row_of};
use crate::{
    app, audience, audit, bulk, dead_letter, delivery, device, docs, event, lane, live, member,
    probe, source, test_send, topics, user,
};

/// The names of the two credentials.
const KEY: &str = "key";
const DEVICE: &str = "device";
/// The tag of what goes through the connection of operators.
const OPERATING: &str = "operating";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "fanfare",
        version = "1",
        description = "Registers devices, takes events, and says what became of them.\n\nEvery \
            refusal is a problem document (RFC 9457) with a stable `code`. What is not in this \
            document is answered `404 no_such_route`, another method of a path that is \
            `405 method_not_allowed`. Every answer carries an `X-Request-Id`.\n\nA key reads and \
            writes what is of its tenant; an operation with `x-tenant: main` is of the whole \
            installation, and for keys of the tenant `main` alone.",
    ),
    paths(
        device::show,
        device::put,
        device::remove,
        device::secret::renew,
        device::topic::put,
        device::topic::remove,
        device::confirm::confirm,
        device::missed::list,
        test_send::to_device,
        test_send::to_user,
        event::list::list,
        event::post,
        event::shown::show,
        delivery::show,
        live::show,
        app::list,
        app::show,
        lane::list,
        lane::show,
        lane::pause::put,
        lane::pause::remove,
        member::list,
        bulk::import::import,
        bulk::export::export,
        user::show,
        user::remove,
        topics::list,
        audience::ask,
        source::list,
        source::show,
        source::pause::put,
        source::pause::remove,
        dead_letter::list,
        dead_letter::show,
        dead_letter::replay::post,
        audit::list::list,
        probe::livez,
        probe::readyz,
        docs::show,
        show,
    ),
    components(schemas(ProblemDocument)),
    modifiers(&Refusals),
    tags(
        (name = "devices", description = "Where pushes go, and what each device follows"),
        (name = "users", description = "People, who have devices"),
        (name = "events", description = "What happened, and what became of it"),
        (name = "topics", description = "What is followed, and who would get something"),
        (name = "apps", description = "For what devices can be registered"),
        (name = "system", description = "How the pipeline is"),
        (name = "operating", description = "What operators do; by a process that is configured to"),
        (name = "probes", description = "For orchestrators"),
        (name = "contract", description = "This document"),
    ),
)]
struct Contract;

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| openapi().into());

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "showContract",
    description = "",
    tag = "contract",
    responses((status = 200, description = "OpenAPI 3.1", body = Value)),
)]
pub(crate) async fn show() -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], DOCUMENT.clone()).into_response()
}

/// The document as text.
pub fn openapi() -> String {
    // Maps and texts cannot fail.
    Contract::openapi().to_pretty_json().unwrap_or_default()
}

/// The id of the operation at a path, by a method.
pub(crate) fn operation_id(path: &str, method: &str) -> Option<String> {
    static IDS: LazyLock<BTreeMap<(String, String), String>> = LazyLock::new(|| {
        let mut document = Contract::openapi();
        let mut ids = BTreeMap::new();
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in operations(item) {
                let id = operation.operation_id.clone();
                ids.extend(id.map(|it| ((path.clone(), method.to_string()), it)));
            }
        }
        ids
    });
    IDS.get(&(path.to_owned(), method.to_owned())).cloned()
}

/// A refusal (RFC 9457).
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "described here, written in problem.rs")]
struct ProblemDocument {
    /// `urn:fanfare:problem:` and the code.
    r#type: String,
    title: String,
    status: u16,
    /// What went wrong, from a closed set.
    code: String,
    /// The same in words for the developer of the client.
    detail: String,
    /// The id of the request, as in `X-Request-Id`.
    request_id: String,
    /// Of `invalid_fields`: every field that is not valid.
    #[schema(nullable = false)]
    errors: Option<Vec<FlawDocument>>,
}

/// A field that is not valid.
#[derive(ToSchema)]
#[schema(as = Flaw)]
#[expect(dead_code, reason = "described here, written in problem.rs")]
struct FlawDocument {
    /// JSON pointer into the request's body (RFC 6901).
    #[schema(example = "/topics/0")]
    pointer: String,
    detail: String,
}

/// Adds to every operation what it can refuse.
struct Refusals;

impl Modify for Refusals {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in operations(item) {
                let row = row_of(path, &method);
                // What the table does not name is served to nobody.
                let needs = row.map_or(Needs::NOTHING, |it| it.needs);
                secure(needs, operation);
                refuse(path, needs, operation);
                announce(row.and_then(|it| it.deprecated), operation);
                operation.parameters.iter_mut().flatten().for_each(plain);
            }
        }
        let Some(components) = &mut document.components else {
            return;
        };
        components.add_security_scheme(KEY, scheme("A key; beside it stands the scope it needs"));
        components.add_security_scheme(DEVICE, scheme("The secret of the device in the path"));
        let problem = components.schemas.get_mut("Problem");
        if let Some(RefOr::T(Schema::Object(problem))) = problem {
            let codes: Vec<&str> = Kind::ALL.iter().map(|it| it.facts().1).collect();
            let code = ObjectBuilder::new()
                .schema_type(Type::String)
                .description(Some("What went wrong, from a closed set"))
                .enum_values(Some(codes))
                .build();
            problem.properties.insert("code".to_owned(), code.into());
        }
    }
}

/// The operations of a path.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let operations = [
        (Method::GET, item.get.as_mut()),
        (Method::PUT, item.put.as_mut()),
        (Method::POST, item.post.as_mut()),
        (Method::DELETE, item.delete.as_mut()),
        (Method::PATCH, item.patch.as_mut()),
    ];
    let operations = operations.into_iter();
    operations.filter_map(|(method, operation)| Some((method, operation?)))
}

/// Says who may ask: any one of the alternatives. `OpenAPI` 3.1 takes words beside every scheme.
fn secure(needs: Needs, operation: &mut Operation) {
    if needs.is_open() {
        return;
    }
    let rights = needs.rights().iter().chain(&[Right::Admin]);
    let mut any_of: Vec<_> = rights
        .map(|it| SecurityRequirement::new(KEY, [it.as_str()]))
        .collect();
    if needs.is_for_device() {
        any_of.push(SecurityRequirement::new(DEVICE, [] as [&str; 0]));
    }
    operation.security = Some(any_of);
    if !needs.is_for_tenants() {
        let main = ExtensionsBuilder::new().add("x-tenant", "main").build();
        operation.extensions.get_or_insert_default().merge(main);
    }
}

/// Says of what shall go that it shall.
fn announce(deprecated: Option<Deprecation>, operation: &mut Operation) {
    if deprecated.is_some() {
        operation.deprecated = Some(Deprecated::True);
    }
}

/// Both go into `Authorization: Bearer`; they are told apart by their texts.
fn scheme(description: &str) -> SecurityScheme {
    let http = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
    SecurityScheme::Http(http.description(Some(description)).build())
}

/// A parameter that may be left out is left out, and not null.
fn plain(parameter: &mut RefOr<Parameter>) {
    if let RefOr::T(parameter) = parameter
        && let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema
        && let SchemaType::Array(types) = &mut schema.schema_type
    {
        types.retain(|it| *it != Type::Null);
        if let [only] = types.as_slice() {
            schema.schema_type = SchemaType::Type(only.clone());
        }
    }
}

fn refuse(path: &str, needs: Needs, operation: &mut Operation) {
    let mut by_status: BTreeMap<u16, Vec<Kind>> = BTreeMap::new();
    for kind in refusals(path, needs, operation) {
        by_status.entry(kind.facts().0).or_default().push(kind);
    }
    for (status, kinds) in by_status {
        let told = kinds.iter().map(|it| {
            let (_, code, title) = it.facts();
            format!("`{code}`: {title}")
        });
        let problem = Content::new(Some(Ref::from_schema_name("Problem")));
        let mut response = ResponseBuilder::new()
            .description(told.collect::<Vec<_>>().join(". "))
            .content(MEDIA_TYPE, problem);
        let is_passing = |it: &Kind| it.is_passing() || *it == Kind::TooManyRequests;
        if kinds.iter().any(is_passing) {
            let seconds = ObjectBuilder::new().schema_type(Type::Integer).build();
            let mut header = Header::new(seconds);
            header.description = Some("Seconds to wait".to_owned());
            response = response.header("Retry-After", header);
        }
        let responses = &mut operation.responses.responses;
        responses.insert(status.to_string(), response.build().into());
    }
}

/// What an operation can refuse.
fn refusals(path: &str, needs: Needs, operation: &Operation) -> Vec<Kind> {
    let mut kinds = vec![Kind::Internal];
    if path == "/readyz" {
        kinds.push(Kind::NotReady);
    }
    if !path.starts_with("/v1/") {
        return kinds;
    }
    kinds.extend([
        Kind::InvalidRequest,
        Kind::BrokerUnavailable,
        Kind::Overloaded,
        Kind::Timeout,
        Kind::TooManyRequests,
    ]);
    if !needs.is_open() {
        kinds.extend([Kind::Unauthenticated, Kind::Forbidden, Kind::Misdirected]);
    }
    if operation.operation_id.as_deref() == Some("importDevices") {
        // Lines that are not valid are told in the answer.
        kinds.extend([Kind::BodyTooLarge, Kind::UnsupportedMediaType]);
    } else if operation.request_body.is_some() {
        kinds.extend([
            Kind::InvalidJson,
            Kind::RequestTimeout,
            Kind::BodyTooLarge,
            Kind::UnsupportedMediaType,
            Kind::InvalidFields,
        ]);
    }
    let parameters = operation.parameters.iter().flatten();
    let is_guarded = parameters
        .filter_map(|it| match it {
            RefOr::T(it) => Some(it),
            RefOr::Ref(_) => None,
        })
        .any(|it| it.parameter_in == ParameterIn::Header && it.name == "If-Match");
    if is_guarded {
        kinds.push(Kind::PreconditionFailed);
    }
    refusals_of_its_own(operation, &mut kinds);
    kinds
}

/// What goes by the tag and the name of an operation.
fn refusals_of_its_own(operation: &Operation, kinds: &mut Vec<Kind>) {
    let mut tags = operation.tags.iter().flatten();
    if tags.any(|it| it == OPERATING) {
        kinds.push(Kind::NotConfigured);
    }
    match operation.operation_id.as_deref() {
        Some(
            "showDevice" | "renewSecret" | "followTopic" | "unfollowTopic" | "testDevice"
            | "listMissed",
        ) => {
            kinds.push(Kind::NoSuchDevice);
        }
        Some("putDevice") => kinds.extend([Kind::PreconditionRequired, Kind::TooManyDevices]),
        Some("removeDevice") => kinds.push(Kind::PreconditionRequired),
        Some("confirmDevice") => kinds.extend([Kind::NoSuchDevice, Kind::ChallengeFailed]),
        Some("showApp") => kinds.push(Kind::NoSuchApp),
        Some("showEvent") => kinds.push(Kind::NoSuchEvent),
        Some("showLane" | "pauseLane" | "resumeLane") => kinds.push(Kind::NoSuchLane),
        Some("showSource" | "pauseSource" | "resumeSource") => kinds.push(Kind::NoSuchSource),
        Some("showDeadLetter" | "replayDeadLetters") => kinds.push(Kind::NoSuchDeadLetter),
        Some("showDelivery") => kinds.push(Kind::NoSuchDelivery),
        Some("postEvent") => kinds.push(Kind::EventExists),
        Some("showUser") => kinds.extend([Kind::NoSuchUser, Kind::IndexLoading, Kind::IndexOff]),
        Some("listTopics" | "askAudience" | "removeUser" | "exportDevices") => {
            kinds.extend([Kind::IndexLoading, Kind::IndexOff]);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
