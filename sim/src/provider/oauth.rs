//! The double of Google's token endpoint: a signed assertion in, an access token out.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use http::{HeaderValue, header};
use ring::signature::{KeyPair as _, RsaKeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;

use super::jwt::Jwt;
use super::reply::Reply;
use crate::script::Credential;

/// The key of every sim's service account. It opens nothing but a sim: ring cannot make RSA keys,
/// and a test double needs no secret.
pub(crate) const TEST_KEY_PEM: &str = include_str!("../../keys/test-only-rsa.pem");

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const SCOPES: [&str; 2] = [
    "https://www.googleapis.com/auth/firebase.messaging",
    "https://www.googleapis.com/auth/cloud-platform",
];
/// Google: an assertion lives at most an hour ("Using OAuth 2.0 for server to server").
const MAX_ASSERTION_S: i64 = 3600;
const MAX_SKEW_S: i64 = 60;

/// The built-in test key is not one.
#[derive(Debug, thiserror::Error)]
#[error("the built-in RSA test key cannot be read")]
pub struct TestKeyError;

/// The endpoint and the tokens it gave out.
#[derive(Debug)]
pub(crate) struct OAuth {
    client_email: String,
    audiences: Vec<String>,
    lifetime_s: u32,
    public_key: Vec<u8>,
    issued: Mutex<HashMap<String, Issued>>,
    n_issued: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
struct Issued {
    expires_ms: i64,
    credential: Credential,
}

#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    #[serde(default)]
    scope: String,
    iat: i64,
    exp: i64,
}

impl OAuth {
    pub(crate) fn new(
        client_email: String,
        token_uri: String,
        lifetime_s: u32,
    ) -> Result<Self, TestKeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(TEST_KEY_PEM.as_bytes());
        let der = der.map_err(|_| TestKeyError)?;
        let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| TestKeyError)?;
        Ok(Self {
            client_email,
            audiences: vec![token_uri, "https://oauth2.googleapis.com/token".to_owned()],
            lifetime_s,
            public_key: key.public_key().as_ref().to_vec(),
            issued: Mutex::default(),
            n_issued: AtomicU64::new(0),
        })
    }

    /// `POST /token`.
    pub(crate) fn grant(&self, form: &[u8], now_ms: i64) -> Reply {
        let form = String::from_utf8_lossy(form);
        let field = |name: &str| {
            form.split('&')
                .find_map(|it| it.strip_prefix(name)?.strip_prefix('='))
                .map(unescaped)
        };
        if field("grant_type").as_deref() != Some(GRANT) {
            return refused("unsupported_grant_type", "Invalid grant_type");
        }
        let assertion = field("assertion").unwrap_or_default();
        match self.check(&assertion, now_ms) {
            Ok(()) => self.issue(now_ms),
            Err((error, description)) => refused(error, description),
        }
    }

    fn check(&self, assertion: &str, now_ms: i64) -> Result<(), (&'static str, &'static str)> {
        let invalid = |why| ("invalid_grant", why);
        let jwt = Jwt::<Claims>::parse(assertion).ok_or(invalid("Bad Request"))?;
        let at_s = now_ms / 1000;
        let Claims {
            iss,
            aud,
            scope,
            iat,
            exp,
        } = &jwt.claims;
        if *iss != self.client_email {
            return Err(invalid("Invalid grant: account not found"));
        }
        if !jwt.is_signed_by_rsa(&self.public_key) {
            return Err(invalid("Invalid JWT Signature."));
        }
        if !self.audiences.contains(aud) {
            return Err(invalid("Invalid JWT: Failed audience check."));
        }
        let is_timely = at_s - MAX_SKEW_S < *exp
            && *iat <= at_s + MAX_SKEW_S
            && exp - iat <= MAX_ASSERTION_S + MAX_SKEW_S;
        if !is_timely {
            return Err(invalid(
                "Invalid JWT: Token must be a short-lived token (60 minutes)",
            ));
        }
        if !scope.split(' ').any(|it| SCOPES.contains(&it)) {
            return Err((
                "invalid_scope",
                "Invalid OAuth scope or ID token audience provided.",
            ));
        }
        Ok(())
    }

    fn issue(&self, now_ms: i64) -> Reply {
        let fingerprint: u64 = rand::random();
        let secret: u128 = rand::random();
        let token = format!("ya29.sim-{secret:032x}");
        let expires_ms = now_ms + i64::from(self.lifetime_s) * 1000;
        let credential = Credential {
            fingerprint,
            first_seen_ms: now_ms,
        };
        let body = serde_json::json!({
            "access_token": token,
            "expires_in": self.lifetime_s,
            "token_type": "Bearer",
        });
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        issued.insert(
            token,
            Issued {
                expires_ms,
                credential,
            },
        );
        self.n_issued.fetch_add(1, Ordering::Relaxed);
        json(Reply::ok(body.to_string().into()))
    }

    /// The credential of an `authorization` header, if it is a living token of ours.
    pub(crate) fn check_bearer(
        &self,
        header: Option<&HeaderValue>,
        now_ms: i64,
    ) -> Option<Credential> {
        let (scheme, token) = header?.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        issued
            .get(token)
            .filter(|it| now_ms < it.expires_ms)
            .map(|it| it.credential)
    }

    /// Tokens given out so far.
    pub(crate) fn n_issued(&self) -> u64 {
        self.n_issued.load(Ordering::Relaxed)
    }
}

fn refused(error: &str, description: &str) -> Reply {
    let body = serde_json::json!({ "error": error, "error_description": description });
    json(Reply::failed(400, error, body.to_string().into_bytes()))
}

fn json(reply: Reply) -> Reply {
    reply.with(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    )
}

/// `application/x-www-form-urlencoded`.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match (first, escaped) {
            (_, Some((high, low))) => {
                bytes.push(high << 4 | low);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', None) => bytes.push(b' '),
            (other, None) => bytes.push(*other),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|it| u8::try_from(it).ok())
}

#[cfg(test)]
mod tests {
    #[test]
    fn form_fields_are_unescaped() {
        assert_eq!(super::unescaped("urn%3Aietf+a%2"), "urn:ietf a%2");
    }
}
