//! Apple's provider token: one per key and process, signed anew every 40 minutes or so.

use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use arc_swap::ArcSwap;
use http::HeaderValue;
use jiff::Timestamp;
use rand::Rng as _;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;

use super::jwt::{self, SignError};

/// APNs: a token older than an hour is refused as `ExpiredProviderToken` (Apple, "Establishing a
/// token-based connection to APNs"). Clocks differ, so ours ends earlier.
const MAX_AGE_S: i64 = 55 * 60;

/// APNs: at most one new token in 20 minutes, else `TooManyProviderTokenUpdates` (Apple, ibid.).
const MIN_AGE_S: i64 = 20 * 60;

/// A token dated so much later than now was signed by a clock that has been set back since. No
/// provider takes it, so it does not count among the tokens of the last 20 minutes.
const AHEAD_S: i64 = 60;

/// We renew between 35 and 45 minutes: far from both limits, and processes that started together
/// do not renew together.
const RENEW_S: std::ops::RangeInclusive<i64> = 35 * 60..=45 * 60;

/// What is wrong with a .p8 key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No PEM block of the kind in it.
    #[error("key is not a PEM file with a PKCS#8 private key (Apple's .p8)")]
    Pem,
    /// PEM, but not a key for ES256.
    #[error("key is not an elliptic curve key on P-256: {0}")]
    Curve(ring::error::KeyRejected),
    /// The first token could not be signed.
    #[error("key cannot sign")]
    Sign,
}

/// A signed token and its dates, in seconds since the epoch.
struct Issued {
    header: HeaderValue,
    since: i64,
    renew_at: i64,
}

/// What follows when APNs refused a token as expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// A newer token is there: try once more.
    Renewed,
    /// The token is too young to be replaced: key, team or clock are wrong.
    TooYoung,
}

/// The provider token of one key. Cheap to read, renewed by whoever finds it due.
pub(crate) struct ProviderToken {
    key: EcdsaKeyPair,
    random: SystemRandom,
    key_id: Box<str>,
    team_id: Box<str>,
    current: ArcSwap<Issued>,
    /// Held while signing; the token before the current one, and the freeze that Apple asked for.
    renewing: Mutex<History>,
}

#[derive(Default)]
struct History {
    previous: Option<Arc<Issued>>,
    frozen_until: i64,
}

impl ProviderToken {
    /// Reads a .p8 key and signs the first token.
    pub(crate) fn new(
        pem: &[u8],
        key_id: &str,
        team_id: &str,
        now: Timestamp,
    ) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| KeyError::Pem)?;
        let key = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            der.secret_pkcs8_der(),
            &random,
        )
        .map_err(KeyError::Curve)?;
        let first = issue(&key, &random, key_id, team_id, now).map_err(|_| KeyError::Sign)?;
        Ok(Self {
            key,
            random,
            key_id: key_id.into(),
            team_id: team_id.into(),
            current: ArcSwap::from_pointee(first),
            renewing: Mutex::default(),
        })
    }

    /// The value of `authorization` to send at `now`, renewed if it is due and nobody else is at
    /// it. Signing takes some 50 µs; the others go on with the old token meanwhile.
    pub(crate) fn header(&self, now: Timestamp) -> HeaderValue {
        let current = self.current.load();
        if now.as_second() < current.renew_at {
            return current.header.clone();
        }
        drop(current);
        let history = match self.renewing.try_lock() {
            Ok(history) => Some(history),
            Err(TryLockError::Poisoned(it)) => Some(it.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(mut history) = history {
            self.renew(&mut history, now);
        }
        self.current.load().header.clone()
    }

    /// APNs refused the token `used` as expired or invalid: renews it if it is old enough, or dated
    /// in the future.
    pub(crate) fn expired(&self, used: &HeaderValue, now: Timestamp) -> Renewal {
        let mut history = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.current.load().header != used {
            return Renewal::Renewed;
        }
        self.renew(&mut history, now);
        if self.current.load().header == used {
            Renewal::TooYoung
        } else {
            Renewal::Renewed
        }
    }

    /// APNs called our tokens too many: back to the one before `used`, if it is still good, and
    /// no new one for 20 minutes.
    pub(crate) fn too_many(&self, used: &HeaderValue, now: Timestamp) {
        let mut history = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current.load_full();
        if history.frozen_until > now.as_second() || current.header != used {
            return;
        }
        history.frozen_until = now.as_second() + MIN_AGE_S;
        if let Some(previous) = history.previous.take()
            && now.as_second() - previous.since < MAX_AGE_S
        {
            let previous = Issued {
                header: previous.header.clone(),
                since: previous.since,
                renew_at: history.frozen_until,
            };
            self.current.store(Arc::new(previous));
        }
        tracing::error!(key_id = %self.key_id, "APNs: too many provider tokens; is the key used elsewhere?");
    }

    fn renew(&self, history: &mut History, now: Timestamp) {
        let current = self.current.load_full();
        if !may_issue(current.since, history.frozen_until, now.as_second()) {
            return;
        }
        let next = issue(&self.key, &self.random, &self.key_id, &self.team_id, now);
        // A random source that fails leaves the old token; APNs says when it is too old.
        if let Ok(next) = next {
            history.previous = Some(current);
            self.current.store(Arc::new(next));
        }
    }
}

/// At most one new token in 20 minutes, and none while Apple's refusal of updates is fresh.
fn may_issue(last_issued_at: i64, frozen_until: i64, now: i64) -> bool {
    let is_ahead = last_issued_at - now > AHEAD_S;
    is_ahead || (now - last_issued_at > MIN_AGE_S && now >= frozen_until)
}

fn issue(
    key: &EcdsaKeyPair,
    random: &SystemRandom,
    key_id: &str,
    team_id: &str,
    now: Timestamp,
) -> Result<Issued, SignError> {
    let issued_at = now.as_second();
    let header = json!({"alg": "ES256", "kid": key_id, "typ": "JWT"});
    let claims = json!({"iss": team_id, "iat": issued_at});
    let token = jwt::encode(&header, &claims, |signed| {
        let signature = key.sign(random, signed).map_err(|_| SignError)?;
        Ok(signature.as_ref().to_vec())
    })?;
    // Not marked sensitive: HPACK would write it out with every push instead of by its index.
    let header = HeaderValue::try_from(format!("bearer {token}")).map_err(|_| SignError)?;
    let renew_at = issued_at + rand::rng().random_range(RENEW_S);
    Ok(Issued {
        header,
        since: issued_at,
        renew_at,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use ring::signature::{ECDSA_P256_SHA256_FIXED, KeyPair as _, UnparsedPublicKey};
    use serde_json::Value;

    use super::*;

    pub(crate) fn p8() -> String {
        let random = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let body = STANDARD.encode(der.as_ref());
        format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
    }

    fn token() -> ProviderToken {
        ProviderToken::new(p8().as_bytes(), "KEY1234567", "TEAM123456", at(0)).unwrap()
    }

    #[test]
    fn the_token_is_signed_with_es256_and_names_key_and_team() {
        let token = token();
        let header = token.header(at(1));
        let jwt = header.to_str().unwrap().strip_prefix("bearer ").unwrap();
        let (signed, signature) = jwt.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert_eq!(signature.len(), 64);
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, token.key.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .unwrap();
        let parts: Vec<Value> = signed
            .split('.')
            .map(|it| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(it).unwrap()).unwrap())
            .collect();
        assert_eq!(parts[0]["alg"], "ES256");
        assert_eq!(parts[0]["kid"], "KEY1234567");
        assert_eq!(
            parts[1],
            json!({"iss": "TEAM123456", "iat": at(0).as_second()})
        );
    }

    #[test]
    fn one_token_serves_for_35_minutes_and_none_longer_than_45() {
        let token = token();
        let first = token.header(at(0));
        assert_eq!(token.header(at(34)), first);
        assert_ne!(token.header(at(46)), first);
    }

    #[test]
    fn an_expired_token_is_renewed_once_however_many_hear_of_it() {
        let token = token();
        let first = token.header(at(0));
        assert_eq!(token.expired(&first, at(25)), Renewal::Renewed);
        let second = token.header(at(25));
        assert_ne!(second, first);
        assert_eq!(token.expired(&first, at(25)), Renewal::Renewed);
        assert_eq!(token.header(at(25)), second);
    }

    #[test]
    fn a_token_younger_than_20_minutes_is_not_renewed() {
        let token = token();
        let first = token.header(at(0));
        assert_eq!(token.expired(&first, at(20)), Renewal::TooYoung);
        assert_eq!(token.header(at(20)), first);
    }

    #[test]
    fn a_refused_token_of_a_clock_that_was_set_back_is_replaced_at_once() {
        let token = token();
        let ahead = token.header(at(60));
        assert_eq!(token.header(at(1)), ahead, "it may be good");
        assert_eq!(token.expired(&ahead, at(1)), Renewal::Renewed);
        let right = token.header(at(1));
        assert_ne!(right, ahead);
        assert_eq!(token.expired(&right, at(2)), Renewal::TooYoung);
    }

    #[test]
    fn too_many_updates_bring_the_previous_token_back_and_freeze_renewal() {
        let token = token();
        let first = token.header(at(0));
        let second = token.header(at(46));
        token.too_many(&second, at(46));
        assert_eq!(token.header(at(46)), first);
        assert_eq!(token.expired(&first, at(60)), Renewal::TooYoung);
        assert_ne!(token.header(at(67)), first);
    }

    #[test]
    fn what_is_no_p256_key_is_named() {
        let check = |pem: &[u8]| ProviderToken::new(pem, "k", "t", at(0)).err().unwrap();
        assert!(matches!(check(b"nothing"), KeyError::Pem));
        let pem = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert!(matches!(check(pem.as_bytes()), KeyError::Curve(_)));
    }
}
