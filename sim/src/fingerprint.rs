//! Short SHA-256 fingerprints of documents and bodies.

use ring::digest::{SHA256, digest};

/// The first `n_bytes` of the SHA-256 in lower-case hex.
pub(crate) fn fingerprint(bytes: &[u8], n_bytes: usize) -> String {
    let sum = digest(&SHA256, bytes);
    let digits = sum
        .as_ref()
        .iter()
        .take(n_bytes)
        .flat_map(|it| [it >> 4, it & 15]);
    digits
        .filter_map(|it| char::from_digit(u32::from(it), 16))
        .collect()
}
