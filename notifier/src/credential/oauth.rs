//! Google's access token: an RS256 assertion of a service account, exchanged at its token address.
//!
//! One keeper per app asks, 5 minutes before the end of the last token and when a push was refused
//! with 401. Everybody else reads what it has; nobody else ever asks.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::HeaderValue;
use http::uri::PathAndQuery;
use jiff::Timestamp;
use rand::Rng as _;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::jwt::{self, SignError};
use super::secret::Secret;
use crate::outcome::{Backoff, Outcome, Reason, Scope};
use crate::pool::Way;
use crate::pool::once::post_form;

/// Google: the scope that sending needs (Firebase, "Authorize send requests").
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";

/// Google: an assertion may be valid for an hour at most (Google, "Using OAuth 2.0 for server to
/// server applications").
const ASSERTION_S: i64 = 3600;

/// A token is replaced so long before its end.
const EARLY: Duration = Duration::from_mins(5);

/// One exchange takes no longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A token in the first part of its life (a minute of an hour) is not replaced because of a 401:
/// Google has just given it to us.
const YOUTH: u32 = 60;

/// What is wrong with a service account.
#[derive(Debug, thiserror::Error)]
pub enum ServiceAccountError {
    /// Not the JSON that the Google console writes.
    #[error("service account is not readable: {0}")]
    Shape(#[source] serde_json::Error),
    /// Its key is not PEM.
    #[error("service account has no PEM key")]
    Pem,
    /// Its key is not usable.
    #[error("service account has no usable RSA key: {0}")]
    Rsa(ring::error::KeyRejected),
}

/// The file that the Google console writes, as far as we need it.
#[derive(Debug, Deserialize)]
pub(crate) struct ServiceAccount {
    pub(crate) project_id: Box<str>,
    client_email: Box<str>,
    private_key: Secret,
    private_key_id: Option<Box<str>>,
    pub(crate) token_uri: Box<str>,
}

impl ServiceAccount {
    /// Reads the file's content.
    pub(crate) fn parse(json: &str) -> Result<Self, ServiceAccountError> {
        serde_json::from_str(json).map_err(ServiceAccountError::Shape)
    }
}

/// Signs assertions for one service account.
struct Signer {
    key: RsaKeyPair,
    account: ServiceAccount,
}

impl Signer {
    fn new(account: ServiceAccount) -> Result<Self, ServiceAccountError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(account.private_key.reveal().as_bytes())
            .map_err(|_| ServiceAccountError::Pem)?;
        let key =
            RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(ServiceAccountError::Rsa)?;
        Ok(Self { key, account })
    }

    /// The form that asks for an access token.
    fn form(&self, now: Timestamp) -> Result<Bytes, SignError> {
        let header = json!({
            "alg": "RS256", "typ": "JWT", "kid": self.account.private_key_id,
        });
        let issued_at = now.as_second();
        let claims = json!({
            "iss": self.account.client_email,
            "scope": SCOPE,
            "aud": self.account.token_uri,
            "iat": issued_at,
            "exp": issued_at + ASSERTION_S,
        });
        let assertion = jwt::encode(&header, &claims, |signed| {
            let mut signature = vec![0; self.key.public().modulus_len()];
            self.key
                .sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    signed,
                    &mut signature,
                )
                .map_err(|_| SignError)?;
            Ok(signature)
        })?;
        let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
        Ok(Bytes::from(format!("{grant}&assertion={assertion}")))
    }
}

/// An access token; valid until `ends_at` by our monotonic clock.
struct Issued {
    header: HeaderValue,
    since: Instant,
    ends_at: Instant,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Denial {
    /// The account is refused: an operator must look.
    Refused(Reason),
    /// Try again.
    Unavailable(Reason),
}

impl Denial {
    fn outcome(self) -> Outcome {
        match self {
            Self::Refused(reason) => Outcome::Credentials { reason },
            Self::Unavailable(reason) => Outcome::Unavailable {
                reason,
                retry_after: None,
                scope: Scope::App,
                maybe_delivered: false,
            },
        }
    }
}

/// The access token of one service account.
pub(crate) struct AccessToken {
    current: ArcSwapOption<Issued>,
    wanted: Notify,
    /// The number of exchanges that ended, and how the last one failed.
    ended: watch::Sender<(u64, Option<Denial>)>,
}

/// Asks for tokens; [`Keeper::run`] belongs on the app's task tracker.
pub(crate) struct Keeper {
    signer: Signer,
    way: Way,
    path: PathAndQuery,
    token: Arc<AccessToken>,
}

impl Keeper {
    /// Prepares a keeper; `way` must lead to the origin of the account's `token_uri`, `path` is
    /// the rest of it.
    pub(crate) fn new(
        account: ServiceAccount,
        way: Way,
        path: PathAndQuery,
    ) -> Result<(Self, Arc<AccessToken>), ServiceAccountError> {
        let token = Arc::new(AccessToken {
            current: ArcSwapOption::empty(),
            wanted: Notify::new(),
            ended: watch::Sender::new((0, None)),
        });
        let signer = Signer::new(account)?;
        Ok((
            Self {
                signer,
                way,
                path,
                token: Arc::clone(&token),
            },
            token,
        ))
    }

    /// Keeps the token fresh until `stop`. The first is asked for at once, so that it is there
    /// before a burst.
    pub(crate) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&self) {
        let mut n_failures = 0;
        loop {
            let wait = match self.exchange().await {
                Ok(issued) => {
                    let lifetime = issued.ends_at.duration_since(issued.since);
                    self.token.current.store(Some(Arc::new(issued)));
                    self.end(None);
                    n_failures = 0;
                    // A token shorter than the margin is renewed half-way, never in a tight loop.
                    lifetime
                        .checked_sub(EARLY)
                        .filter(|it| *it > EARLY)
                        .unwrap_or(lifetime / 2)
                }
                Err(denial) => {
                    tracing::warn!(
                        account = %self.signer.account.client_email, reason = ?denial,
                        "no access token from Google",
                    );
                    self.end(Some(denial));
                    n_failures += 1;
                    pause(n_failures)
                }
            };
            let until = Instant::now() + wait.max(Duration::from_millis(100));
            self.rest(until, n_failures == 0).await;
        }
    }

    /// Waits until the next exchange: at `until`, or earlier when a push was refused with 401.
    /// A denied account is not asked before its pause is over.
    async fn rest(&self, until: Instant, may_be_woken: bool) {
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                () = self.token.wanted.notified(), if may_be_woken => {}
            }
            // Several pushes refused together wake us several times for one new token.
            if !self.token.is_young() {
                return;
            }
        }
    }

    fn end(&self, denial: Option<Denial>) {
        self.token.ended.send_modify(|(n, last)| {
            *n += 1;
            *last = denial;
        });
    }

    async fn exchange(&self) -> Result<Issued, Denial> {
        let since = Instant::now();
        let form = self
            .signer
            .form(crate::clock::now())
            .map_err(|_| Denial::Refused(Reason::Borrowed("assertion not signed")))?;
        let posted = post_form(&self.way, &self.path, form, since + TIMEOUT).await;
        let (status, body) = posted.map_err(|fault| {
            let reason = fault.into_outcome().reason().unwrap_or_default().to_owned();
            Denial::Unavailable(Reason::Owned(format!("access token: {reason}")))
        })?;
        judge(status.as_u16(), &body).map(|(header, lifetime)| Issued {
            header,
            since,
            ends_at: since + lifetime,
        })
    }
}

fn pause(n_failures: u32) -> Duration {
    let backoff = Backoff::new(Duration::from_millis(500), Duration::from_mins(1));
    let random = rand::rng().random_range(0.5..1.0);
    backoff.map_or(Duration::from_mins(1), |it| it.delay(n_failures, random))
}

#[derive(Deserialize)]
struct Granted {
    access_token: Secret,
    expires_in: u64,
}

#[derive(Deserialize)]
struct Denied {
    error: Box<str>,
}

/// Reads the answer of the token address: the `authorization` value and its lifetime.
fn judge(status: u16, body: &[u8]) -> Result<(HeaderValue, Duration), Denial> {
    if status == 200 {
        return serde_json::from_slice::<Granted>(body)
            .ok()
            .and_then(|it| {
                let value = format!("Bearer {}", it.access_token.reveal());
                let value = HeaderValue::try_from(value).ok()?;
                Some((value, Duration::from_secs(it.expires_in)))
            })
            .ok_or(Denial::Unavailable(Reason::Borrowed(
                "access token: answer not readable",
            )));
    }
    let word = serde_json::from_slice::<Denied>(body).ok();
    let word = word
        .as_ref()
        .map_or("unknown", |it| crate::provider::plain_word(&it.error));
    let reason = Reason::Owned(format!("access token: {status} {word}"));
    // RFC 6749, 5.2: 400 and 401 say that the assertion or the account is not accepted.
    Err(match status {
        400 | 401 | 403 => Denial::Refused(reason),
        _ => Denial::Unavailable(reason),
    })
}

impl AccessToken {
    /// The value of `authorization`, waiting for the first token if need be.
    ///
    /// # Errors
    ///
    /// The outcome of an attempt that cannot be made without a token.
    pub(crate) async fn header(&self, deadline: Instant) -> Result<HeaderValue, Outcome> {
        if let Some(header) = self.valid() {
            return Ok(header);
        }
        self.next(deadline, || self.valid()).await
    }

    /// A push was refused with 401: the newer token, if `used` was not the newest or can be
    /// replaced; `None` when the token is too young to be the reason.
    ///
    /// # Errors
    ///
    /// The outcome of an attempt that cannot be made without a token.
    pub(crate) async fn refused(
        &self,
        used: &HeaderValue,
        deadline: Instant,
    ) -> Result<Option<HeaderValue>, Outcome> {
        let newer = || self.valid().filter(|header| header != used);
        if let Some(header) = newer() {
            return Ok(Some(header));
        }
        if self.is_young() {
            return Ok(None);
        }
        self.wanted.notify_one();
        self.next(deadline, newer).await.map(Some)
    }

    fn valid(&self) -> Option<HeaderValue> {
        let current = self.current.load();
        let issued = current.as_ref()?;
        (Instant::now() < issued.ends_at).then(|| issued.header.clone())
    }

    fn is_young(&self) -> bool {
        let current = self.current.load();
        current
            .as_ref()
            .is_some_and(|it| it.since.elapsed() < it.ends_at.duration_since(it.since) / YOUTH)
    }

    /// Waits for what `look` finds, through the end of the exchange under way or of the next.
    async fn next(
        &self,
        deadline: Instant,
        look: impl Fn() -> Option<HeaderValue>,
    ) -> Result<HeaderValue, Outcome> {
        let mut ended = self.ended.subscribe();
        loop {
            if let Some(header) = look() {
                return Ok(header);
            }
            if let (_, Some(denial)) = &*ended.borrow_and_update() {
                return Err(denial.clone().outcome());
            }
            match tokio::time::timeout_at(deadline, ended.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(unavailable("shutting down")),
                Err(_) => return Err(unavailable("no access token in time")),
            }
        }
    }
}

fn unavailable(reason: &'static str) -> Outcome {
    Denial::Unavailable(Reason::Borrowed(reason)).outcome()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_granted_token_becomes_a_header() {
        let body = br#"{"access_token":"ya29.abc","expires_in":3599,"token_type":"Bearer"}"#;
        let (header, lifetime) = judge(200, body).unwrap();
        assert_eq!(header, "Bearer ya29.abc");
        assert_eq!(lifetime, Duration::from_secs(3599));
    }

    #[track_caller]
    fn check(status: u16, body: &str, expected: Outcome) {
        assert_eq!(
            judge(status, body.as_bytes()).unwrap_err().outcome(),
            expected
        );
    }

    #[test]
    fn a_refused_account_is_a_matter_of_credentials_and_the_rest_passes() {
        check(
            400,
            r#"{"error":"invalid_grant","error_description":"secret text"}"#,
            Outcome::Credentials {
                reason: "access token: 400 invalid_grant".into(),
            },
        );
        check(
            401,
            "",
            Outcome::Credentials {
                reason: "access token: 401 unknown".into(),
            },
        );
        check(
            503,
            "<html>",
            unavailable_named("access token: 503 unknown"),
        );
        check(
            200,
            "<html>",
            unavailable_named("access token: answer not readable"),
        );
    }

    fn unavailable_named(reason: &'static str) -> Outcome {
        unavailable(reason)
    }

    #[test]
    fn a_service_account_without_a_key_is_named() {
        let json =
            r#"{"project_id":"p","client_email":"a@b","private_key":"x","token_uri":"https://t"}"#;
        let account = ServiceAccount::parse(json).unwrap();
        assert!(!format!("{account:?}").contains("\"x\""));
        assert!(matches!(
            Signer::new(account).err(),
            Some(ServiceAccountError::Pem)
        ));
    }
}
