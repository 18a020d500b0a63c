//! APNs provider tokens: ES256, one key, at most an hour old, seldom changed.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;
use serde::Deserialize;

use super::jwt::Jwt;
use crate::script::Credential;

/// APNs: a token older than one hour is expired (Apple, "Establishing a token-based connection").
const MAX_AGE_S: i64 = 60 * 60;
/// APNs: no more than one new token in 20 minutes (same page).
const MIN_LIFE_MS: i64 = 20 * 60 * 1000;
/// Clocks differ; Apple names no bound.
const MAX_SKEW_S: i64 = 60;

/// Per what the 20 minutes are counted. Sources disagree about the real servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RenewalsPer {
    /// One connection.
    #[default]
    Connection,
    /// One key, over all connections.
    Key,
    /// Not counted: bursts of short-lived senders with one key.
    Nothing,
}

/// The double's side of the authentication.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) key_id: String,
    pub(crate) team_id: String,
    pub(crate) public_key: Vec<u8>,
    pub(crate) renewals_per: RenewalsPer,
    hasher: RandomState,
    known: Mutex<HashMap<HeaderValue, Arc<Known>>>,
    key_line: Line,
}

/// What one connection has shown.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// The TLS handshake brought a client certificate of our authority.
    pub(crate) has_certificate: bool,
    last: Mutex<Option<Arc<Known>>>,
}

#[derive(Debug)]
struct Known {
    header: HeaderValue,
    issued_s: i64,
    credential: Credential,
}

#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    iat: i64,
}

impl Keys {
    pub(crate) fn new(
        key_id: String,
        team_id: String,
        public_key: Vec<u8>,
        renewals_per: RenewalsPer,
    ) -> Self {
        Self {
            key_id,
            team_id,
            public_key,
            renewals_per,
            hasher: RandomState::new(),
            known: Mutex::default(),
            key_line: Line::default(),
        }
    }

    /// The credential, or APNs' status and reason.
    pub(crate) fn check(
        &self,
        header: Option<&HeaderValue>,
        line: &Line,
        now_ms: i64,
    ) -> Result<Credential, (u16, &'static str)> {
        let Some(header) = header else {
            if line.has_certificate {
                return Ok(Credential::default());
            }
            return Err((403, "MissingProviderToken"));
        };
        // The usual case compares 200 bytes and verifies nothing.
        if let Some(known) = line.remembered(header) {
            return fresh(&known, now_ms);
        }
        let known = self.known(header, now_ms)?;
        fresh(&known, now_ms)?;
        let counted = match self.renewals_per {
            RenewalsPer::Connection => line.renew(&known, now_ms),
            RenewalsPer::Key => self.key_line.renew(&known, now_ms),
            RenewalsPer::Nothing => line.renew(&known, i64::MAX),
        };
        counted.map(|()| known.credential)
    }

    fn known(&self, header: &HeaderValue, now_ms: i64) -> Result<Arc<Known>, (u16, &'static str)> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(header) {
            return Ok(Arc::clone(known));
        }
        let issued_s = self.verify(header).ok_or((403, "InvalidProviderToken"))?;
        let credential = Credential {
            fingerprint: self.hasher.hash_one(header),
            first_seen_ms: now_ms,
        };
        let token = Arc::new(Known {
            header: header.clone(),
            issued_s,
            credential,
        });
        known.insert(header.clone(), Arc::clone(&token));
        Ok(token)
    }

    fn verify(&self, header: &HeaderValue) -> Option<i64> {
        // RFC 9110 section 11.1: the scheme is case-insensitive.
        let (scheme, text) = header.to_str().ok()?.split_once(' ')?;
        let jwt = Jwt::<Claims>::parse(text)?;
        let is_ours = scheme.eq_ignore_ascii_case("bearer")
            && jwt.header.kid.as_ref() == Some(&self.key_id)
            && jwt.claims.iss == self.team_id
            && jwt.is_signed_by_p256(&self.public_key);
        is_ours.then_some(jwt.claims.iat)
    }
}

impl Line {
    pub(crate) fn new(has_certificate: bool) -> Self {
        Self {
            has_certificate,
            last: Mutex::default(),
        }
    }

    fn remembered(&self, header: &HeaderValue) -> Option<Arc<Known>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref()
            .filter(|known| known.header == header)
            .map(Arc::clone)
    }

    /// Puts `known` in the place of the last token. An older token coming back (two senders in
    /// turn) is no renewal.
    fn renew(&self, known: &Arc<Known>, now_ms: i64) -> Result<(), (u16, &'static str)> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &*last
            && last.credential.fingerprint != known.credential.fingerprint
            && last.credential.first_seen_ms <= known.credential.first_seen_ms
            && now_ms - last.credential.first_seen_ms < MIN_LIFE_MS
        {
            return Err((429, "TooManyProviderTokenUpdates"));
        }
        *last = Some(Arc::clone(known));
        Ok(())
    }
}

fn fresh(known: &Known, now_ms: i64) -> Result<Credential, (u16, &'static str)> {
    let age_s = now_ms / 1000 - known.issued_s;
    match age_s {
        ..=MAX_AGE_S if age_s < -MAX_SKEW_S => Err((403, "InvalidProviderToken")),
        ..=MAX_AGE_S => Ok(known.credential),
        _ => Err((403, "ExpiredProviderToken")),
    }
}
