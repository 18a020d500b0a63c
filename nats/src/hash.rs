//! Hashes that are identity: stable across versions, machines and restarts.

use std::fmt;

use sha2::{Digest, Sha256};

/// SHA-256 over the parts, each preceded by its length, so that `("ab","c")` and `("a","bc")`
/// differ.
pub(crate) fn digest(domain: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(domain.as_bytes());
    for part in parts {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(digit(byte >> 4)));
        text.push(char::from(digit(byte & 15)));
    }
    text
}

/// True for a non-empty string of lower-case hexadecimal digits of exactly `len` characters.
pub(crate) fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len
        && text
            .bytes()
            .all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it))
}

/// Where a device stands in the order in which tasks walk: a hash of the device id alone, which no
/// update of the document changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceHash(pub u64);

impl DeviceHash {
    /// The hash of a device id.
    pub fn of(device_id: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(device_id.as_bytes()).into();
        let (first, _) = digest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        Self(u64::from_be_bytes(*first))
    }

    /// Reads the 16 hexadecimal digits that [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        is_hex(text, 16)
            .then(|| u64::from_str_radix(text, 16).ok())
            .flatten()
            .map(Self)
    }
}

impl fmt::Display for DeviceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_hash_is_the_same_in_every_version() {
        // The first eight bytes of SHA-256("phone-1"); changing them would resend to everyone.
        assert_eq!(DeviceHash::of("phone-1").to_string(), {
            let full = hex(&Sha256::digest(b"phone-1"));
            full[..16].to_owned()
        });
        assert_eq!(
            DeviceHash::parse("00ff00ff00ff00ff"),
            Some(DeviceHash(0x00ff_00ff_00ff_00ff))
        );
        assert_eq!(DeviceHash::parse("00FF00ff00ff00ff"), None);
    }

    #[test]
    fn moving_a_boundary_between_parts_changes_the_digest() {
        assert_ne!(digest("x", &[b"ab", b"c"]), digest("x", &[b"a", b"bc"]));
    }
}
