//! A key of the HTTP API: what it may do, for how long, and how a secret is proven. Pure.
//!
//! A key is written `fanfare_<tenant>_<id>_<secret>`. The middle names its document, the end proves
//! it. Of the whole text only a hash is stored, so that a document that is copied to another place
//! proves nothing there.
//!
//! Architecture invariant: a secret exists in the answer that hands it out and nowhere else; its
//! types print nothing.

mod document;
mod scope;
mod secret;

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

pub use self::document::DecodeKeyError;
pub use self::scope::{PublishPattern, Right, Scope, ScopeError};
pub use self::secret::{DeviceSecret, KeySecret, NewSecret, Presented, SecretHash};
pub use crate::tenant::Tenant;

/// The longest name of a key.
pub const MAX_NAME: usize = 64;
/// The most scopes of one key.
pub const MAX_SCOPES: usize = 32;
/// How many letters an id has, which are drawn at random.
const ID_LEN: usize = 10;
/// A key and the one before it, while they overlap.
const MOST_SECRETS: usize = 2;

/// Names a key; no secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(Box<str>);

impl KeyId {
    /// One that no other key has: 50 bits of chance.
    pub fn random() -> Self {
        Self(secret::letters(ID_LEN).into())
    }

    /// Reads an id.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == ID_LEN && secret::are_letters(text)).then(|| Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret of a key, as far as it is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The hash of the key's text.
    pub hash: SecretHash,
    /// Since when.
    pub created_at: Timestamp,
    /// Another one took its place; until then both are good.
    pub until: Option<Timestamp>,
}

/// A key: its document, and what names it.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Whose it is.
    pub tenant: Tenant,
    /// Which one.
    pub id: KeyId,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Since when.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was taken back. For good.
    pub revoked_at: Option<Timestamp>,
    /// What proves it, oldest first.
    pub proofs: Vec<Proof>,
}

/// What a secret is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The key may do what its scopes say.
    Good,
    /// It is not the secret of this key.
    Wrong,
    /// It was taken back.
    Revoked,
    /// Its time is over.
    Expired,
    /// Another secret took its place, and they overlap no longer.
    Replaced,
}

/// Why a key cannot be made like this.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// Its name.
    #[error("a key's name has 1 to {MAX_NAME} characters, without control characters")]
    Name,
    /// What it may do.
    #[error("a key has 1 to {MAX_SCOPES} scopes")]
    Scopes,
    /// Its end.
    #[error("a key cannot end before it begins")]
    Expired,
}

impl Key {
    /// A new key and its secret.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn create(
        tenant: Tenant,
        name: &str,
        mut scopes: Vec<Scope>,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(Self, NewSecret), KeyError> {
        let is_name = (1..=MAX_NAME).contains(&name.chars().count());
        if !is_name || name.chars().any(char::is_control) {
            return Err(KeyError::Name);
        }
        scopes.sort_unstable();
        scopes.dedup();
        if !(1..=MAX_SCOPES).contains(&scopes.len()) {
            return Err(KeyError::Scopes);
        }
        if expires_at.is_some_and(|it| it <= now) {
            return Err(KeyError::Expired);
        }
        let id = KeyId::random();
        let secret = NewSecret::of_key(&tenant, &id);
        let proof = Proof {
            hash: secret.hash(),
            created_at: now,
            until: None,
        };
        let key = Self {
            tenant,
            id,
            name: name.to_owned(),
            scopes,
            created_at: now,
            expires_at,
            revoked_at: None,
            proofs: vec![proof],
        };
        Ok((key, secret))
    }

    /// The same key with another secret. The one before stays good for `overlap`, so that whoever
    /// uses it can be told first; one before that ends at once.
    pub fn rotate(&mut self, overlap: SignedDuration, now: Timestamp) -> NewSecret {
        let secret = NewSecret::of_key(&self.tenant, &self.id);
        let end = now.checked_add(overlap).unwrap_or(Timestamp::MAX);
        let excess = (self.proofs.len() + 1).saturating_sub(MOST_SECRETS);
        self.proofs.drain(..excess);
        for proof in &mut self.proofs {
            proof.until = Some(proof.until.map_or(end, |it| it.min(end)));
        }
        self.proofs.push(Proof {
            hash: secret.hash(),
            created_at: now,
            until: None,
        });
        secret
    }

    /// What a secret is worth at `now`. As long for a wrong one as for a right one.
    pub fn judge(&self, hash: &SecretHash, now: Timestamp) -> Standing {
        let mut found = None;
        for proof in &self.proofs {
            if proof.hash.is_same(hash) {
                found = Some(proof);
            }
        }
        let ended = |it: Option<Timestamp>| it.is_some_and(|it| it <= now);
        match found {
            None => Standing::Wrong,
            Some(_) if self.revoked_at.is_some() => Standing::Revoked,
            Some(_) if ended(self.expires_at) => Standing::Expired,
            Some(proof) if ended(proof.until) => Standing::Replaced,
            Some(_) => Standing::Good,
        }
    }

    /// Whether one of its scopes gives this right, at least for something. `admin` gives every one.
    pub fn has(&self, right: Right) -> bool {
        let gives = |it: &Scope| matches!(it, Scope::Admin) || it.right() == right;
        self.scopes.iter().any(gives)
    }

    /// Whether it may do no more than an installation registering itself: such a key stands in an app,
    /// and is everybody's who has it.
    pub fn is_only_for_installations(&self) -> bool {
        self.scopes.iter().all(|it| *it == Scope::DevicesWriteSelf)
    }

    /// Whether it may publish on a topic, which is given as stored. On another tenant's it may not,
    /// whatever its scopes say, which name topics as its tenant writes them.
    pub fn may_publish(&self, topic: &crate::Topic) -> bool {
        if topic.tenant() != self.tenant {
            return false;
        }
        let topic = &topic.written();
        self.scopes.iter().any(|it| match it {
            Scope::Admin => true,
            Scope::Publish(pattern) => pattern.matches(topic),
            Scope::DevicesWrite | Scope::DevicesWriteSelf | Scope::Read | Scope::Operate => false,
        })
    }
}

#[cfg(test)]
mod tests;
