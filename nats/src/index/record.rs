//! One device as bytes: id, token, user and subscriptions, packed because there are millions.

use crate::device::Token;
use crate::device::holding::Holding;
use crate::tenant;

/// A record read back; it borrows the arena.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    id: &'a [u8],
    packed: &'a [u8],
    n_chars: usize,
    packing: u8,
    colon: u8,
    /// Hash of the user, 0 for none.
    pub(super) user: u64,
    /// How it came by its token.
    pub(super) holding: Holding,
    subscriptions: &'a [u8],
    n_subscriptions: usize,
    /// Bytes of the record.
    pub(super) len: usize,
}

const PLAIN: u8 = 0;
/// Two hexadecimal digits a byte: APNs tokens.
const HEX: u8 = 1;
/// Four characters of base64url in three bytes, one colon kept aside: FCM tokens.
const BASE64: u8 = 2;
/// No colon in a [`BASE64`] token.
const NO_COLON: u8 = u8::MAX;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

fn pack_hex(token: &str) -> Option<Vec<u8>> {
    let digits = crate::hash::is_hex(token, token.len()) && token.len().is_multiple_of(2);
    let nibble = |byte: u8| {
        if byte <= b'9' {
            byte - b'0'
        } else {
            byte - b'a' + 10
        }
    };
    digits.then(|| {
        token
            .as_bytes()
            .chunks_exact(2)
            .map(|pair| match pair {
                [high, low] => nibble(*high) << 4 | nibble(*low),
                _ => 0,
            })
            .collect()
    })
}

fn pack_base64(token: &str) -> Option<(Vec<u8>, u8)> {
    let colon = match token.find(':') {
        Some(at) => u8::try_from(at).ok().filter(|it| *it != NO_COLON)?,
        None => NO_COLON,
    };
    let (mut bits, mut n_bits) = (0_u32, 0);
    let mut packed = Vec::with_capacity(token.len() * 3 / 4 + 1);
    for (at, byte) in token.bytes().enumerate() {
        if at == usize::from(colon) && byte == b':' {
            continue;
        }
        bits = bits << 6 | u32::from(sextet(byte)?);
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            packed.push(u8::try_from(bits >> n_bits & 0xff).unwrap_or(0));
        }
    }
    if n_bits > 0 {
        packed.push(u8::try_from(bits << (8 - n_bits) & 0xff).unwrap_or(0));
    }
    Some((packed, colon))
}

fn unpack_base64(packed: &[u8], n_chars: usize, colon: u8) -> String {
    let (mut bits, mut n_bits) = (0_u32, 0);
    let mut bytes = packed.iter();
    let mut token = String::with_capacity(n_chars);
    while token.len() < n_chars {
        if token.len() == usize::from(colon) && colon != NO_COLON {
            token.push(':');
            continue;
        }
        if n_bits < 6 {
            bits = bits << 8 | u32::from(bytes.next().copied().unwrap_or(0));
            n_bits += 8;
        }
        n_bits -= 6;
        let sextet = usize::try_from(bits >> n_bits & 63).unwrap_or(0);
        token.push(char::from(ALPHABET.get(sextet).copied().unwrap_or(b'A')));
    }
    token
}

/// A number of at most 10 bytes, seven bits each.
fn push_varint(record: &mut Vec<u8>, mut number: u64) {
    while number > 127 {
        record.push(u8::try_from(number & 127).unwrap_or(0) | 128);
        number >>= 7;
    }
    record.push(u8::try_from(number).unwrap_or(0));
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 127) << shift;
        if first & 128 == 0 {
            return Some(number);
        }
    }
    None
}

/// Writes a record.
pub(super) fn encode(
    id: &str,
    token: &Token,
    user: Option<u64>,
    holding: Holding,
    subscriptions: &[u32],
) -> Vec<u8> {
    let token = token.reveal();
    let (packing, packed, colon) = match (pack_hex(token), pack_base64(token)) {
        (Some(packed), _) => (HEX, packed, NO_COLON),
        (None, Some((packed, colon))) => (BASE64, packed, colon),
        (None, None) => (PLAIN, token.as_bytes().to_vec(), NO_COLON),
    };
    let mut record = Vec::with_capacity(id.len() + packed.len() + 16 + subscriptions.len() * 2);
    record.push(u8::try_from(id.len()).unwrap_or(0));
    record.extend_from_slice(id.as_bytes());
    // Two bits of packing, one for the user, two for the holding, and the token's length.
    let head = u64::from(packing)
        | u64::from(user.is_some()) << 2
        | u64::from(holding.is_proven) << 3
        | u64::from(holding.since.is_some()) << 4;
    push_varint(&mut record, head | wide(token.len()) << 5);
    if packing == BASE64 {
        record.push(colon);
    }
    record.extend_from_slice(&packed);
    if let Some(user) = user {
        record.extend_from_slice(&user.to_be_bytes());
    }
    if let Some(since) = holding.since {
        push_varint(&mut record, since);
    }
    push_varint(&mut record, wide(subscriptions.len()));
    for subscription in subscriptions {
        push_varint(&mut record, u64::from(*subscription));
    }
    record
}

fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(0)
}

impl<'a> Record<'a> {
    /// Reads the record at the beginning of `bytes`.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let whole = bytes.len();
        let (id_len, bytes) = bytes.split_first()?;
        let (id, mut bytes) = bytes.split_at_checked(usize::from(*id_len))?;
        let head = read_varint(&mut bytes)?;
        let packing = u8::try_from(head & 3).ok()?;
        let n_chars = usize::try_from(head >> 5).ok()?;
        let mut colon = NO_COLON;
        if packing == BASE64 {
            let (first, rest) = bytes.split_first()?;
            (colon, bytes) = (*first, rest);
        }
        let n_packed = match packing {
            HEX => n_chars / 2,
            BASE64 => (n_chars.saturating_sub(usize::from(colon != NO_COLON)) * 6).div_ceil(8),
            _ => n_chars,
        };
        let (packed, rest) = bytes.split_at_checked(n_packed)?;
        bytes = rest;
        let mut user = 0;
        if head & 4 != 0 {
            let (first, rest) = bytes.split_first_chunk::<8>()?;
            (user, bytes) = (u64::from_be_bytes(*first), rest);
        }
        let since = if head & 16 == 0 {
            None
        } else {
            Some(read_varint(&mut bytes)?)
        };
        let holding = Holding {
            since,
            is_proven: head & 8 != 0,
        };
        let n_subscriptions = usize::try_from(read_varint(&mut bytes)?).ok()?;
        let subscriptions = bytes;
        for _ in 0..n_subscriptions {
            read_varint(&mut bytes)?;
        }
        Some(Self {
            id,
            packed,
            n_chars,
            packing,
            colon,
            user,
            holding,
            subscriptions,
            n_subscriptions,
            len: whole - bytes.len(),
        })
    }

    /// The device's id; ids are ASCII.
    pub(super) fn id(&self) -> &'a str {
        std::str::from_utf8(self.id).unwrap_or("")
    }

    /// Whose it is, `None` for `main`.
    pub(super) fn tenant(&self) -> Option<&'a str> {
        tenant::split_id(self.id()).0
    }

    /// The token as it was registered.
    pub(super) fn token(&self) -> String {
        match self.packing {
            HEX => crate::hash::hex(self.packed),
            BASE64 => unpack_base64(self.packed, self.n_chars, self.colon),
            _ => String::from_utf8_lossy(self.packed).into_owned(),
        }
    }

    /// Whether two records hold the same token.
    pub(super) fn has_token_of(&self, other: &Record<'_>) -> bool {
        (self.packing, self.n_chars, self.colon, self.packed)
            == (other.packing, other.n_chars, other.colon, other.packed)
    }

    /// A hash of the token for tables in memory.
    pub(super) fn token_hash(&self) -> u64 {
        // FNV-1a over the packed bytes: tokens are random already.
        let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        let hash = self.packed.iter().fold(0xcbf2_9ce4_8422_2325, fold);
        hash ^ hash >> 29
    }

    /// The subscriptions' numbers.
    pub(super) fn subscriptions(&self) -> impl Iterator<Item = u32> + use<'a> {
        let mut bytes = self.subscriptions;
        (0..self.n_subscriptions).map_while(move |_| u32::try_from(read_varint(&mut bytes)?).ok())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(
            token in prop_oneof!["[0-9a-f]{1,80}", "[A-Za-z0-9_-]{1,40}:[A-Za-z0-9_-]{0,140}", "[!-~]{1,80}", "[A-Za-z0-9_-]{1,300}"],
            user in prop::option::of(1_u64..),
            since in prop::option::of(any::<u64>()),
            is_proven in any::<bool>(),
            subscriptions in prop::collection::vec(any::<u32>(), 0..9),
        ) {
            let holding = Holding { since, is_proven };
            let token = Token::parse(&token).unwrap();
            let mut bytes = encode("phone-1", &token, user, holding, &subscriptions);
            let len = bytes.len();
            bytes.extend_from_slice(b"next record");
            let record = Record::read(&bytes).unwrap();
            prop_assert_eq!(record.id(), "phone-1");
            prop_assert_eq!(record.token(), token.reveal());
            prop_assert_eq!(record.user, user.unwrap_or(0));
            prop_assert_eq!(record.holding, holding);
            prop_assert_eq!(record.subscriptions().collect::<Vec<_>>(), subscriptions);
            prop_assert_eq!(record.len, len);
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(record) = Record::read(&bytes) {
                let _ = (record.token(), record.subscriptions().count());
            }
        }
    }
}
