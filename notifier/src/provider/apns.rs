//! Apple Push Notification service over our own HTTP/2 connections.

pub mod classify;
pub mod encode;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, header};
use jiff::Timestamp;
use tokio::time::Instant;

use super::counters::AttemptCounters;
use super::{Refusal, answer};
use crate::credential::provider_token::{ProviderToken, Renewal};
use crate::notification::{Notification, Target};
use crate::outcome::{Outcome, Scope};
use crate::pool::{ConnectionId, Pool, Reply};
use classify::Remedy;
pub use encode::Prepared;

/// One app at APNs.
pub struct Apns {
    pub(super) pool: Pool,
    /// `None`: the client certificate says who we are.
    pub(super) token: Option<Arc<ProviderToken>>,
    pub(super) bundle_id: HeaderValue,
    pub(super) timeout: Duration,
    pub(super) counters: AttemptCounters,
    pub(super) outage: Outage,
}

/// The connection that told of an outage last, and when; Apple asks to come back on a new one.
#[derive(Default)]
pub(super) struct Outage(Mutex<Option<(Instant, ConnectionId)>>);

/// Who asks again so long after an outage tries whether it is over.
const COMES_BACK: Duration = Duration::from_secs(2);

impl Outage {
    fn told(&self) -> MutexGuard<'_, Option<(Instant, ConnectionId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what an answer says of the provider.
    fn note(&self, is_outage: bool, connection: ConnectionId) {
        *self.told() = is_outage.then(|| (Instant::now(), connection));
    }

    /// The connection to replace before the next request.
    fn worn(&self) -> Option<ConnectionId> {
        let mut told = self.told();
        let is_back = told.is_some_and(|(at, _)| at.elapsed() >= COMES_BACK);
        is_back.then(|| told.take()).flatten().map(|(_, it)| it)
    }
}

/// An answer with all that a remedy needs.
struct Judged {
    outcome: Outcome,
    remedy: Remedy,
    connection: ConnectionId,
    used: Option<HeaderValue>,
}

impl Apns {
    pub(super) fn prepare(&self, what: &Notification) -> Result<Prepared, Refusal> {
        encode::encode(what, &self.bundle_id)
    }

    pub(super) async fn attempt(
        &self,
        to: &Target<'_>,
        what: &Prepared,
        now: Timestamp,
    ) -> Outcome {
        let deadline = Instant::now() + self.timeout;
        let outcome = self.attempt_until(deadline, to, what, now).await;
        self.counters.count(&outcome);
        outcome
    }

    async fn attempt_until(
        &self,
        deadline: Instant,
        to: &Target<'_>,
        what: &Prepared,
        now: Timestamp,
    ) -> Outcome {
        let Some(path) = encode::path(to.token) else {
            return Outcome::Unregistered {
                since: None,
                reason: "MalformedToken".into(),
            };
        };
        if let Some(worn) = self.outage.worn() {
            self.pool.replace(worn);
        }
        let id = encode::delivery_id(&what.event_id, to.device);
        let first = match self.once(deadline, &path, id.as_ref(), what, now).await {
            Ok(judged) => judged,
            Err(outcome) => return outcome,
        };
        if !self.remedy(&first, now) {
            return first.outcome;
        }
        self.counters.repeated.inc();
        match self.once(deadline, &path, id.as_ref(), what, now).await {
            Ok(second) => second.outcome,
            Err(outcome) => outcome,
        }
    }

    /// Writes the request once and judges the answer; `Err` is the outcome when there was none.
    async fn once(
        &self,
        deadline: Instant,
        path: &PathAndQuery,
        id: Option<&HeaderValue>,
        what: &Prepared,
        now: Timestamp,
    ) -> Result<Judged, Outcome> {
        let used = self.token.as_ref().map(|it| it.header(now));
        let head = || {
            let mut request = Request::new(());
            *request.method_mut() = Method::POST;
            *request.uri_mut() = self.pool.endpoint().uri(path.clone());
            let mut headers = what.headers.clone();
            if let Some(id) = id {
                headers.insert(encode::ID, id.clone());
            }
            if let Some(token) = &used {
                headers.insert(header::AUTHORIZATION, token.clone());
            }
            *request.headers_mut() = headers;
            request
        };
        let reply = self.pool.exchange(head, &what.body, deadline).await;
        let Reply {
            status,
            headers,
            body,
            is_complete,
            connection,
        } = reply.map_err(crate::pool::Fault::into_outcome)?;
        let (outcome, remedy) = if is_complete || status.is_success() {
            classify::classify(status.as_u16(), &headers, &body, now)
        } else {
            (answer::cut_off(status), Remedy::None)
        };
        let is_outage = matches!(
            outcome,
            Outcome::Unavailable {
                scope: Scope::App,
                ..
            }
        );
        self.outage.note(is_outage, connection);
        Ok(Judged {
            outcome,
            remedy,
            connection,
            used,
        })
    }

    /// Does what the answer asks for; true when one more try is due.
    fn remedy(&self, judged: &Judged, now: Timestamp) -> bool {
        let token = self.token.as_ref().zip(judged.used.as_ref());
        match judged.remedy {
            Remedy::None => false,
            Remedy::RenewToken => {
                token.is_some_and(|(it, used)| it.expired(used, now) == Renewal::Renewed)
            }
            Remedy::KeepToken => {
                if let Some((it, used)) = token {
                    it.too_many(used, now);
                }
                false
            }
            Remedy::RetryOnFreshConnection => {
                self.pool.replace(judged.connection);
                true
            }
            Remedy::ReplaceConnection => {
                self.pool.replace(judged.connection);
                false
            }
        }
    }
}
