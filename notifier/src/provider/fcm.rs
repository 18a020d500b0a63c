//! Firebase Cloud Messaging, HTTP v1, over our own HTTP/2 connections.

pub mod classify;
pub mod encode;

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, header};
use jiff::Timestamp;
use tokio::time::Instant;

use super::answer;
use super::counters::AttemptCounters;
use crate::credential::oauth::AccessToken;
use crate::notification::Target;
use crate::outcome::Outcome;
use crate::pool::{Fault, Pool};
use bytes::Bytes;
use classify::Remedy;
pub use encode::Prepared;

/// One Firebase project.
pub struct Fcm {
    pub(super) pool: Pool,
    pub(super) token: Arc<AccessToken>,
    /// `/v1/projects/<id>/messages:send`
    pub(super) path: PathAndQuery,
    pub(super) timeout: Duration,
    pub(super) counters: AttemptCounters,
}

impl Fcm {
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
        if !encode::is_token(to.token) {
            return Outcome::Unregistered {
                since: None,
                reason: "MalformedToken".into(),
            };
        }
        let body = what.body(to.token, now);
        let used = match self.token.header(deadline).await {
            Ok(header) => header,
            Err(outcome) => return outcome,
        };
        let (outcome, remedy) = self.once(deadline, &used, &body, now).await;
        match remedy {
            Remedy::None => outcome,
            Remedy::RenewToken => match self.token.refused(&used, deadline).await {
                Ok(Some(newer)) => {
                    self.counters.repeated.inc();
                    self.once(deadline, &newer, &body, now).await.0
                }
                Ok(None) => outcome,
                Err(without_token) => without_token,
            },
        }
    }

    async fn once(
        &self,
        deadline: Instant,
        token: &HeaderValue,
        body: &Bytes,
        now: Timestamp,
    ) -> (Outcome, Remedy) {
        let head = || {
            let mut request = Request::new(());
            *request.method_mut() = Method::POST;
            *request.uri_mut() = self.pool.endpoint().uri(self.path.clone());
            let headers = request.headers_mut();
            headers.insert(header::AUTHORIZATION, token.clone());
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            );
            request
        };
        match self.pool.exchange(head, body, deadline).await {
            Ok(reply) if reply.is_complete || reply.status.is_success() => {
                classify::classify(reply.status.as_u16(), &reply.headers, &reply.body, now)
            }
            Ok(reply) => (answer::cut_off(reply.status), Remedy::None),
            Err(fault) => (Fault::into_outcome(fault), Remedy::None),
        }
    }
}
