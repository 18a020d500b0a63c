//! A service account, and the assertion that it signs.

use bytes::Bytes;
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::json;

use crate::credential::jwt::{self, SignError};
use crate::credential::secret::Secret;

/// Google: the scope that sending needs (Firebase, "Authorize send requests").
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";

/// Google: an assertion may be valid for an hour at most (Google, "Using OAuth 2.0 for server to
/// server applications").
const ASSERTION_S: i64 = 3600;

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
pub(super) struct Signer {
    key: RsaKeyPair,
    account: ServiceAccount,
}

impl Signer {
    pub(super) fn new(account: ServiceAccount) -> Result<Self, ServiceAccountError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(account.private_key.reveal().as_bytes())
            .map_err(|_| ServiceAccountError::Pem)?;
        let key =
            RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(ServiceAccountError::Rsa)?;
        Ok(Self { key, account })
    }

    /// What the account is called.
    pub(super) fn email(&self) -> &str {
        &self.account.client_email
    }

    /// The form that asks for an access token.
    pub(super) fn form(&self, now: Timestamp) -> Result<Bytes, SignError> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
