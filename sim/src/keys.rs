//! The credentials a sender needs for the doubles, as files in the vendors' forms.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;

use crate::provider::oauth::TEST_KEY_PEM;

/// A key file could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file.
    #[error("failed to keep the key {}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The file holds no P-256 key in PKCS #8.
    #[error("{} holds no APNs key", path.display())]
    NoKey {
        /// Where.
        path: PathBuf,
    },
}

/// The public half of the APNs key at `path`, which is made if it is not there.
pub(crate) fn apns(path: &Path) -> Result<Vec<u8>, KeyError> {
    let no_key = || KeyError::NoKey {
        path: path.to_owned(),
    };
    let random = SystemRandom::new();
    if !path.exists() {
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        write(path, &pem(made.map_err(|_| no_key())?.as_ref()))?;
    }
    let der = PrivatePkcs8KeyDer::from_pem_file(path).map_err(|_| no_key())?;
    let der = der.secret_pkcs8_der();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random);
    Ok(pair.map_err(|_| no_key())?.public_key().as_ref().to_vec())
}

/// Writes a service account file as Google's console gives it out.
pub(crate) fn service_account(
    path: &Path,
    project: &str,
    client_email: &str,
    token_uri: &str,
) -> Result<(), KeyError> {
    let account = serde_json::json!({
        "type": "service_account",
        "project_id": project,
        "private_key_id": "test-only-rsa",
        "private_key": TEST_KEY_PEM,
        "client_email": client_email,
        "client_id": "100000000000000000000",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": token_uri,
    });
    write(path, &format!("{account:#}\n"))
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for (at, digit) in text.chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            pem.push('\n');
        }
        pem.push(digit);
    }
    pem + "\n-----END PRIVATE KEY-----\n"
}

fn write(path: &Path, text: &str) -> Result<(), KeyError> {
    fs::write(path, text).map_err(|cause| KeyError::Io {
        path: path.to_owned(),
        cause,
    })
}
