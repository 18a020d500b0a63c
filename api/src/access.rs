//! Who may ask, and for what.
//!
//! Three questions, in this order. *Who is it?* is answered by the request's head and the ring of keys
//! (`ring.rs`), before a byte of the body is read. *May such a one come here?* is answered by the
//! table of routes ([`Needs`]); what the table does not name is served to nobody. *May it do this?*
//! depends on the device that is meant (`device.rs`) or on the topics of an event, and is asked by the
//! handler, of the [`Caller`] that it is given.
//!
//! Architecture invariant: who cannot be judged is not let in. Without a fresh ring the answer is
//! 503, never yes.

mod caller;
mod credential;
mod device;
mod follow;
mod needs;
mod ring;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fanfare_nats::key::Standing;
use http::header::{ALLOW, HOST, HeaderValue};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, StatusCode};
use jiff::Timestamp;
use tokio::time::Instant;

pub(crate) use self::caller::Caller;
pub(crate) use self::device::{Claim, Leave, Unreadable};
pub(crate) use self::follow::{first, follow};
pub(crate) use self::needs::Needs;
pub(crate) use self::ring::Ring;

use self::credential::Credential;
use crate::clock;
use crate::config::Policy;
use crate::problem::{Kind, Problem};
use crate::quota::{Charge, Peer, Quotas};
use crate::router::SERVED;

/// The only realm there is.
const REALM: &str = "Bearer realm=\"fanfare\"";

/// Judges the head of every request.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    policy: Policy,
    ring: Ring,
    quotas: Option<Quotas>,
}

impl Access {
    /// The access of a configuration; the ring is filled by [`follow`].
    pub(crate) fn new(policy: Policy, ring: Ring) -> Self {
        Self {
            policy,
            ring,
            quotas: None,
        }
    }

    /// The same, where askers are counted.
    pub(crate) fn counting(self, quotas: Quotas) -> Self {
        Self {
            quotas: Some(quotas),
            ..self
        }
    }

    /// Counts a request, whatever became of it so far; a probe never.
    fn charge(
        &self,
        judged: Result<&Caller, &Problem>,
        parts: &Parts,
        at: Instant,
    ) -> Option<Charge> {
        let peer = parts.extensions.get::<Peer>().copied();
        let quotas = self.quotas.as_ref()?;
        quotas.charge(judged.ok(), peer, &parts.headers, at)
    }

    /// Who asks, and whether such a one may come to a route that needs this.
    pub(crate) fn judge(
        &self,
        parts: &Parts,
        needs: Needs,
        now: Timestamp,
        at: Instant,
    ) -> Result<Caller, Problem> {
        if needs.is_open() || self.policy == Policy::Open {
            return Ok(Caller::Anyone);
        }
        let seen = self.ring.seen(at).ok_or_else(unknown_keys)?;
        let caller = match Credential::of(&parts.headers) {
            Credential::None if self.policy == Policy::UntilFirst && seen.is_empty() => {
                return keyless(parts);
            }
            Credential::None => return Err(unauthenticated("send a key", None)),
            Credential::Unreadable => return Err(invalid()),
            Credential::Device(secret) => Caller::Device(secret),
            Credential::Key(shown) => match seen.judge(&shown, now) {
                (Standing::Good, Some(key)) => Caller::Key(key),
                // That it was good is told only to whoever has its secret.
                (Standing::Revoked, _) => return Err(ended("the key was taken back")),
                (Standing::Expired, _) => return Err(ended("the key has expired")),
                (Standing::Replaced, _) => return Err(ended("the key was replaced by another")),
                (Standing::Wrong | Standing::Good, _) => return Err(invalid()),
            },
        };
        needs.admit(&caller)?;
        Ok(caller)
    }
}

/// Lets those in who may come, with the [`Caller`] that the handler asks.
pub(crate) async fn admit(
    State(access): State<Access>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let path = parts.extensions.get::<MatchedPath>();
    if let Some(path) = path.map(|it| it.as_str().to_owned()) {
        let Some(needs) = Needs::of_route(&path, &parts.method) else {
            return Ok(no_such_method(&path));
        };
        let at = Instant::now();
        let judged = access.judge(&parts, needs, clock::now(), at);
        let charge = (!needs.is_open()).then(|| access.charge(judged.as_ref(), &parts, at));
        if let Some(charge) = charge.flatten() {
            let mut response = match (charge.refusal(), judged) {
                (Some(refused), _) | (None, Err(refused)) => refused.into_response(),
                (None, Ok(caller)) => {
                    parts.extensions.insert(caller);
                    next.run(Request::from_parts(parts, body)).await
                }
            };
            charge.write(response.headers_mut());
            return Ok(response);
        }
        parts.extensions.insert(judged?);
    }
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// What the table does not name is not served, whatever the router may hold.
fn no_such_method(path: &str) -> Response {
    let mut allowed: Vec<&str> = Vec::new();
    for row in SERVED.iter().filter(|it| it.route == path) {
        allowed.push(row.method);
        if row.method == Method::GET.as_str() {
            allowed.push(Method::HEAD.as_str());
        }
    }
    let mut response = StatusCode::METHOD_NOT_ALLOWED.into_response();
    if let Ok(allowed) = HeaderValue::try_from(allowed.join(",")) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

/// Whether somebody without a key may go on where no key exists.
///
/// Loopback is no protection from a web page: its host name can be made to resolve to 127.0.0.1 (DNS
/// rebinding), and the browser then takes our answers for that page's. So a request must name us by
/// number or as `localhost`.
fn keyless(parts: &Parts) -> Result<Caller, Problem> {
    if names_this_machine(parts) {
        return Ok(Caller::Anyone);
    }
    Err(Problem::new(
        Kind::Misdirected,
        "without keys this server is asked by number or as localhost, not by a host name",
    ))
}

fn names_this_machine(parts: &Parts) -> bool {
    let host = match (parts.uri.authority(), parts.headers.get(HOST)) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(value)) => match value.to_str() {
            Ok(host) => host,
            Err(_) => return false,
        },
        // HTTP/1.0; no browser asks like this.
        (None, None) => return true,
    };
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let host = authority.host();
    let number = host
        .strip_prefix('[')
        .and_then(|it| it.strip_suffix(']'))
        .unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || number.parse::<std::net::IpAddr>().is_ok()
}

fn unknown_keys() -> Problem {
    Problem::new(
        Kind::BrokerUnavailable,
        "the broker did not say lately which keys are good",
    )
}

/// A 401 with its challenge (RFC 6750 section 3: without an error where nothing was shown).
fn unauthenticated(detail: &'static str, error: Option<&str>) -> Problem {
    let challenge = match error {
        None => REALM.to_owned(),
        Some(error) => format!("{REALM}, error=\"{error}\""),
    };
    Problem::new(Kind::Unauthenticated, detail).challenging(&challenge)
}

fn ended(detail: &'static str) -> Problem {
    unauthenticated(detail, Some("invalid_token"))
}

/// The same for a key that never was, a wrong secret, and the secret of another device.
pub(crate) fn invalid() -> Problem {
    ended("this is not the secret of a key, or of the device that is meant")
}

/// A 403 that names what is missing.
pub(crate) fn forbidden(detail: &'static str, scope: &str) -> Problem {
    let challenge = format!("{REALM}, error=\"insufficient_scope\", scope=\"{scope}\"");
    Problem::new(Kind::Forbidden, detail).challenging(&challenge)
}

#[cfg(test)]
mod tests;
