//! Reading and checking JSON Web Tokens, tolerant in the encodings that real clients use.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The parts of a token, the signature still unchecked.
#[derive(Debug)]
pub(crate) struct Jwt<'a, C> {
    pub(crate) header: Header,
    pub(crate) claims: C,
    signed: &'a str,
    signature: Vec<u8>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Header {
    pub(crate) alg: String,
    #[serde(default)]
    pub(crate) kid: Option<String>,
}

impl<'a, C: DeserializeOwned> Jwt<'a, C> {
    /// `None` for anything that is not three segments of base64 with JSON in the first two.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        Some(Self {
            header: serde_json::from_slice(&decode(header)?).ok()?,
            claims: serde_json::from_slice(&decode(claims)?).ok()?,
            signed,
            signature: decode(signature)?,
        })
    }

    /// ES256; the signature as r‖s (RFC 7515) or DER, which Apple takes as well.
    pub(crate) fn is_signed_by_p256(&self, public_key: &[u8]) -> bool {
        let form = match self.signature.len() {
            64 => &ECDSA_P256_SHA256_FIXED,
            _ => &ECDSA_P256_SHA256_ASN1,
        };
        let key = UnparsedPublicKey::new(form, public_key);
        self.header.alg == "ES256" && key.verify(self.signed.as_bytes(), &self.signature).is_ok()
    }

    /// RS256.
    pub(crate) fn is_signed_by_rsa(&self, public_key: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public_key);
        self.header.alg == "RS256" && key.verify(self.signed.as_bytes(), &self.signature).is_ok()
    }
}

/// base64url, padded or not: some clients pad.
fn decode(segment: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(segment.trim_end_matches('=')).ok()
}
