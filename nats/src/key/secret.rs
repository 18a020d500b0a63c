//! Secrets: made, hashed, and compared so that the time tells nothing.

use std::fmt;

use rand::Rng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{KeyId, Tenant};
use crate::hash::{hex, is_hex};

/// Without the digits and letters that people take for each other (i l o u); 32, so that each
/// letter is 5 bits.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 260 bits.
const SECRET_LEN: usize = 52;
/// How a key begins; scanners for lost secrets look for it.
const KEY: &str = "fanfare_";
/// How a device's secret begins.
const DEVICE: &str = "fanfare-device_";

/// Letters drawn by a generator that is fit for secrets.
pub(super) fn letters(n: usize) -> String {
    let mut chance = rand::rng();
    let mut draw = || {
        let n = chance.random_range(0..LETTERS.len());
        char::from(LETTERS.get(n).copied().unwrap_or(b'0'))
    };
    (0..n).map(|_| draw()).collect()
}

pub(super) fn are_letters(text: &str) -> bool {
    text.bytes().all(|it| LETTERS.contains(&it))
}

/// SHA-256 of a secret's whole text. A secret has 260 bits of chance, so nothing slower is needed.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Whether both are hashes of one secret; in the same time, whatever they are.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Reads a nonce that a client shows; `None` if it has not the form of one.
    pub fn of_nonce(shown: &str) -> Option<Self> {
        let is_nonce = shown.len() == SECRET_LEN && are_letters(shown);
        is_nonce.then(|| Self::of(shown))
    }

    /// 64 hexadecimal digits.
    pub(crate) fn to_hex(self) -> String {
        hex(&self.0)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        if !is_hex(text, 64) {
            return None;
        }
        let mut hash = [0; 32];
        for (n, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * n..2 * n + 2)?, 16).ok()?;
        }
        Some(Self(hash))
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other)
    }
}

impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// A secret that was just made. It prints nothing: [`Self::reveal`] is for whoever it is made for.
pub struct NewSecret(String);

impl NewSecret {
    pub(super) fn of_key(tenant: &Tenant, id: &KeyId) -> Self {
        Self(format!("{KEY}{tenant}_{id}_{}", letters(SECRET_LEN)))
    }

    /// A secret by which a device of this tenant proves that it is itself.
    pub fn of_device(tenant: &Tenant) -> Self {
        let secret = letters(SECRET_LEN);
        if tenant.is_main() {
            Self(format!("{DEVICE}{secret}"))
        } else {
            Self(format!("{DEVICE}{tenant}_{secret}"))
        }
    }

    /// What a challenge asks for.
    pub fn nonce() -> Self {
        Self(letters(SECRET_LEN))
    }

    /// The text, to be shown once and kept nowhere.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }
}

impl fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewSecret(…)")
    }
}

/// What a client showed.
#[derive(Clone, Debug)]
pub enum Presented {
    /// A key.
    Key(KeySecret),
    /// A device's secret.
    Device(DeviceSecret),
}

/// A key that a client showed: which one it says to be, and the proof.
#[derive(Clone, Debug)]
pub struct KeySecret {
    /// Whose.
    pub tenant: Tenant,
    /// Which.
    pub id: KeyId,
    /// The hash of the whole.
    pub hash: SecretHash,
}

/// A device's secret that a client showed; it does not say of which device.
#[derive(Clone, Debug)]
pub struct DeviceSecret {
    /// Whose device.
    pub tenant: Tenant,
    /// The hash of the whole.
    pub hash: SecretHash,
}

impl Presented {
    /// Reads what a client showed; `None` if it has neither form.
    pub fn parse(text: &str) -> Option<Self> {
        let is_secret = |it: &str| it.len() == SECRET_LEN && are_letters(it);
        let hash = SecretHash::of(text);
        if let Some(secret) = text.strip_prefix(DEVICE) {
            let (tenant, secret) = match secret.split_once('_') {
                Some((tenant, secret)) => (Tenant::parse(tenant)?, secret),
                None => (Tenant::main(), secret),
            };
            return is_secret(secret).then_some(Self::Device(DeviceSecret { tenant, hash }));
        }
        let mut parts = text.strip_prefix(KEY)?.split('_');
        let tenant = Tenant::parse(parts.next()?)?;
        let id = KeyId::parse(parts.next()?)?;
        let secret = parts.next().filter(|it| is_secret(it));
        let is_whole = secret.is_some() && parts.next().is_none();
        is_whole.then_some(Self::Key(KeySecret { tenant, id, hash }))
    }
}
