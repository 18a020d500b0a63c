//! The stored form of a key. Tenant and id are the subject's to say.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Key, KeyId, Proof, SecretHash, Tenant};
use crate::schema;

const SCHEMA: u32 = 1;

#[derive(Serialize, Deserialize)]
struct WireKey {
    schema: u32,
    name: String,
    scopes: Vec<String>,
    created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Timestamp>,
    proofs: Vec<WireProof>,
}

#[derive(Serialize, Deserialize)]
struct WireProof {
    sha256: String,
    created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

/// Why a stored document is no key. It never quotes the document.
#[derive(Debug, Error)]
pub enum DecodeKeyError {
    /// Not the JSON shape.
    #[error("the document has another shape")]
    Shape(#[source] serde_json::Error),
    /// Written by a later version.
    #[error("the document has schema {0}, this version reads {SCHEMA}")]
    Schema(u32),
    /// A hash.
    #[error("a hash is not valid")]
    Hash,
}

impl Key {
    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        let proof = |it: &Proof| WireProof {
            sha256: it.hash.to_hex(),
            created_at: it.created_at,
            until: it.until,
        };
        let wire = WireKey {
            schema: SCHEMA,
            name: self.name.clone(),
            scopes: self.scopes.iter().map(ToString::to_string).collect(),
            created_at: self.created_at,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
            proofs: self.proofs.iter().map(proof).collect(),
        };
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    /// Reads stored bytes. A scope that is not known here, because a later version has it, gives
    /// nothing; the others stand.
    ///
    /// # Errors
    /// [`DecodeKeyError`]: nobody gets in with that key.
    pub fn decode(tenant: Tenant, id: KeyId, bytes: &[u8]) -> Result<Self, DecodeKeyError> {
        let wire: WireKey =
            serde_json::from_slice(bytes).map_err(|error| {
                match schema::later_than(SCHEMA, bytes) {
                    Some(later) => DecodeKeyError::Schema(later),
                    None => DecodeKeyError::Shape(error),
                }
            })?;
        if wire.schema != SCHEMA {
            return Err(DecodeKeyError::Schema(wire.schema));
        }
        let proof = |it: WireProof| {
            let hash = SecretHash::parse(&it.sha256).ok_or(DecodeKeyError::Hash)?;
            Ok(Proof {
                hash,
                created_at: it.created_at,
                until: it.until,
            })
        };
        Ok(Self {
            tenant,
            id,
            name: wire.name,
            scopes: wire
                .scopes
                .iter()
                .filter_map(|it| it.parse().ok())
                .collect(),
            created_at: wire.created_at,
            expires_at: wire.expires_at,
            revoked_at: wire.revoked_at,
            proofs: wire
                .proofs
                .into_iter()
                .map(proof)
                .collect::<Result<_, _>>()?,
        })
    }
}
