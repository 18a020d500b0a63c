//! Which addresses a source may reach. A feed's redirect must not be a way into our network.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::SourceError;

/// True for an address of this machine, of a private network, or of no single host.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => is_private_v4(it),
        IpAddr::V6(it) => is_private_v6(it),
    }
}

fn is_private_v4(it: Ipv4Addr) -> bool {
    let [a, b, c, _] = it.octets();
    it.is_private()
        || it.is_loopback()
        || it.is_link_local()
        || it.is_multicast()
        || it.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b)) // RFC 6598, carrier-grade NAT
        || (a == 192 && b == 0 && c == 0) // RFC 6890, protocol assignments
        || (a == 198 && (b == 18 || b == 19)) // RFC 2544, benchmarks
}

fn is_private_v6(it: Ipv6Addr) -> bool {
    if let Some(v4) = it.to_ipv4_mapped() {
        return is_private_v4(v4);
    }
    let [first, second, .., high, low] = it.segments();
    if first == 0x64 && second == 0xff9b {
        // RFC 6052: an IPv4 address behind NAT64.
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        return is_private_v4(Ipv4Addr::new(a, b, c, d));
    }
    it.is_loopback()
        || it.is_unspecified()
        || it.is_multicast()
        || it.is_unique_local()
        || it.is_unicast_link_local()
}

/// True for a URL whose host is this machine.
pub fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(it)) => it.is_loopback(),
        Some(Host::Ipv6(it)) => {
            it.is_loopback() || it.to_ipv4_mapped().is_some_and(|it| it.is_loopback())
        }
        None => false,
    }
}

/// Decides which hosts one input may reach, and resolves their names accordingly.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    allow_private: bool,
    /// Names that a URL of ours had. Another name is a proxy's, which may well be private.
    ours: Arc<Mutex<HashSet<String>>>,
}

impl Guard {
    pub(super) fn new(allow_private: bool) -> Self {
        Self {
            allow_private,
            ours: Arc::default(),
        }
    }

    /// Admits a URL, or says why not. A name is only checked when it is resolved, so that it
    /// cannot change in between.
    pub(super) fn admit(&self, url: &Url) -> Result<(), SourceError> {
        let host = url.host().ok_or(SourceError::Address)?;
        let is_refused = match &host {
            Host::Domain(name) => {
                let mut ours = self.ours.lock().unwrap_or_else(PoisonError::into_inner);
                ours.insert((*name).to_owned());
                is_this_machine(url)
            }
            Host::Ipv4(it) => is_private_v4(*it),
            Host::Ipv6(it) => is_private_v6(*it),
        };
        if is_refused && !self.allow_private {
            return Err(SourceError::Private {
                host: host.to_string(),
            });
        }
        Ok(())
    }

    /// The addresses of a name that may be used.
    pub(super) async fn resolve_name(
        &self,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, SourceError> {
        let is_ours = {
            let ours = self.ours.lock().unwrap_or_else(PoisonError::into_inner);
            ours.contains(host)
        };
        let found = tokio::net::lookup_host((host, port))
            .await
            .map_err(|cause| SourceError::Connect {
                host: host.to_owned(),
                cause,
            })?;
        let is_open = self.allow_private || !is_ours;
        let usable: Vec<SocketAddr> = found.filter(|it| is_open || !is_private(it.ip())).collect();
        if usable.is_empty() {
            return Err(SourceError::Private {
                host: host.to_owned(),
            });
        }
        Ok(usable)
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = guard.resolve_name(name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, expected: bool) {
        assert_eq!(is_private(address.parse().unwrap()), expected, "{address}");
    }

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for address in [
            "93.184.215.14",
            "2606:2800:220:1:248:1893:25c8:1946",
            "64:ff9b::5db8:d70e",
        ] {
            check(address, false);
        }
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "ff02::1",
        ] {
            check(address, true);
        }
    }

    #[test]
    fn a_literal_private_address_is_refused_unless_it_is_meant() {
        for text in [
            "http://169.254.169.254/latest",
            "http://[::1]/",
            "http://localhost:8080/",
        ] {
            let url = Url::parse(text).unwrap();
            assert!(
                matches!(
                    Guard::new(false).admit(&url),
                    Err(SourceError::Private { .. })
                ),
                "{text}"
            );
            assert!(Guard::new(true).admit(&url).is_ok());
        }
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_this_machine_is_refused() {
        let guard = Guard::new(false);
        let url = Url::parse("http://localhost.:80/").unwrap();
        assert!(guard.admit(&url).is_err());
        let refused = guard.resolve_name("localhost.", 80).await;
        assert!(refused.is_err());
        assert!(Guard::new(true).resolve_name("localhost", 80).await.is_ok());
    }
}
