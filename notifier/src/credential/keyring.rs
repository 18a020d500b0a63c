//! The provider tokens of this process, one per key, shared by the apps that use it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use ring::digest::{SHA256, digest};

use super::provider_token::{KeyError, ProviderToken};

/// Holds one provider token per key. Apple counts new tokens, so two apps with one key must not
/// make two.
#[derive(Default)]
pub struct Keyring {
    tokens: Mutex<HashMap<Identity, Arc<ProviderToken>>>,
}

#[derive(PartialEq, Eq, Hash)]
struct Identity {
    key_id: Box<str>,
    team_id: Box<str>,
    /// Of the key file: the same id with another key is a mistake that must show.
    digest: Box<[u8]>,
}

impl Keyring {
    /// The token of a key, made on first use.
    pub(crate) fn provider_token(
        &self,
        pem: &[u8],
        key_id: &str,
        team_id: &str,
        now: Timestamp,
    ) -> Result<Arc<ProviderToken>, KeyError> {
        let identity = Identity {
            key_id: key_id.into(),
            team_id: team_id.into(),
            digest: digest(&SHA256, pem).as_ref().into(),
        };
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = tokens.get(&identity) {
            return Ok(Arc::clone(token));
        }
        let token = Arc::new(ProviderToken::new(pem, key_id, team_id, now)?);
        tokens.insert(identity, Arc::clone(&token));
        Ok(token)
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::provider_token::tests::p8;

    #[test]
    fn apps_with_one_key_share_one_token() {
        let keyring = Keyring::default();
        let (now, pem) = (Timestamp::UNIX_EPOCH, p8());
        let one = keyring
            .provider_token(pem.as_bytes(), "K", "T", now)
            .unwrap();
        let two = keyring
            .provider_token(pem.as_bytes(), "K", "T", now)
            .unwrap();
        let other = keyring
            .provider_token(p8().as_bytes(), "K", "T", now)
            .unwrap();
        assert!(Arc::ptr_eq(&one, &two));
        assert!(!Arc::ptr_eq(&one, &other));
    }
}
