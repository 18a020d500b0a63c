//! Where a request comes from. Pure.
//!
//! That is the other end of the connection. Only where that is a proxy which the configuration names
//! does `X-Forwarded-For` count, and of it only what such proxies wrote: anybody else may write
//! anything there.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use http::HeaderMap;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The other end of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// An address, or a network such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    n_bits: u8,
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no address or network: write for example 10.0.0.7 or 10.0.0.0/8")]
pub(crate) struct NetworkError;

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, n_bits) = match text.split_once('/') {
            Some((address, n_bits)) => (address, Some(n_bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let n_bits = n_bits.map_or(Ok(most), |it| it.parse().map_err(|_| NetworkError))?;
        if n_bits > most {
            return Err(NetworkError);
        }
        Ok(Self { address, n_bits })
    }
}

impl Network {
    fn has(self, address: IpAddr) -> bool {
        let differing = match (self.address, address) {
            (IpAddr::V4(one), IpAddr::V4(other)) => {
                u128::from(one.to_bits() ^ other.to_bits()) << 96
            }
            (IpAddr::V6(one), IpAddr::V6(other)) => one.to_bits() ^ other.to_bits(),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        differing.leading_zeros() >= u32::from(self.n_bits)
    }
}

/// The proxies that tell the truth.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies(Vec<Network>);

impl Proxies {
    pub(super) fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// The last address on the way that is none of the proxies'.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        let values = headers.get_all(FORWARDED_FOR).iter().rev();
        let mut hops = values.flat_map(|it| it.to_str().unwrap_or("").rsplit(','));
        while self.0.iter().any(|it| it.has(client)) {
            // What cannot be read was not written by one of ours: they write addresses.
            let Some(hop) = hops.next().and_then(|it| address(it.trim())) else {
                break;
            };
            client = hop;
        }
        client
    }
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let alone = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let parsed = alone.unwrap_or(text).parse().ok();
    let parsed = parsed.or_else(|| text.parse::<SocketAddr>().ok().map(|it| it.ip()));
    parsed.map(|it| it.to_canonical())
}

/// By what a client is counted: whoever has one IPv6 address has 2^64 of them.
pub(super) fn counted(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(it) => Ipv6Addr::from_bits(it.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(peer: &str, forwarded: &[&str], expected: &str) {
        let networks = ["10.0.0.0/8", "2001:db8::/32", "127.0.0.1"];
        let proxies = Proxies::new(networks.map(|it| it.parse().unwrap()).to_vec());
        let mut headers = HeaderMap::new();
        for it in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::try_from(*it).unwrap());
        }
        let client = proxies.client(peer.parse().unwrap(), &headers);
        assert_eq!(client, expected.parse::<IpAddr>().unwrap(), "{forwarded:?}");
    }

    #[test]
    fn only_named_proxies_say_whom_they_speak_for() {
        check("192.0.2.1", &[], "192.0.2.1");
        check("192.0.2.1", &["198.51.100.7"], "192.0.2.1");
        check("10.1.2.3", &["198.51.100.7"], "198.51.100.7");
        check("10.1.2.3", &["198.51.100.7:4711"], "198.51.100.7");
        check("10.1.2.3", &["[2001:db9::1]:80"], "2001:db9::1");
        check("10.1.2.3", &["::ffff:198.51.100.7"], "198.51.100.7");
        // What the client wrote himself stands farther left.
        check("10.1.2.3", &["1.1.1.1, 198.51.100.7"], "198.51.100.7");
        check(
            "10.1.2.3",
            &["1.1.1.1", "198.51.100.7, 10.9.9.9"],
            "198.51.100.7",
        );
        check("10.1.2.3", &["10.0.0.9, 2001:db8::7"], "10.0.0.9");
        check("10.1.2.3", &["198.51.100.7, unknown"], "10.1.2.3");
        check("127.0.0.1", &["198.51.100.7"], "198.51.100.7");
        check("127.0.0.2", &["198.51.100.7"], "127.0.0.2");
    }

    #[test]
    fn networks_are_read_and_wrong_ones_refused() {
        for wrong in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/-1",
            "example.org",
            "10.0.0.0/8/8",
        ] {
            assert_eq!(wrong.parse::<Network>(), Err(NetworkError), "{wrong}");
        }
        assert!(
            "0.0.0.0/0"
                .parse::<Network>()
                .unwrap()
                .has("9.9.9.9".parse().unwrap())
        );
        assert!(
            !"0.0.0.0/0"
                .parse::<Network>()
                .unwrap()
                .has("::1".parse().unwrap())
        );
        let one = |it: &str| counted(it.parse().unwrap());
        assert_eq!(one("2001:db8::1"), one("2001:db8::ffff:1"));
        assert_ne!(one("2001:db8:0:1::1"), one("2001:db8::1"));
        assert_ne!(one("192.0.2.1"), one("192.0.2.2"));
    }
}
