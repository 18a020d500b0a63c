//! Where a pool connects to: an origin, and the proxy before it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use url::{Host, Url};

/// An origin: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    scheme: Scheme,
    authority: Authority,
    host: Box<str>,
    port: u16,
}

/// What is wrong with an address of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not an absolute URL with a host.
    #[error("is not an absolute URL with a host")]
    Shape,
    /// Another scheme than those allowed here.
    #[error("must begin with https:// (http:// only for a loopback address)")]
    Scheme,
    /// Clear text towards another machine would give tokens and keys away.
    #[error("speaks clear text to another machine: http:// is for loopback addresses only")]
    ClearText,
    /// User names, queries and fragments have no meaning in an endpoint.
    #[error("may have no user name, query or fragment")]
    Surplus,
}

impl Endpoint {
    /// Reads `https://host[:port]`, or `http://` for a loopback host. A path is ignored by the
    /// pool; whoever needs it reads it with [`split`].
    pub(crate) fn parse(text: &str) -> Result<Self, AddressError> {
        split(text).map(|(endpoint, _)| endpoint)
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as in the address.
    pub(crate) fn authority(&self) -> &str {
        self.authority.as_str()
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The address of a path at this origin.
    pub(crate) fn uri(&self, path: PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        // Cannot fail: all three parts are there. A default address would be refused by the peer.
        Uri::from_parts(parts).unwrap_or_default()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

/// Reads an address as an origin and the path behind it.
pub(crate) fn split(text: &str) -> Result<(Endpoint, PathAndQuery), AddressError> {
    let url = Url::parse(text).map_err(|_| AddressError::Shape)?;
    let scheme = match url.scheme() {
        "https" => Scheme::HTTPS,
        "http" if is_loopback(&url) => Scheme::HTTP,
        "http" => return Err(AddressError::ClearText),
        _ => return Err(AddressError::Scheme),
    };
    let is_surplus = !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some();
    if is_surplus {
        return Err(AddressError::Surplus);
    }
    let host = url.host_str().ok_or(AddressError::Shape)?;
    let port = url.port_or_known_default().ok_or(AddressError::Shape)?;
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let endpoint = Endpoint {
        scheme,
        authority: authority.parse().map_err(|_| AddressError::Shape)?,
        host: host.trim_matches(['[', ']']).into(),
        port,
    };
    let path = url.path().parse().map_err(|_| AddressError::Shape)?;
    Ok((endpoint, path))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(it)) => it.is_loopback(),
        Some(Host::Ipv6(it)) => it.is_loopback(),
        Some(Host::Domain(it)) => it == "localhost",
        None => false,
    }
}

/// An HTTP proxy that is asked to CONNECT.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
    /// The value of `Proxy-Authorization`; a secret.
    pub(crate) authorization: Option<Box<str>>,
}

impl Proxy {
    /// Reads `http://[user:password@]host[:port]`.
    pub(crate) fn parse(text: &str) -> Result<Self, AddressError> {
        let url = Url::parse(text).map_err(|_| AddressError::Shape)?;
        if url.scheme() != "http" {
            return Err(AddressError::Scheme);
        }
        let authorization = (!url.username().is_empty()).then(|| {
            let pair = format!("{}:{}", url.username(), url.password().unwrap_or_default());
            format!("Basic {}", STANDARD.encode(pair)).into()
        });
        Ok(Self {
            host: url
                .host_str()
                .ok_or(AddressError::Shape)?
                .trim_matches(['[', ']'])
                .into(),
            port: url.port_or_known_default().ok_or(AddressError::Shape)?,
            authorization,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(&str, u16, &str), AddressError>) {
        let read = split(text);
        let read = read
            .as_ref()
            .map(|(it, path)| (it.host(), it.port(), path.as_str()));
        assert_eq!(read.map_err(|it| *it), expected, "{text}");
    }

    #[test]
    fn an_origin_has_a_host_and_a_port() {
        check(
            "https://api.push.apple.com",
            Ok(("api.push.apple.com", 443, "/")),
        );
        check(
            "https://api.push.apple.com:2197/",
            Ok(("api.push.apple.com", 2197, "/")),
        );
        check(
            "https://oauth2.example/token",
            Ok(("oauth2.example", 443, "/token")),
        );
        check("http://127.0.0.1:8443", Ok(("127.0.0.1", 8443, "/")));
        check("http://[::1]:8443", Ok(("::1", 8443, "/")));
        check("http://localhost", Ok(("localhost", 80, "/")));
    }

    #[test]
    fn what_would_leak_or_surprise_is_refused() {
        check("http://192.0.2.7:80", Err(AddressError::ClearText));
        check("ftp://example.org", Err(AddressError::Scheme));
        check("api.push.apple.com", Err(AddressError::Shape));
        check("https://user@example.org", Err(AddressError::Surplus));
        check("https://example.org/?a=b", Err(AddressError::Surplus));
    }

    #[test]
    fn a_request_address_is_origin_and_path() {
        let endpoint = Endpoint::parse("https://127.0.0.1:2197").unwrap();
        let uri = endpoint.uri(PathAndQuery::from_static("/3/device/ab"));
        assert_eq!(uri.to_string(), "https://127.0.0.1:2197/3/device/ab");
    }

    #[test]
    fn a_proxy_may_ask_for_a_password() {
        let proxy = Proxy::parse("http://me:pw@127.0.0.1:3128").unwrap();
        assert_eq!(proxy.authorization.as_deref(), Some("Basic bWU6cHc="));
        assert_eq!((&*proxy.host, proxy.port), ("127.0.0.1", 3128));
        assert!(Proxy::parse("https://proxy.example").is_err());
    }
}
